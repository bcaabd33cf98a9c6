from __future__ import annotations

import pytest

from halfstep._support import suggestions
from halfstep._support.suggestions import close_texts, did_you_mean

NAMES = ["Odessa Quill", "Iron Orchard", "Otis Crane", "Rosa Keys"]


def test_the_closest_name_is_suggested() -> None:
    assert did_you_mean("usr", ["user", "item"]) == " (did you mean 'user'?)"
    assert did_you_mean("zzz", ["user", "item"]) == ""


@pytest.mark.parametrize(
    ("text", "close"),
    [
        ("odessa quill", ["Odessa Quill"]),  # case
        ("OdessaQuill", ["Odessa Quill"]),  # missing
        ("Odesssa Quill", ["Odessa Quill"]),  # too many
        ("Odessa Quikl", ["Odessa Quill"]),  # wrong
        ("Odessa Qulil", ["Odessa Quill"]),  # out of place
        ("dessa Quilll", ["Odessa Quill"]),  # two of these
        ("orchard", ["Iron Orchard"]),  # a part
        ("o", []),  # a part of too many
        ("zzzz", []),
    ],
)
def test_close_texts(text: str, close: list[str]) -> None:
    assert close_texts(text, NAMES) == close


def test_other_cases_come_first_and_at_most_three() -> None:
    texts = ["item1", "item2", "item3", "Item0", "item4"]
    assert close_texts("item0", texts)[0] == "Item0"
    assert len(close_texts("item0", texts)) == 3


def test_typos_are_found_among_texts_that_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"user-{k:06d}" for k in range(20_000)]
    monkeypatch.setattr(suggestions, "MOST", 10)
    assert close_texts("usr-019999", texts) == ["user-019999"]
    assert close_texts("suer-019999", texts, set(texts).__contains__) == ["user-019999"]


def test_number_of_compared_texts_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def count(_: str, texts: list[str], *__: object, **___: object) -> list[str]:
        compared.append(len(texts))
        return []

    monkeypatch.setattr(suggestions, "get_close_matches", count)
    close_texts("user-xxxxxx", [f"user-{k:06d}" for k in range(3 * suggestions.MOST)])
    assert compared == [suggestions.MOST]
