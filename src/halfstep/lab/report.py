"""The lab's report: one page of HTML that needs no other file."""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby

import halfstep as hs
from halfstep.evaluation import Row as EvaluationRow
from halfstep.lab.corrected import SEEDS, Row
from halfstep.lab.data import MIN_TRAIN_RATINGS
from halfstep.lab.online import METRICS, PLACES, TEST_FRACTION, Online
from halfstep.lab.printed import ADDRESS, EXPERIMENTS, TITLE, WALS_SECONDS, label
from halfstep.lab.results import SPREAD, Figure, Findings, Method
from halfstep.lab.sampled import RANDOM_FRACTION, SHARES, Sampled, SampledRow
from halfstep.lab.scoring import IS_ERROR, LEVEL, RESAMPLES, Estimate, Metric
from halfstep.lab.story import Mistake, Score, compared_in_words, conclusions, mistakes, parameters_in_words
from halfstep.lab.tuned import Tuned

CAPTIONS = {
    "methods": (
        f"All methods on the same test set. Bars are {100 * LEVEL:g}% intervals of a bootstrap over the test's "
        f"users, {RESAMPLES:,} times; the same resamples serve every method, so a difference between two is surer "
        "than the overlap of their bars suggests. Experiment I is one seed, not clipped to the scale."
    ),
    "objective": (
        "The three terms of the objective after each iteration of the chosen biased ALS. A half-step solves its rows "
        "exactly, so the sum never rises."
    ),
    "online": (
        "Most events of the stream are of users who came after training. A model that stays as it was fitted has "
        "nothing but popularity for them; one that learns online knows them after their first film."
    ),
    "tuning": "The finished trials of the search, by their parameters; the marked one was chosen.",
    "calibration": (
        "The share of held-out ratings within intervals, by the nominal share. Ratings were held out at random, or "
        "as in the write-up, by time: preferences change, which intervals that are estimated from the past cannot "
        "know."
    ),
    "traces": (
        "Samples by sweep. A chain that has converged fluctuates around a level. Factors grow one after the other, "
        "and the noise falls with each, for longer than the 20 sweeps that are discarded."
    ),
    "weights": (
        "The weight of a rating by the number of training ratings of its film; below, the number of films. A film "
        "without training ratings has no weight, except in the write-up's metric, where the linear weights give it "
        "10⁸."
    ),
    "convergence": "Experiment A, from the write-up's own start; both axes are logarithmic except at the start.",
}


def page(findings: Findings, plots: Mapping[str, bytes], narrow: Mapping[str, bytes]) -> str:
    """Return the page.

    Parameters
    ----------
    findings : Findings
    plots, narrow : dict
        PNG by name, for wide pages and for telephones.
    """
    style = files("halfstep.lab").joinpath("report.css").read_text(encoding="utf-8")
    sections = list(_sections(findings, lambda name: _plot(name, plots[name], narrow[name])))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>ALS on MovieLens 100K: the lab report</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{_head(findings)}{_contents([title for title, _ in sections])}"
        f"{''.join(_section(title, content) for title, content in sections)}{_foot(findings)}</main>\n"
        "</body>\n</html>\n"
    )


