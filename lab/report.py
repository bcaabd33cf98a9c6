"""The report of the lab: a self-contained HTML page."""

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
from lab.corrected import SEEDS, Row
from lab.data import MIN_TRAIN_RATINGS
from lab.online import CUTOFF, METRICS, TEST_FRACTION, Online
from lab.printed import ADDRESS, EXPERIMENTS, TITLE, WALS_SECONDS, label
from lab.results import SPREAD, Figure, Findings, Method
from lab.sampled import RANDOM_FRACTION, SHARES, Sampled, SampledRow
from lab.scoring import IS_ERROR, LEVEL, RESAMPLES, Estimate, Metric
from lab.story import Mistake, Score, compared_in_words, conclusions, mistakes, parameters_in_words
from lab.tuned import Tuned

CAPTIONS = {
    "methods": (
        f"All methods on the same test set. Bars are {100 * LEVEL:g}% bootstrap intervals over test users, with "
        f"{RESAMPLES:,} resamples that are the same for all methods, so a difference can be significant even if bars "
        "overlap. Experiment I has one seed and is not clipped to the rating scale."
    ),
    "objective": (
        "The terms of the objective of biased ALS after each iteration. Half-steps are exact, so the sum never "
        "increases."
    ),
    "online": (
        "Most events of the stream are of cold-start users. A model without updates can only recommend popular "
        "movies to them; with online learning, it personalizes after the first rating."
    ),
    "tuning": "The finished trials of the search by parameter; the best one is marked.",
    "calibration": (
        "Observed coverage of prediction intervals by nominal coverage. Ratings were held out at random or, as in "
        "the write-up, by time; intervals do not account for changes of preferences with time."
    ),
    "traces": (
        "Samples by sweep. A converged chain fluctuates around a constant level. Factors become active one after "
        "another, and the noise decreases each time, for longer than the 20 sweeps that are discarded."
    ),
    "weights": (
        "Top: the weight of a rating by the number of training ratings of its movie. Bottom: the number of movies. A "
        "movie without training ratings has no weight, except in the metric of the write-up, where its linear weight "
        "is 10⁸."
    ),
    "convergence": "Experiment A, from the initial factors of the write-up; logarithmic axes, except at the start.",
}


