"""The conclusions and the five mistakes of the write-up, with corrections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lab.corrected import SEEDS, Row
from lab.experiments import SIGNED_REGULARIZATION, W0
from lab.printed import GRID_W0, GRID_WK, WALS_SECONDS, grid_key
from lab.results import Findings
from lab.scoring import Estimate


class Score(NamedTuple):
    """A figure with its description."""

    what: str
    value: str


class Mistake(NamedTuple):
    """A mistake, its explanation, and the figures with and without it."""

    title: str
    explanation: str
    printed: list[Score]
    corrected: list[Score]


class Conclusion(NamedTuple):
    """A conclusion of the write-up, and its correction."""

    concluded: str
    correction: str


def mistakes(findings: Findings) -> list[Mistake]:
    """Return the five mistakes in the order of the write-up."""
    stars = {row.key: row for row in findings.stars}
    signs = {row.key: row for row in findings.signs}
    methods = {method.name[0]: method for method in findings.methods if not method.ours}
    ours = {figure.key: figure.ours for figure in findings.figures}
    n_test, n_known = len(findings.split.test), len(findings.split.known)
    return [
        Mistake(
            "Missing cells as zeros, scored on ratings",
            "Experiment D fits the model to a rating of 0 for every movie that a user has not rated, and scores it "
            "on ratings of 1 to 5. The error is due to the objective, not to ALS: with the observed ratings alone "
            "and biases, the same algorithm predicts them.",
            [Score("D: RMSE, test", f"{ours['D.rmse_test']:.4f}")],
            [Score("biased ALS: RMSE, same pairs", f"{stars['biased_als'].test.value:.4f}")],
        ),
        _cold_start_metric(findings, ours, stars["biased_wals"]),
        Mistake(
            "Observed means stored, not positive",
            "Experiment H masks by R > 0, which drops every −1. WALS is then trained on +1 alone, always predicts "
            "+1, and equals the global mean in all digits. If every −1 is kept, WALS with power weights is better; "
            f"with linear weights, which are near {W0:g}, a λ of {SIGNED_REGULARIZATION:g} shrinks all factors to 0.",
            [Score("H: WALS, both: sign accuracy, test", f"{ours['H.wals_linear.sign_accuracy_test']:.4f}")],
            [
                Score("the same linear WALS, −1 kept", f"{findings.unmasked['wals_linear']:.4f}"),
                Score("the same power WALS, −1 kept", f"{findings.unmasked['wals_power']:.4f}"),
                Score("biased WALS", f"{signs['biased_wals'].test.value:.4f}"),
            ],
        ),
        Mistake(
            "No biases",
            "Much of the variance of ratings is due to differences between the means of users and of movies. Without "
            "biases, the factors have to model it, and do so poorly at rank 10 with a λ that is the same for 20 "
            "ratings and for 500. The last remark of the write-up suggests this.",
            [Score("E: WALS without biases: RMSE, test", f"{ours['E.rmse_test']:.4f}")],
            [
                Score("user + item bias alone", f"{stars['user_item_bias'].test.value:.4f}"),
                Score("biased ALS", f"{stars['biased_als'].test.value:.4f}"),
            ],
        ),
        Mistake(
            "Two test sets in one comparison",
            f"ALS was scored on {n_test:,} test ratings, some of movies without training ratings; the SGD model that "
            f"beat it on the {n_known:,} others. Here each method is scored on both; ratings of movies without "
            "training ratings are predicted from the mean and the bias of the user.",
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


def _cold_start_metric(findings: Findings, ours: Mapping[str, float], wals: Row) -> Mistake:
    grid = [grid_key(w0, wk) for w0 in GRID_W0 for wk in GRID_WK]
    picked = min(grid, key=lambda key: ours[f"{key}.weighted_rmse_test"])
    best = min(grid, key=lambda key: ours[f"{key}.rmse_test"])
    return Mistake(
        "A metric dominated by cold-start items",
        "An item without training ratings has the weight wk/1e-8, which is in the millions, so the weighted test "
        "RMSE depends only on the few test ratings of such items, for which every model without biases predicts 0. "
        "It is the same for all models in the printed digits, so the grid search selects by noise, and chose nearly "
        "the worst weights.",
        [
            Score("G: weighted RMSE, all nine", f"{ours[f'{picked}.weighted_rmse_test']:.4f}"),
            Score(f"selected, {_setting(picked)}: RMSE", f"{ours[f'{picked}.rmse_test']:.4f}"),
        ],
        [
            Score("weighted RMSE without cold-start items", _range(findings.corrected_grid.values())),
            Score(f"best of the nine, {_setting(best)}: RMSE", f"{ours[f'{best}.rmse_test']:.4f}"),
            Score("biased WALS, weights by plain RMSE", f"{wals.test.value:.4f}"),
        ],
    )


def conclusions(findings: Findings) -> list[Conclusion]:
    """Return the conclusions of the write-up with corrections."""
    stars = {row.key: row for row in findings.stars}
    signs = {row.key: row for row in findings.signs}
    als, wals, biases = stars["biased_als"], stars["biased_wals"], stars["user_item_bias"]
    untuned, untuned_signs = findings.untuned
    seconds = findings.section_seconds["E"]
    n_known = len(findings.split.known)
    return [
        Conclusion(
            "ALS fails to beat strong baselines.",
            f"With biases, and all choices made within the training set, ALS has an RMSE of {als.known.value:.4f} "
            f"on the {n_known:,} test ratings; user + item bias has {biases.known.value:.4f}. SGD, which beat the "
            f"write-up's ALS with {findings.figure('I.rmse_test').printed}, has {stars['sgd'].known.value:.4f} when "
            f"it is tuned on the same inner split, and {compared_in_words(findings.als_minus_sgd['rmse'])} (over "
            f"{len(SEEDS)} seeds {als.over_seeds} for ALS, {stars['sgd'].over_seeds} for SGD). The best model "
            f"without tuning, {untuned.name}, has {untuned.known.value:.4f}.",
        ),
        Conclusion(
            "WALS is slow.",
            f"Its {WALS_SECONDS:g} seconds are due to a Python loop over rows. The same computation takes "
            f"{seconds:.2f} seconds here.",
        ),
        Conclusion(
            "Popularity weights need the right w0 and wk.",
            f"Chosen by plain RMSE, the weight is {wals.parameters['weight']}, and the RMSE {wals.known.value:.4f}, "
            f"compared with {als.known.value:.4f} without weights. Over {len(SEEDS)} seeds it is {wals.over_seeds}, "
            f"compared with {als.over_seeds}: weights hardly affect predictions of these ratings.",
        ),
        Conclusion(
            "On likes and dislikes WALS is no better than always predicting +1.",
            f"With power weights, the reason is the mask: without it, the sign accuracy is "
            f"{findings.unmasked['wals_power']:.4f} on the {len(findings.split.test):,} test ratings. With linear "
            f"weights, a λ of {SIGNED_REGULARIZATION:g} is also too large. Biased ALS has a sign accuracy of "
            f"{signs['biased_als'].known.value:.4f} on the {n_known:,} test ratings, SGD "
            f"{signs['sgd'].known.value:.4f} (the write-up's: {findings.figure('J.sign_accuracy_test').printed}): "
            f"{compared_in_words(findings.als_minus_sgd['sign_accuracy'])}. Without tuning, {untuned_signs.name} "
            f"has {untuned_signs.known.value:.4f}.",
        ),
    ]


def compared_in_words(difference: Estimate) -> str:
    """Describe the difference ALS minus SGD; it is a tie if the interval contains 0."""
    verb = "tie" if difference.includes_zero else "differ"
    figures = f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]".replace("-", "−")
    return f"ALS and SGD {verb}, with a difference of {figures}"


def parameters_in_words(row: Row) -> str:
    """Return the chosen hyperparameters in one line."""
    symbols = {
        "rank": "rank",
        "regularization": "λ",
        "regularization.exponent": "ν",
        "regularization.bias_ratio": "ρ",
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
