"""HTML for notebooks is escaped and self-contained, and long lists are truncated with a count."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from halfstep._support.html_table import and_more, html_table

EVIL = "<script>alert('x')</script>&\x1b[31m"
USERS = [f"{EVIL}{k}" for k in range(30)]
ITEMS = [f"item {k} {EVIL}" for k in range(12)]


def data() -> hs.Interactions:
    rng = np.random.default_rng(0)
    u, i = np.nonzero(rng.random((30, 12)) < 0.5)
    made = hs.Interactions.from_arrays(
        [USERS[k] for k in u],
        [ITEMS[k] for k in i],
        rng.integers(1, 6, len(u)),
        np.arange(len(u)),
        np.ones(len(u)),
        item_titles={item: f"Title of {item} {EVIL}" for item in ITEMS},
    )
    assert (made.n_users, made.n_items) == (30, 12)
    return made


DATA = data()
ALS = hs.ALS(hs.Explicit(biases=True), rank=2, iterations=2, random_state=0, progress=False).fit(DATA)
POPULARITY = hs.Popularity().fit(DATA)
NEW = min(set(ITEMS) - set(DATA.subset(DATA.user_positions == DATA.users.position(USERS[0])).item_ids))
EVENTS = hs.Interactions.from_arrays(USERS[:1], [NEW], [1.0], [999], [1.0])
TRAIN, TEST = hs.split_random(DATA, test_fraction=0.2, random_state=0)
THINGS: dict[str, Any] = {
    "unfitted ALS": hs.ALS(),
    "ALS": ALS,
    "ALS with functions": hs.ALS(hs.Implicit(observed_weight=lambda cells: cells.values), callbacks=[print]),
    "BayesianALS": hs.BayesianALS(init=ALS),
    "SGD": hs.SGD(rank=3),
    "Popularity": POPULARITY,
    "PretrainedFactors": hs.persistence.from_arrays(np.ones((3, 2)), np.ones((3, 2)), users=[EVIL, "b", "c"]),
    "Interactions": DATA,
    "no Interactions": DATA.subset([]),
    "Recommendations": ALS.recommend(n=8, exclude_seen=False),
    "Recommendations for one": ALS.recommend(USERS[3], n=8, exclude_seen=False),
    "Recommendations for none": ALS.recommend([]),
    "empty Recommendations": ALS.recommend(USERS[:2], candidates=[]),
    "SimilarItems": ALS.similar_items(n=3),
    "SimilarItems of one": ALS.similar_items(ITEMS[2]),
    "SimilarUsers": ALS.similar_users(n=3),
    "SimilarUsers of one": ALS.similar_users(USERS[0], n=25),
    "Explanation": ALS.explain(USERS[0], ITEMS[1], n=2),
    "Evaluation": hs.evaluate({EVIL: hs.Popularity().fit(TRAIN)}, TEST, resamples=10),
    "StreamEvaluation": hs.evaluate_stream(ALS, EVENTS, resamples=10, n=2, progress=False),
    "Tuning": hs.tune(
        hs.ItemBias(),
        DATA,
        {"regularization": [float(k) for k in range(8)]},
        split=2,
        prune=False,
        progress=False,
        random_state=0,
    ),
}
TAGS = {"div", "table", "thead", "tbody", "tr", "th", "td"}


class Page(HTMLParser):
    """Collects tags and texts, and checks that all tags are closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: set[str] = set()
        self.rows: list[list[str]] = []
        self.bold: list[str] = []
        self._open: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self._open.append((tag, str(dict(attrs).get("style"))))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, text: str) -> None:
        if not text.strip():
            return
        self.texts.append(text)
        tag, style = self._open[-1]
        if tag in ("td", "th"):
            self.rows[-1][-1] += text
            if tag == "td" and "font-weight:bold" in style:
                self.bold.append(text)


@pytest.mark.parametrize("name", THINGS)
def test_is_safe_and_self_contained(name: str) -> None:
    html = THINGS[name]._repr_html_()
    page = Page(html)
    assert set(page.tags) <= TAGS
    assert page.attributes <= {"style", "scope"}
    assert "\x1b" not in html
    assert "url(" not in html
    assert len({len(row) for row in page.rows}) <= 1  # each row has all columns


@pytest.mark.parametrize("name", THINGS)
def test_sets_no_text_color(name: str) -> None:
    """Text has the color of the notebook, and lines are visible on white and black backgrounds."""
    colors = re.findall(r"(?:color|background):([^;\"]+)", THINGS[name]._repr_html_())
    assert set(colors) == {"inherit", "transparent"} or set(colors) == {"inherit"}


def page_of(name: str) -> Page:
    return Page(THINGS[name]._repr_html_())