def page(findings: Findings, plots: Mapping[str, bytes], narrow: Mapping[str, bytes]) -> str:
    """Return the page.

    Parameters
    ----------
    findings : Findings
    plots, narrow : dict
        PNG images by name, for wide pages and for phones.
    """
    style = files("lab").joinpath("report.css").read_text(encoding="utf-8")
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
    yield "Conclusions and corrections", _verdicts(findings)
    yield "Five mistakes and their corrections", "".join(map(_mistake, mistakes(findings)))
    yield (
        "The corrected methods",
        f"<p>All methods are scored on the same test ratings: the {n_test:,} of users with at least "
        f"{MIN_TRAIN_RATINGS} training ratings, and the {n_known:,} of them whose movie also has training ratings. "
        f"Hyperparameters were chosen on one temporal split of the {len(findings.split.train):,} training ratings, "
        "from grids that were also narrowed within these, and models were then fitted to all training ratings. In "
        f"brackets: {100 * LEVEL:g}% bootstrap intervals over users.</p>"
        + _corrected("Ratings, by RMSE (lower is better)", "rmse", findings.stars, n_test, n_known)
        + f'<p class="note">{escape(compared_in_words(findings.als_minus_sgd["rmse"]))} of RMSE on the {n_known:,} '
        "test ratings, by the paired bootstrap.</p>"
        + _corrected("±1, by sign accuracy (higher is better)", "sign_accuracy", findings.signs, n_test, n_known)
        + f'<p class="note">{escape(compared_in_words(findings.als_minus_sgd["sign_accuracy"]))} of sign '
        "accuracy.</p>",
    )
    yield "All methods on one test set", plot("methods") + _methods(findings.methods, n_test, n_known)
    yield "Tuning with hs.tune", _tuned(findings.tuned, n_test, n_known) + plot("tuning")
    yield (
        "Bayesian ALS without tuning",
        _sampled(findings.sampled, n_test, n_known) + plot("calibration") + plot("traces"),
    )
    yield "Weights and the objective", plot("weights") + plot("objective")
    yield "Online learning", _online(findings.online) + plot("online")
    yield "All reproduced figures", _rule() + _experiments(findings.figures) + plot("convergence")


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
            f"sign accuracy of the same model; the write-up's best was "
            f"{findings.figure('J.sign_accuracy_test').printed}",
        ),
        (
            "A tie" if findings.als_minus_sgd["rmse"].includes_zero else "No tie",
            f"between ALS and SGD if both are tuned: RMSE {corrected['biased_als'].known.value:.4f} and "
            f"{corrected['sgd'].known.value:.4f}",
        ),
    )
    return (
        "<header><h1>ALS on MovieLens 100K</h1>"
        f'<p class="lead"><a href="{ADDRESS}">{TITLE}</a>, a write-up on ouatu.ro, implements alternating least '
        "squares in NumPy, and finds that it is less accurate than simple baselines. This report reproduces its "
        "experiments, explains their mistakes, and evaluates the same algorithm with these corrected.</p>"
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
    """Return a table of names and numbers, both HTML; on phones, each row becomes a list."""
    head = "".join(f'<th class="number">{escape(column)}</th>' for column in columns[1:])
    body = "".join(
        f"<tr{' class=best' if row == best else ''}><td>{name}</td>"
        + "".join(
            f'<td class="number" data-label="{escape(column)}"><span>{number}</span></td>'
            for column, number in zip(columns[1:], numbers, strict=True)
        )
        + "</tr>"
        for row, (name, *numbers) in enumerate(rows)
    )
    return (
        f'<table class="stack"><thead><tr><th>{escape(columns[0])}</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>\n"
    )


def _verdicts(findings: Findings) -> str:
    rows = "".join(
        f"<tr><td>{escape(item.concluded)}</td><td>{escape(item.correction)}</td></tr>"
        for item in conclusions(findings)
    )
    return (
        '<table class="verdicts"><thead><tr><th>Conclusion of the write-up</th><th>Correction</th></tr></thead>'
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
        "method",
        "candidates",
        "inner split",
        f"test, {n_test:,}",
        f"test, {n_known:,}",
        f"{n_known:,}, {len(SEEDS)} seeds",
    )
    lines = [
        (
            f"{escape(row.name)}<br><small>{escape(parameters_in_words(row))}</small>",
            str(row.candidates),
            f"{row.validation:.4f}",
            _estimate(row.test),
            _estimate(row.known),
            row.over_seeds,
        )
        for row in rows
    ]
    return f'<h3 class="table">{escape(caption)}</h3>{_table(columns, lines, rows.index(best))}'


def _methods(methods: Sequence[Method], n_test: int, n_known: int) -> str:
    ordered = sorted(methods, key=lambda method: method.known.value)
    lines = [
        (
            f'<span class="{"ours" if method.ours else "theirs"}">{escape(method.name)}</span>',
            _estimate(method.test),
            _estimate(method.known),
        )
        for method in ordered
    ]
    return _table(("method", f"RMSE on {n_test:,}", f"RMSE on {n_known:,}"), lines)


def _tuned(tuned: Tuned, n_test: int, n_known: int) -> str:
    tuning = tuned.tuning
    states = Counter(trial.state for trial in tuning)
    return (
        "<p><code>hs.tune(hs.ALS(hs.Explicit(biases=True)), train, space)</code> searches λ of users and of items, "
        f"its exponent, the rank and ρ on {escape(tuning.folds)} of the training ratings. "
        f"{states['pruned']} of {len(tuning)} trials were pruned; the search took {tuning.seconds:.1f}\u00a0s. The "
        f"best has an RMSE of {tuning.best_value:.4f} on the folds ({escape(tuned.parameters_in_words)}). Fitted to "
        f"all training ratings, it has {tuned.known.value:.4f} on the {n_known:,} test ratings, "
        f"and {tuned.test.value:.4f} on the {n_test:,}.</p>\n"
    )


def _sampled(sampled: Sampled, n_test: int, n_known: int) -> str:
    def table(caption: str, rows: Sequence[SampledRow]) -> str:
        n = len(rows[0].seeds)
        columns = "method", f"test, {n_test:,}", f"test, {n_known:,}", f"{n_known:,}, with each seed"
        lines = [
            (
                escape(row.name),
                _estimate(row.test),
                _estimate(row.known),
                ", ".join(f"{score:.4f}" for score in row.seeds),
            )
            for row in rows
        ]
        return f'<h3 class="table">{caption}, {n} seed{"s" * (n > 1)}</h3>{_table(columns, lines)}'

    held = {how: ", ".join(f"{100 * share:.1f}" for share in shares) for how, shares in sampled.coverage.items()}
    return (
        "<p><code>hs.BayesianALS()</code> samples users, items, their hyperparameters and the noise, sweep after "
        "sweep, and predicts the mean over its samples. No hyperparameters are tuned. Implicit features are the "
        "movies that a user rated and the users who rated a movie, in the training set; an ordinal model treats "
        "ratings as ordered categories. There are few seeds, because the variance of scores between seeds is small "
        "compared with that between test users.</p>"
        + table("Ratings, by RMSE", sampled.stars)
        + table("±1, by sign accuracy", sampled.signs)
        + f'<p class="note">Intervals for {", ".join(f"{100 * share:g}" for share in SHARES)}% contain '
        f"{held['at random']}% of the {100 * RANDOM_FRACTION:g}% of ratings held out at random, and "
        f"{held['by time']}% of those held out by time.</p>\n"
    )


def _online(online: Online) -> str:
    n, unknown = len(online.popularity.ranks), online.popularity.n_unknown_users
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
        "without earlier ratings. For each event, all movies that the user has not rated are ranked, the rank of the "
        "rated movie is recorded, and an online model is then updated: the row of the user is solved again, then "
        "that of the movie. Parameters are published ones for other data; nothing is tuned.</p>"
        + _table(("model", f"hit rate@{CUTOFF}", f"NDCG@{CUTOFF}"), lines)
        + f'<p class="note">Gains of online learning on the same events, with {100 * LEVEL:g}% intervals: '
        f"{escape(gains)}.</p>\n"
    )