def _sections(findings: Findings, plot: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield titles and contents."""
    n_test, n_known = len(findings.split.test), len(findings.split.known)
    yield "What it concluded, and what is true", _verdicts(findings)
    yield "Five mistakes and their corrections", "".join(map(_mistake, mistakes(findings)))
    yield (
        "The corrected methods",
        f"<p>All methods on the same pairs: {n_test:,} of users with {MIN_TRAIN_RATINGS} training ratings or more, "
        f"and the {n_known:,} of them whose film has a training rating, too. Hyperparameters were chosen on one time "
        f"split inside the {len(findings.split.train):,} training ratings; the model was then fitted to all of "
        "these. The settings tried are what was left of wider grids, which were narrowed on the training side, too. "
        f"In brackets: {100 * LEVEL:g}% intervals of a bootstrap over users.</p>"
        + _corrected("Ratings, by RMSE (less is better)", "rmse", findings.stars, n_test, n_known)
        + f'<p class="note">{escape(compared_in_words(findings.als_minus_sgd["rmse"]))} of RMSE on the {n_known:,} '
        "pairs, by the paired bootstrap.</p>"
        + _corrected("±1, by sign accuracy (more is better)", "sign_accuracy", findings.signs, n_test, n_known)
        + f'<p class="note">{escape(compared_in_words(findings.als_minus_sgd["sign_accuracy"]))} of sign '
        "accuracy.</p>",
    )
    yield "All methods on one test set", plot("methods") + _methods(findings.methods, n_test, n_known)
    yield "Tuned by one call", _tuned(findings.tuned, n_test, n_known) + plot("tuning")
    yield "Without tuning", _sampled(findings.sampled, n_test, n_known) + plot("calibration") + plot("traces")
    yield "Weights and the objective", plot("weights") + plot("objective")
    yield "Online learning", _online(findings.online) + plot("online")
    yield "Every printed figure", _rule() + _experiments(findings.figures) + plot("convergence")


def _head(findings: Findings) -> str:
    stars, signs = findings.untuned
    corrected = {row.key: row for row in findings.stars}
    tiles = (
        (f"{findings.n_agreeing} of {len(findings.figures)}", "printed figures agree with ours"),
        (
            f"{stars.known.value:.4f}",
            f"RMSE of {stars.name}, without tuning; the write-up's best was {findings.figure('I.rmse_test').printed}",
        ),
        (
            f"{signs.known.value:.4f}",
            f"of the signs right by the same model; the write-up's best was "
            f"{findings.figure('J.sign_accuracy_test').printed}",
        ),
        (
            "A tie" if findings.als_minus_sgd["rmse"].includes_zero else "No tie",
            f"of ALS and SGD once both are tuned: RMSE {corrected['biased_als'].known.value:.4f} and "
            f"{corrected['sgd'].known.value:.4f}",
        ),
    )
    return (
        "<header><h1>ALS on MovieLens 100K</h1>"
        f'<p class="lead"><a href="{ADDRESS}">{TITLE}</a>, a write-up on ouatu.ro, implements alternating least '
        "squares in NumPy, and finds that it loses to simple baselines. This report reproduces its experiments "
        "figure by figure, explains what went wrong in them, and shows what the same algorithm does when that is "
        "corrected.</p>"
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>' for value, what in tiles
        )
        + "</div></header>\n"
    )


def _contents(titles: Sequence[str]) -> str:
    items = "".join(f'<li><a href="#{_anchor(title)}">{escape(title)}</a></li>' for title in titles)
    return f'<nav aria-label="Contents"><ol>{items}</ol></nav>\n'


def _section(title: str, content: str) -> str:
    return f'<section id="{_anchor(title)}"><h2>{escape(title)}</h2>\n{content}</section>\n'


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z]+", "-", title.lower())


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], best: int | None = None) -> str:
    """Make a table of a name and numbers, both HTML; on a telephone each row becomes a list of its numbers."""
    head = "".join(f'<th class="number">{escape(column)}</th>' for column in columns[1:])
    body = "".join(
        f"<tr{' class=best' if place == best else ''}><td>{name}</td>"
        + "".join(
            f'<td class="number" data-label="{escape(column)}"><span>{number}</span></td>'
            for column, number in zip(columns[1:], numbers, strict=True)
        )
        + "</tr>"
        for place, (name, *numbers) in enumerate(rows)
    )
    return (
        f'<table class="stack"><thead><tr><th>{escape(columns[0])}</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>\n"
    )


def _verdicts(findings: Findings) -> str:
    rows = "".join(
        f"<tr><td>{escape(item.concluded)}</td><td>{escape(item.truth)}</td></tr>" for item in conclusions(findings)
    )
    return (
        '<table class="verdicts"><thead><tr><th>It concluded</th><th>What is true</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>\n"
    )


def _mistake(mistake: Mistake) -> str:
    def scores(name: str, kind: str, lines: Iterable[Score]) -> str:
        rows = "".join(
            f'<tr><td>{escape(line.what)}</td><td class="number {kind}">{line.value}</td></tr>' for line in lines
        )
        return f'<div><h4 class="{kind}">{name}</h4><table><tbody>{rows}</tbody></table></div>'

    return (
        f'<article class="mistake"><div><h3>{escape(mistake.title)}</h3><p>{escape(mistake.explanation)}</p></div>'
        + scores("Write-up", "theirs", mistake.printed)
        + scores("Corrected", "ours", mistake.corrected)
        + "</article>\n"
    )


def _corrected(caption: str, metric: Metric, rows: Sequence[Row], n_test: int, n_known: int) -> str:
    best = (min if IS_ERROR[metric] else max)(rows, key=lambda row: row.known.value)
    columns = (
        "method", "settings tried", "inner split", f"test, {n_test:,}", f"test, {n_known:,}",
        f"{n_known:,}, {len(SEEDS)} seeds",
    )  # fmt: skip
    lines = [
        (
            f"{escape(row.name)}<br><small>{escape(parameters_in_words(row))}</small>", str(row.candidates),
            f"{row.validation:.4f}", _estimate(row.test), _estimate(row.known), row.over_seeds,
        )
        for row in rows
    ]  # fmt: skip
    return f'<h3 class="table">{escape(caption)}</h3>{_table(columns, lines, rows.index(best))}'


def _methods(methods: Sequence[Method], n_test: int, n_known: int) -> str:
    ordered = sorted(methods, key=lambda method: method.known.value)
    lines = [
        (
            f'<span class="{"ours" if method.ours else "theirs"}">{escape(method.name)}</span>',
            _estimate(method.test), _estimate(method.known),
        )
        for method in ordered
    ]  # fmt: skip
    return _table(("method", f"RMSE on {n_test:,}", f"RMSE on {n_known:,}"), lines)


def _tuned(tuned: Tuned, n_test: int, n_known: int) -> str:
    tuning = tuned.tuning
    states = Counter(trial.state for trial in tuning)
    return (
        "<p><code>hs.tune(hs.ALS(hs.Explicit(biases=True)), train, space)</code> searches λ of users and of items, "
        f"its exponent, the rank and the ratio of the biases' λ on {escape(tuning.folds)}, all of them inside the "
        f"training ratings. {states['pruned']} of {len(tuning)} trials were pruned; all took "
        f"{tuning.seconds:.1f}\u00a0s. The best has an RMSE of {tuning.best_value:.4f} on the folds "
        f"({escape(tuned.parameters_in_words)}). Fitted to all training ratings it has {tuned.known.value:.4f} on "
        f"the {n_known:,} pairs, and {tuned.test.value:.4f} on the {n_test:,}.</p>\n"
    )


def _sampled(sampled: Sampled, n_test: int, n_known: int) -> str:
    def table(caption: str, rows: Sequence[SampledRow]) -> str:
        n = len(rows[0].seeds)
        columns = "method", f"test, {n_test:,}", f"test, {n_known:,}", f"{n_known:,}, with each seed"
        lines = [
            (
                escape(row.name), _estimate(row.test), _estimate(row.known),
                ", ".join(f"{score:.4f}" for score in row.seeds),
            )
            for row in rows
        ]  # fmt: skip
        return f'<h3 class="table">{caption}, {n} seed{"s" * (n > 1)}</h3>{_table(columns, lines)}'

    held = {how: ", ".join(f"{100 * share:.1f}" for share in shares) for how, shares in sampled.coverage.items()}
    return (
        "<p><code>hs.BayesianALS()</code> samples users, items, their hyperparameters and the noise, sweep after "
        "sweep, and predicts the mean over its samples. Nothing is chosen by hand or by search. Implicit features "
        "are the films that a user rated and the users who rated a film, in training; an ordinal model takes ratings "
        "as ordered categories. Seeds are few, as scores differ little by the seed beside what they differ by the "
        "users in the test set.</p>"
        + table("Ratings, by RMSE", sampled.stars)
        + table("±1, by sign accuracy", sampled.signs)
        + f'<p class="note">Intervals for {", ".join(f"{100 * share:g}" for share in SHARES)}% contain '
        f"{held['at random']}% of the {100 * RANDOM_FRACTION:g}% of ratings held out at random, and "
        f"{held['by time']}% of those held out by time.</p>\n"
    )


def _online(online: Online) -> str:
    n, unknown = len(online.popularity.places), online.popularity.n_unknown_users
    models = [("Popularity, as fitted", "", online.popularity)]
    for row in online.rows:
        models += [(f"{row.name}, as fitted", row.setting, row.frozen), (f"{row.name}, online", "", row.learning)]
    lines = [
        (
            escape(name) + (f"<br><small>{escape(setting)}</small>" if setting else ""),
            *(_estimate(evaluation.find(evaluation.models[0], metric)) for metric in METRICS),
        )
        for name, setting, evaluation in models
    ]
    gains = "; ".join(
        f"{row.name}: hit rate {_gain(row.gain('hit_rate'))}, NDCG {_gain(row.gain('ndcg'))}" for row in online.rows
    )
    return (
        f"<p>The last {100 * TEST_FRACTION:g}% of all ratings by time: {n:,} events, {unknown:,} of users "
        "without a rating before. For each event all films that the user has not rated are ranked, the rank of the "
        "event's film is noted, and then an online model is updated: the user's row is solved anew, then the film's. "
        "Settings are published ones for other data; nothing is tuned.</p>"
        + _table(("model", f"hit rate@{PLACES}", f"NDCG@{PLACES}"), lines)
        + f'<p class="note">Gains of online learning on the same events, with {100 * LEVEL:g}% intervals: '
        f"{escape(gains)}.</p>\n"
    )


def _gain(row: EvaluationRow) -> str:
    return f"{row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]".replace("-", "−")


def _estimate(estimate: Estimate | EvaluationRow) -> str:
    return f"{estimate.value:.4f} <small>[{estimate.low:.3f}, {estimate.high:.3f}]</small>"


def _rule() -> str:
    return (
        "<p>Ours agrees if it rounds to all the digits that were printed. Experiments I and J are random: "
        f"ours is the mean of five seeds ± their standard deviation, and agrees if the printed figure lies within "
        f"{SPREAD:g} of these, where one more run would fall with a probability of 95%.</p>\n"
    )


def _experiments(figures: Sequence[Figure]) -> str:
    blocks = []
    for letter, group in groupby(figures, key=lambda figure: figure.key[0]):
        experiment = EXPERIMENTS[letter]
        rows = "".join(
            f'<tr><td>{escape(label(figure.key))}</td><td class="number">{figure.printed}</td>'
            f'<td class="number">{figure.shown_with_spread}</td>'
            f'<td class="{"yes" if figure.agrees else "no"}">{"✓" if figure.agrees else "no"}</td></tr>'
            for figure in group
        )
        blocks.append(
            f'<div class="experiment"><h3><b>{letter}</b>{escape(experiment.title)}</h3>'
            f'<p class="note">{escape(experiment.setting)}</p><table><thead><tr><th></th>'
            f'<th class="number">printed</th><th class="number">ours</th><th></th></tr></thead>'
            f"<tbody>{rows}</tbody></table></div>\n"
        )
    return f'<div class="experiments">{"".join(blocks)}</div>'


def _plot(name: str, wide: bytes, narrow: bytes) -> str:
    caption = escape(CAPTIONS[name])
    return (
        f'<figure><picture><source media="(max-width: 640px)" srcset="{_embedded(narrow)}">'
        f'<img src="{_embedded(wide)}" alt="{caption}"></picture><figcaption>{caption}</figcaption></figure>\n'
    )


def _embedded(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"


def _foot(findings: Findings) -> str:
    return (
        '<footer class="note"><p>Made by <code>halfstep lab</code>, version '
        f"{hs.__version__}, in {findings.total_seconds:.0f} s (without the plots) by {findings.processes} processes; "
        f"{findings.fits} fits took {findings.fitting_seconds:.1f} s of theirs, where WALS alone took "
        f"{WALS_SECONDS:g} s a fit in the write-up. All figures are in <code>results.json</code> beside this page. "
        "The write-up: "
        f'“{TITLE}”, <a href="{ADDRESS}">{ADDRESS}</a>. The ratings: MovieLens 100K, F. M. Harper and J. A. Konstan, '
        "The MovieLens Datasets: History and Context, 2015, "
        '<a href="https://doi.org/10.1145/2827872">doi 10.1145/2827872</a>.</p></footer>\n'
    )