def test_models_show_all_parameters_and_mark_those_that_differ() -> None:
    page = page_of("ALS")
    assert page.texts[0] == "ALS, fitted: 30 users, 12 items, rank 2"
    shown = {name: value for name, value, *_ in page.rows[1:]}
    assert list(shown) == list(ALS.get_params(deep=False))
    assert (shown["rank"], shown["solver"]) == ("2", "'auto'")
    assert page.bold[page.bold.index("rank") + 1] == "2"
    assert "solver" not in page.bold
    assert page_of("unfitted ALS").texts[0] == "ALS, not fitted"
    assert page_of("unfitted ALS").bold == []
    assert page_of("Popularity").texts == ["Popularity, fitted: 30 users, 12 items"]


def test_models_show_what_a_fit_has_chosen() -> None:
    model = hs.ItemBias().fit(DATA)
    assert Page(model._repr_html_()).rows == [["parameter", "value"], ["regularization", "0.0"]]
    model.regularization_ = 2.5
    assert Page(model._repr_html_()).rows == [["parameter", "value", "fitted"], ["regularization", "0.0", "2.5"]]


def test_interactions_show_their_first_rows() -> None:
    page = page_of("Interactions")
    assert page.texts[0].startswith(f"Interactions: {len(DATA)} interactions, 30 users, 12 items, values 1 to 5")
    assert page.rows[0] == ["user", "item", "title", "value", "timestamp", "weight"]
    assert page.rows[1][0] == USERS[0].replace("\x1b", r"\x1b")
    assert page.rows[1][2].startswith("Title of item")
    assert len(page.rows) == 6
    assert page.texts[-1] == f"… and {len(DATA) - 5} more interactions"
    events = hs.Interactions.from_arrays([1, 1, 2], [1, 1, 2], duplicates="sum")
    assert Page(events._repr_html_()).rows == [["user", "item", "count"], ["1", "1", "2"], ["2", "2", "1"]]
    ones = hs.Interactions.from_arrays([1], [2])
    assert Page(ones._repr_html_()).rows == [["user", "item"], ["1", "2"]]


def test_a_single_list_has_a_row_for_each_item() -> None:
    lists = THINGS["Recommendations for one"]
    page = page_of("Recommendations for one")
    assert page.rows[0] == ["rank", "item", "title", "score"]
    ((_, entries),) = lists
    assert [row[0] for row in page.rows[1:]] == [str(place) for place in range(1, 9)]
    assert [row[3] for row in page.rows[1:]] == [f"{score:.4g}" for _, score in entries]
    page = page_of("SimilarUsers of one")
    assert page.rows[0] == ["rank", "similar_user", "similarity"]
    assert (len(page.rows), page.texts[-1]) == (21, "… and 5 more similar users")


def test_many_lists_have_a_row_each() -> None:
    page = page_of("Recommendations")
    assert page.texts[0] == "Recommendations for 30 users, up to 8 each"
    assert page.rows[0] == ["user", "1", "2", "3", "4", "5"]
    assert len(page.rows) == 11
    assert page.texts[-2:] == ["… and 20 more users", "… and 3 more items of each"]
    short = page_of("empty Recommendations")
    assert all(set(row[1:]) <= {"–"} for row in short.rows[1:])


def test_explanations_add_up() -> None:
    page = page_of("Explanation")
    explanation = THINGS["Explanation"]
    assert [row[1] for row in page.rows[1:3]] == [f"{value:.4g}" for _, value in explanation.largest]
    assert page.rows[3][0].endswith("other items of the user")
    assert page.bold == ["score", f"{explanation.score:.4g}"]


def test_evaluations_show_what_they_print() -> None:
    for name in ("Evaluation", "StreamEvaluation"):
        printed = " ".join(repr(THINGS[name]).split()).replace("\x1b", r"\x1b")
        for text in page_of(name).texts:
            assert text.replace("model", "") in printed


def test_tunings_show_the_best_trials() -> None:
    page = page_of("Tuning")
    found = THINGS["Tuning"]
    assert page.rows[0] == ["trial", "rmse", "folds", "regularization"]
    assert page.rows[1][0] == str(found.best.number)
    assert page.bold == page.rows[1]
    assert page.texts[-2] == "… and 3 more finished trials"


def test_cells_are_formatted_and_cut() -> None:
    page = Page(html_table("t", ["a", "b"], [[1234567, "x" * 500], [0.123456, None], [float("nan"), "y"]]))
    assert page.rows[1:] == [["1,234,567", "x" * 199 + "…"], ["0.1235", "–"], ["–", "y"]]
    assert Page(html_table("t", [], [])).tags == ["div", "div"]
    assert [and_more(count, "user") for count in (-1, 0, 1, 2000)] == [
        [],
        [],
        ["… and 1 more user"],
        ["… and 2,000 more users"],
    ]
    assert and_more(2, "item", " of each") == ["… and 2 more items of each"]
