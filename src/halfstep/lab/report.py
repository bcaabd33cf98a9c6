"""The lab's report: one page of HTML that needs no other file."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby

import halfstep as hs
from halfstep.evaluation import Row as EvaluationRow
from halfstep.lab.corrected import SEEDS, Row
from halfstep.lab.data import MIN_TRAIN_RATINGS
from halfstep.lab.online import METRICS, PLACES, TEST_FRACTION, Online
from halfstep.lab.printed import EXPERIMENTS, WALS_SECONDS, label
from halfstep.lab.results import SPREAD, Figure, Findings, Method
from halfstep.lab.sampled import RANDOM_FRACTION, SHARES, Sampled, SampledRow
from halfstep.lab.scoring import IS_ERROR, LEVEL, RESAMPLES, Estimate, Metric
from halfstep.lab.story import Mistake, Score, conclusions, mistakes, parameters_in_words
from halfstep.lab.tuned import Tuned

CAPTIONS = {
    "methods": (
        f"All methods on one and the same test set. A bar holds {100 * LEVEL:g}\u00a0% of the values that come out "
        f"when the test's users are drawn anew, {RESAMPLES:,} times; the same draws serve every method, so a "
        "difference between two is surer than the overlap of their bars suggests. Experiment I's is one seed's, not "
        "clipped to the scale."
    ),
    "objective": (
        "The three terms of the objective after each iteration of the chosen biased ALS. A half-step solves its rows "
        "exactly, so the sum never rises."
    ),
    "online": (
        "Most of the stream's events are of users who came after training: a "
        "model that stays as it is has nothing but popularity for them, one that learns knows them after their first "
        "film."
    ),
    "tuning": (
        "What each finished trial of the search scored on the folds, by its parameters; the marked one was chosen. "
        "The worst quarter is off the scale."
    ),
    "calibration": (
        "How many ratings an interval holds, beside how many it should. They were held out at random, or as the "
        "write-up does, later in time: what people like changes, which intervals made of the past cannot know."
    ),
    "traces": (
        "What each sweep of the sampler drew. A chain that has found its way wanders around. Factors unfold one "
        "after the other, and the noise falls with each, for longer than the 20 sweeps that are not kept."
    ),
    "weights": (
        "What a rating weighs, by how many ratings its film has; below, how many films are that popular. A film "
        "without any weighs nothing, except in the write-up's metric, where the linear weights give it 10⁸."
    ),
    "convergence": "Experiment A, from the write-up's own start; both axes are logarithmic, but for the start.",
}


def page(findings: Findings, plots: Mapping[str, bytes]) -> str:
    """Make the page; `plots` are PNG by name."""
    style = files("halfstep.lab").joinpath("report.css").read_text(encoding="utf-8")
    n_test, n_known = len(findings.split.test), len(findings.split.known)
    sections = (
        _head(findings),
        _section("What it concluded, and what is true", _verdicts(findings)),
        _section("Five mistakes, each beside its corrected row", "".join(map(_mistake, mistakes(findings)))),
        _section(
            "The corrected rows",
            f"<p>All methods on the same pairs: {n_test:,} of users with {MIN_TRAIN_RATINGS} ratings or more in "
            f"training, and the {n_known:,} of them whose film has a rating in training, too. Hyperparameters were "
            f"chosen on one time split inside the {len(findings.split.train):,} training ratings; the model was then "
            "fitted on all of these. The settings tried are what was left of wider grids, which were narrowed on the "
            f"training side too. In brackets: {100 * LEVEL:g}\u00a0% of the values when users are drawn anew.</p>",
            _corrected("In stars, by RMSE (less is better)", "rmse", findings.stars, n_test, n_known),
            _corrected("On ±1, by sign accuracy (more is better)", "sign_accuracy", findings.signs, n_test, n_known),
        ),
        _section("All methods, one test set", _plot("methods", plots), _methods(findings.methods, n_test, n_known)),
        _section("Tuned by one call", _tuned(findings.tuned, n_test, n_known), _plot("tuning", plots)),
        _section(
            "Not tuned at all",
            _sampled(findings.sampled, n_known),
            _plot("calibration", plots),
            _plot("traces", plots),
        ),
        _section("What the weights do, and the objective", _plot("weights", plots), _plot("objective", plots)),
        _section("Learning on, event by event", _online(findings.online), _plot("online", plots)),
        _section("Every printed figure", _rule(), _experiments(findings.figures), _plot("convergence", plots)),
        _foot(findings),
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>ALS on MovieLens 100K: the lab report</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _head(findings: Findings) -> str:
    agreeing = sum(figure.agrees for figure in findings.figures)
    stars = {row.key: row for row in findings.stars}["biased_als"]
    signs = {row.key: row for row in findings.signs}["biased_als"]
    tiles = (
        (f"{agreeing} of {len(findings.figures)}", "printed figures agree with ours"),
        (f"{stars.known.value:.3f}", f"RMSE of biased ALS; {findings.figure('I.rmse_test').printed} was SGD's"),
        (
            f"{signs.known.value:.3f}",
            f"of the signs right with biased ALS; {findings.figure('J.sign_accuracy_test').printed} was SGD's",
        ),
        (
            f"{findings.fitting_seconds:.1f} s",
            f"for all {findings.fits} fits; WALS alone took {WALS_SECONDS:g} s each",
        ),
    )
    return (
        "<header><h1>ALS on MovieLens 100K</h1>"
        '<p class="lead">A write-up implements alternating least squares from scratch, and finds that it loses to '
        "simple baselines. Here are its experiments again, figure by figure, what went wrong in them, and what the "
        "same algorithm does when it is asked the right question.</p>"
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{value}</b><span>{what}</span></div>' for value, what in tiles)
        + "</div></header>\n"
    )


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{''.join(parts)}</section>\n"


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
        + scores("As it was", "theirs", mistake.printed)
        + scores("Done right", "ours", mistake.corrected)
        + "</article>\n"
    )


def _corrected(caption: str, metric: Metric, rows: Sequence[Row], n_test: int, n_known: int) -> str:
    best = (min if IS_ERROR[metric] else max)(rows, key=lambda row: row.known.value)
    body = "".join(
        f"<tr{' class=best' if row is best else ''}><td>{escape(row.name)}<br>"
        f"<small>{escape(parameters_in_words(row))}</small></td>"
        f'<td class="number">{row.candidates}</td><td class="number">{row.validation:.4f}</td>'
        f"{_estimate(row.test)}{_estimate(row.known)}"
        f'<td class="number">{row.over_seeds}</td></tr>'
        for row in rows
    )
    return (
        f'<h3 style="margin-top:26px">{escape(caption)}</h3><div class="wide"><table><thead><tr><th>method</th>'
        '<th class="number">settings tried</th><th class="number">on the inner split</th>'
        f'<th class="number">test, {n_test:,}</th><th class="number">test, {n_known:,}</th>'
        f'<th class="number">{n_known:,}, {len(SEEDS)} seeds</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>\n"
    )


def _methods(methods: Sequence[Method], n_test: int, n_known: int) -> str:
    body = "".join(
        f'<tr><td class="{"ours" if method.ours else "theirs"}">{escape(method.name)}</td>'
        f"{_estimate(method.test)}{_estimate(method.known)}</tr>"
        for method in sorted(methods, key=lambda method: method.known.value)
    )
    return (
        f'<table style="margin-top:22px"><thead><tr><th>method</th><th class="number">RMSE on {n_test:,}</th>'
        f'<th class="number">RMSE on {n_known:,}</th></tr></thead><tbody>{body}</tbody></table>\n'
    )


def _tuned(tuned: Tuned, n_test: int, n_known: int) -> str:
    tuning = tuned.tuning
    states = Counter(trial.state for trial in tuning)
    return (
        f"<p><code>hs.tune(hs.ALS(hs.Explicit(biases=True)), train, space)</code> searches λ of users and of "
        f"items, its exponent, the rank and the ratio of the biases’ λ on {escape(tuning.folds)}, all of them inside "
        f"the training ratings. Of {len(tuning)} trials {states['pruned']} were given up, as they were "
        f"behind; all took {tuning.seconds:.1f}\u00a0s. The best has {tuning.best_value:.4f} on the folds "
        f"({escape(tuned.parameters_in_words)}). Fitted to all training ratings it has an RMSE of "
        f"{tuned.known.value:.4f} on the {n_known:,} pairs, and {tuned.test.value:.4f} on the {n_test:,}.</p>\n"
    )


def _sampled(sampled: Sampled, n_known: int) -> str:
    def lines(rows: Sequence[SampledRow], what: str) -> str:
        return "".join(
            f"<tr><td>{escape(row.name)}<br><small>{what}</small></td>{_estimate(row.test)}{_estimate(row.known)}"
            f'<td class="number">{", ".join(f"{score:.4f}" for score in row.seeds)}</td></tr>'
            for row in rows
        )

    held = {how: ", ".join(f"{100 * share:.1f}" for share in shares) for how, shares in sampled.coverage.items()}
    return (
        "<p><code>hs.BayesianALS()</code> draws users, items, what they have in common and the noise, sweep after "
        "sweep, and predicts the mean over its samples. Nothing is chosen by hand or by search. Implicit features "
        "are which films a user rated and which users a film was rated by, in training; an ordinal model takes "
        "ratings as categories of which the order alone counts.</p>"
        '<div class="wide"><table><thead><tr><th>method</th><th class="number">test</th>'
        f'<th class="number">known items, {n_known:,}</th><th class="number">with each seed</th></tr></thead>'
        f"<tbody>{lines(sampled.stars, 'RMSE, in stars')}{lines(sampled.signs, 'sign accuracy, on ±1')}</tbody>"
        f'</table></div><p class="note">Intervals for {", ".join(f"{100 * share:g}" for share in SHARES)} % of '
        f"ratings held {held['at random']} % of the {100 * RANDOM_FRACTION:g} % that were held out at random, and "
        f"{held['in time']} % of those held out in time.</p>\n"
    )


def _online(online: Online) -> str:
    n, unknown = len(online.popularity.places), online.popularity.n_unknown_users
    lines = [("Popularity", "", "as fitted", online.popularity)]
    for row in online.rows:
        lines += [(row.name, row.setting, "as fitted", row.frozen), ("", "", "learning on", row.learning)]
    body = "".join(
        f"<tr><td>{escape(name)}{f'<br><small>{escape(setting)}</small>' if setting else ''}</td><td>{how}</td>"
        + "".join(_figure(evaluation.find(evaluation.models[0], metric)) for metric in METRICS)
        + "</tr>"
        for name, setting, how, evaluation in lines
    )
    gains = "; ".join(
        f"{row.name}: HR {_gain(row.gain('hit_rate'))}, NDCG {_gain(row.gain('ndcg'))}" for row in online.rows
    )
    return (
        f"<p>The last {100 * TEST_FRACTION:g}\u00a0% of all ratings by time: {n:,} events, {unknown:,} of users "
        "without one rating before. For each event all films that the user has not had are ranked, the place of the "
        "film that was watched is noted, and then the model may learn the event: the user’s row is solved anew, then "
        "the film’s. Settings are published ones for other data; nothing is tuned here.</p>"
        f'<div class="wide"><table><thead><tr><th>model</th><th></th><th class="number">HR@{PLACES}</th>'
        f'<th class="number">NDCG@{PLACES}</th></tr></thead><tbody>{body}</tbody></table></div>\n'
        f'<p class="note">What learning gains, on the same events: {escape(gains)}.</p>\n'
    )


def _figure(row: EvaluationRow) -> str:
    return f'<td class="number">{row.value:.4f} <small>[{row.low:.3f}, {row.high:.3f}]</small></td>'


def _gain(row: EvaluationRow) -> str:
    return f"{row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"


def _estimate(estimate: Estimate) -> str:
    return f'<td class="number">{estimate.value:.4f} <small>[{estimate.low:.3f}, {estimate.high:.3f}]</small></td>'


def _rule() -> str:
    return (
        "<p>Ours agrees where it rounds to all the digits that were printed. Experiments I and J draw at random: "
        f"ours is the mean of five seeds ± their standard deviation, and agrees where the printed figure lies within "
        f"{SPREAD:g} of these, which is where one more run would fall 95 times in 100.</p>\n"
    )


def _experiments(figures: Sequence[Figure]) -> str:
    blocks = []
    for letter, group in groupby(figures, key=lambda figure: figure.key[0]):
        experiment = EXPERIMENTS[letter]
        rows = "".join(
            f'<tr><td>{escape(label(figure.key))}</td><td class="number">{figure.printed}</td>'
            f'<td class="number">{figure.shown_with_spread}</td>'
            f"<td class={'yes' if figure.agrees else 'no'}>{'✓' if figure.agrees else 'no'}</td></tr>"
            for figure in group
        )
        blocks.append(
            f'<div class="experiment"><h3><b>{letter}</b>{escape(experiment.title)}</h3>'
            f'<p class="note">{escape(experiment.setting)}</p><table><thead><tr><th></th>'
            f'<th class="number">printed</th><th class="number">ours</th><th></th></tr></thead>'
            f"<tbody>{rows}</tbody></table></div>\n"
        )
    return f'<div class="experiments">{"".join(blocks)}</div>'


def _plot(name: str, plots: Mapping[str, bytes]) -> str:
    data = b64encode(plots[name]).decode()
    caption = escape(CAPTIONS[name])
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>\n"
    )


def _foot(findings: Findings) -> str:
    return (
        '<footer class="note"><p>Made by <code>halfstep lab</code>, version '
        f"{hs.__version__}, in {findings.total_seconds:.0f} s (without drawing) by {findings.processes} processes, "
        f"which spent {findings.fitting_seconds:.1f} s in {findings.fits} fits. All figures are in "
        "<code>results.json</code> beside this page. The write-up: "
        "“Implementing Alternating Least Squares (ALS) from Scratch in Python”, ouatu.ro. The ratings: "
        "MovieLens 100K, F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, 2015, "
        '<a href="https://doi.org/10.1145/2827872">doi 10.1145/2827872</a>.</p></footer>\n'
    )
