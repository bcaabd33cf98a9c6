"""What the write-up concluded, what is true, and its five mistakes, each beside its corrected row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from halfstep.lab.corrected import SEEDS, Row
from halfstep.lab.experiments import SIGNED_REGULARIZATION, W0
from halfstep.lab.printed import GRID_W0, GRID_WK, WALS_SECONDS, grid_key
from halfstep.lab.results import Findings


class Score(NamedTuple):
    """A number and what it is."""

    what: str
    value: str


class Mistake(NamedTuple):
    """One mistake: what was done and why it is wrong, the figures it led to, and those of doing it right."""

    title: str
    explanation: str
    printed: list[Score]
    corrected: list[Score]


class Conclusion(NamedTuple):
    """What the write-up concluded, and what is true."""

    concluded: str
    truth: str


def mistakes(findings: Findings) -> list[Mistake]:
    """Tell the five mistakes in the order in which the write-up makes them."""
    stars = {row.key: row for row in findings.stars}
    signs = {row.key: row for row in findings.signs}
    methods = {method.name[0]: method for method in findings.methods if not method.ours}
    ours = {figure.key: figure.ours for figure in findings.figures}
    n_test, n_known = len(findings.split.test), len(findings.split.known)
    return [
        Mistake(
            "Told 0, asked for stars",
            "Experiment D tells the model that every film a user has not rated is rated 0, and then scores it on "
            "ratings of 1 to 5. The error is that of the question, not of ALS: told of the ratings alone, with "
            "biases, the same algorithm answers it.",
            [Score("D: RMSE, test", f"{ours['D.rmse_test']:.4f}")],
            [Score("biased ALS: RMSE, same pairs", f"{stars['biased_als'].test.value:.4f}")],
        ),
        _hijacked_metric(findings, ours, stars["biased_wals"]),
        Mistake(
            "Observed means stored, not positive",
            "Experiment H masks by R > 0, which drops every −1. WALS then sees only +1, says +1 always, and so "
            "equals the global mean to the last digit. With the −1s left in, the power weights have something to "
            f"learn; the linear ones have not, since beside weights near {W0:g} a λ of {SIGNED_REGULARIZATION:g} "
            "shrinks every factor to 0.",
            [Score("H: WALS, both: sign accuracy, test", f"{ours['H.wals_linear.sign_accuracy_test']:.4f}")],
            [
                Score("the same linear WALS, −1 kept", f"{findings.unmasked['wals_linear']:.4f}"),
                Score("the same power WALS, −1 kept", f"{findings.unmasked['wals_power']:.4f}"),
                Score("biased WALS", f"{signs['biased_wals'].test.value:.4f}"),
            ],
        ),
        Mistake(
            "No biases",
            "Most of what a rating says is how strict its user is and how good its film. Without biases the factors "
            "have to say it, and rank 10 with a λ that is the same for 20 ratings and for 500 says it badly. The "
            "write-up's last remark suspects as much.",
            [Score("E: WALS without biases: RMSE, test", f"{ours['E.rmse_test']:.4f}")],
            [
                Score("user + item bias alone", f"{stars['user_item_bias'].test.value:.4f}"),
                Score("biased ALS", f"{stars['biased_als'].test.value:.4f}"),
            ],
        ),
        Mistake(
            "Two test sets in one comparison",
            f"ALS was scored on {n_test:,} pairs, some of films that nobody had rated in training; the SGD model "
            f"that beat it on {n_known:,}, without those. Here each method has both, and a film that nobody rated "
            "gets what is known of its user.",
            [
                Score(f"E: WALS on {n_test:,}", f"{methods['E'].test.value:.4f}"),
                Score(f"I: SGD on {n_known:,}", f"{ours['I.rmse_test']:.4f}"),
            ],
            [
                Score(f"{row.name} on {n_test:,} and {n_known:,}", _both(row))
                for row in (stars["sgd"], stars["biased_als"])
            ],
        ),
    ]


def _hijacked_metric(findings: Findings, ours: Mapping[str, float], wals: Row) -> Mistake:
    grid = [grid_key(w0, wk) for w0 in GRID_W0 for wk in GRID_WK]
    picked = min(grid, key=lambda key: ours[f"{key}.weighted_rmse_test"])
    best = min(grid, key=lambda key: ours[f"{key}.rmse_test"])
    return Mistake(
        "A metric that unseen items hijack",
        "An item without training ratings gets the weight wk/1e-8, some millions or more, so the weighted test RMSE "
        "sees only the few test pairs of such items, where every model without biases says 0. It is the same for all "
        "of them to the digits that were printed; the grid search picks by noise, and picks nearly the worst.",
        [
            Score("G: weighted RMSE, all nine", f"{ours[f'{picked}.weighted_rmse_test']:.4f}"),
            Score(f"its pick, {_setting(picked)}: RMSE", f"{ours[f'{picked}.rmse_test']:.4f}"),
        ],
        [
            Score("weighted RMSE, unseen items left out", _range(findings.mended_grid.values())),
            Score(f"best of the nine, {_setting(best)}: RMSE", f"{ours[f'{best}.rmse_test']:.4f}"),
            Score("biased WALS, weights by plain RMSE", f"{wals.test.value:.4f}"),
        ],
    )


def conclusions(findings: Findings) -> list[Conclusion]:
    """Set what is true beside what the write-up concluded."""
    stars = {row.key: row for row in findings.stars}
    signs = {row.key: row for row in findings.signs}
    als, wals, biases = stars["biased_als"], stars["biased_wals"], stars["user_item_bias"]
    seconds = findings.section_seconds["E"]
    n_known = len(findings.split.known)
    return [
        Conclusion(
            "ALS fails to beat strong baselines.",
            f"With biases, and all choices made inside the training side, ALS has an RMSE of {als.known.value:.4f} "
            f"on the {n_known:,} pairs. User + item bias has {biases.known.value:.4f}, the SGD that beat the "
            f"write-up's ALS {findings.figure('I.rmse_test').printed}, and SGD, tuned on the same inner split, "
            f"{stars['sgd'].known.value:.4f}; over {len(SEEDS)} seeds ALS has {als.over_seeds} and SGD "
            f"{stars['sgd'].over_seeds}.",
        ),
        Conclusion(
            "WALS is slow.",
            f"Its {WALS_SECONDS:g} seconds are those of a loop in Python over rows. The same arithmetic, to the same "
            f"digits, takes {seconds:.2f} seconds here.",
        ),
        Conclusion(
            "Popularity weights need the right w0 and wk.",
            f"Chosen by plain RMSE, the weight is {wals.parameters['weight']}, and the RMSE {wals.known.value:.4f}, "
            f"against {als.known.value:.4f} with none. Over {len(SEEDS)} seeds it is {wals.over_seeds}, against "
            f"{als.over_seeds}: for predicting these ratings, weights hardly matter.",
        ),
        Conclusion(
            "On likes and dislikes WALS is no better than always saying yes.",
            f"With power weights that was the mask: without it they have {findings.unmasked['wals_power']:.4f} of "
            f"the signs right on the {len(findings.split.test):,} pairs. With linear weights it is also a λ of "
            f"{SIGNED_REGULARIZATION:g}, beside which their weights are nothing. Biased ALS has "
            f"{signs['biased_als'].known.value:.4f} of the signs right on the {n_known:,} pairs, SGD "
            f"{signs['sgd'].known.value:.4f} (the write-up's: {findings.figure('J.sign_accuracy_test').printed}).",
        ),
    ]


def parameters_in_words(row: Row) -> str:
    """Say the chosen hyperparameters in one line."""
    symbols = {
        "rank": "rank",
        "regularization": "λ",
        "regularization_exponent": "ν",
        "bias_regularization": "ρ",
        "user_regularization": "λ users",
        "item_regularization": "λ items",
        "learning_rate": "rate",
        "iterations": "iterations",
        "weight": "w =",
    }
    return ", ".join(
        f"{symbols[name]}\u00a0{value if isinstance(value, str) else format(value, '.3g')}"
        for name, value in row.parameters.items()
    )


def _setting(key: str) -> str:
    return key.removeprefix("G.").replace("=", " ").replace(",", ", ")


def _range(values: Iterable[float]) -> str:
    numbers = sorted(values)
    return f"{numbers[0]:.4f} to {numbers[-1]:.4f}"


def _both(row: Row) -> str:
    return f"{row.test.value:.4f} and {row.known.value:.4f}"
