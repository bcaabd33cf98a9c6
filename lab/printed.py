"""The figures of experiments A to J as printed in the write-up.

The figures are strings, because agreement depends on the number of printed decimals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

TITLE = "Implementing Alternating Least Squares (ALS) from Scratch in Python"
ADDRESS = "https://ouatu.ro/blog/als/"

WALS_SECONDS = 12.0  # of one fit, according to the write-up
GRID_W0 = (0.5, 1.0, 1.5)
GRID_WK = (0.05, 0.1, 0.2)

_GRID_RMSE = (("1.1765", "1.1763", "1.1760"), ("1.2039", "1.2042", "1.2049"), ("1.2274", "1.2278", "1.2274"))


def grid_key(w0: float, wk: float) -> str:
    """Return the key of one point of the grid of experiment G."""
    return f"G.w0={w0:g},wk={wk:g}"


PRINTED: Mapping[str, str] = {
    "A.frobenius_start": "120.4196",
    "A.frobenius_1": "8.3655",
    "A.frobenius_100": "6.6819",
    "B.rmse_observed": "0.4026",
    "B.frobenius": "6.9064",
    "C.rmse_observed": "0.0925",
    "C.rmse_weighted": "0.0931",
    "C.frobenius": "31.8075",
    "D.rmse_train": "2.276690",
    "D.rmse_test": "3.122586",
    "D.weighted_rmse_train": "2.334016",
    "D.weighted_rmse_test": "3.395304",
    "E.rmse_train": "0.803892",
    "E.rmse_test": "1.201897",
    "E.weighted_rmse_train": "0.800927",
    "E.weighted_rmse_test": "3.395304",
    "F.global_mean.rmse_train": "1.127381",
    "F.global_mean.rmse_test": "1.128035",
    "F.item_bias.rmse_train": "0.995549",
    "F.item_bias.rmse_test": "1.029807",
    **{
        f"{grid_key(w0, wk)}.rmse_test": printed
        for w0, row in zip(GRID_W0, _GRID_RMSE, strict=True)
        for wk, printed in zip(GRID_WK, row, strict=True)
    },
    **{f"{grid_key(w0, wk)}.weighted_rmse_test": "3.3953" for w0 in GRID_W0 for wk in GRID_WK},
    "G.best.w0": "1.5",
    "G.best.wk": "0.05",
    "H.als.sign_accuracy_train": "0.788575",
    "H.als.sign_accuracy_test": "0.654957",
    "H.wals_linear.sign_accuracy_train": "0.550900",
    "H.wals_linear.sign_accuracy_test": "0.546087",
    "H.wals_power.sign_accuracy_train": "0.550900",
    "H.wals_power.sign_accuracy_test": "0.546087",
    "H.global_mean.sign_accuracy_train": "0.550900",
    "H.global_mean.sign_accuracy_test": "0.546087",
    "H.item_bias.sign_accuracy_train": "0.677163",
    "H.item_bias.sign_accuracy_test": "0.670261",
    "I.rmse_train": "0.6786",
    "I.rmse_test": "0.9774",
    "J.sign_accuracy_train": "0.7398",
    "J.sign_accuracy_test": "0.6831",
}


class Experiment(NamedTuple):
    """An experiment of the write-up."""

    title: str
    setting: str


EXPERIMENTS: Mapping[str, Experiment] = {
    "A": Experiment("Plain ALS, synthetic", "50 × 30, 10% ones; rank 10, λ 0, 100 iterations"),
    "B": Experiment("Regularized ALS, synthetic", "another such matrix; λ 0.1, all cells observed"),
    "C": Experiment("WALS, synthetic", "the same, only the ones observed; w = 0.1 + 1/c"),
    "D": Experiment("Regularized ALS", "rank 10, λ 1.5; missing cells are zeros"),
    "E": Experiment("WALS, linear", "rank 10, λ 1.5; w = 0.1 + 1/c"),
    "F": Experiment("Baselines", "global mean; item bias without regularization"),
    "G": Experiment("Grid over WALS's weights", "w = w0 + wk/c; the best by weighted test RMSE"),
    "H": Experiment("Signed preferences", "±1, liked from 4 stars; rank 10, λ 10"),
    "I": Experiment("Matrix factorization by SGD", "100 factors, 20 epochs; mean of five seeds"),
    "J": Experiment("The same on ±1", "20 factors, 10 epochs; mean of five seeds"),
}

_WORDS = {
    "frobenius_start": "Frobenius error, start",
    "frobenius_1": "Frobenius error, iteration 1",
    "frobenius_100": "Frobenius error, iteration 100",
    "frobenius": "Frobenius error",
    "rmse_observed": "RMSE on the ones",
    "rmse_weighted": "weighted RMSE on the ones",
    "rmse_train": "RMSE, train",
    "rmse_test": "RMSE, test",
    "weighted_rmse_train": "weighted RMSE, train",
    "weighted_rmse_test": "weighted RMSE, test",
    "sign_accuracy_train": "sign accuracy, train",
    "sign_accuracy_test": "sign accuracy, test",
    "global_mean": "global mean",
    "item_bias": "item bias",
    "als": "ALS, zeros observed",
    "wals_linear": "WALS, linear",
    "wals_power": "WALS, power",
    "best": "best",
    "w0": "w0",
    "wk": "wk",
}


def label(key: str) -> str:
    """Return the description of a key, without the letter of the experiment."""
    _, rest = key.split(".", 1)
    if rest.startswith("w0="):
        setting, metric = rest.rsplit(".", 1)
        kind = "weighted" if metric.startswith("weighted") else "RMSE"
        return f"{setting.replace('=', ' ').replace(',', ', ')}: {kind}"
    return ": ".join(_WORDS[part] for part in rest.split("."))