def _gain(row: EvaluationRow) -> str:
    return f"{row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]".replace("-", "−")


def _estimate(estimate: Estimate | EvaluationRow) -> str:
    return f"{estimate.value:.4f} <small>[{estimate.low:.3f}, {estimate.high:.3f}]</small>"


def _rule() -> str:
    return (
        "<p>A figure agrees if it rounds to the printed digits. Experiments I and J are random: our figure is the "
        "mean ± the standard deviation of five seeds, and agrees if the printed figure is within "
        f"{SPREAD:g} standard deviations, which contains another run with a probability of 95%.</p>\n"
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
        '<footer class="note"><p>Generated by <code>python -m lab</code>, version '
        f"{hs.__version__}, in {findings.total_seconds:.0f} s (without the plots) by {findings.processes} processes; "
        f"{findings.fits} fits took {findings.fitting_seconds:.1f} s of these; one fit of WALS took {WALS_SECONDS:g} "
        f"s in the write-up. All figures are in <code>results.json</code> in the same folder. "
        "The write-up: "
        f'“{TITLE}”, <a href="{ADDRESS}">{ADDRESS}</a>. The ratings: MovieLens 100K, F. M. Harper and J. A. Konstan, '
        "The MovieLens Datasets: History and Context, 2015, "
        '<a href="https://doi.org/10.1145/2827872">doi 10.1145/2827872</a>.</p></footer>\n'
    )
