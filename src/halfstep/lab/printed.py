"""What the write-up printed: every figure of its experiments A to J, with the digits that it gave.

"Implementing Alternating Least Squares (ALS) from Scratch in Python", ouatu.ro. The figures are strings, since how
many decimals were printed decides what it means to agree.
"""

from __future__ import annotations

from collections.abc import Mapping

GRID_W0 = (0.5, 1.0, 1.5)
GRID_WK = (0.05, 0.1, 0.2)

_GRID_RMSE = (
    ("1.1765", "1.1763", "1.1760"),
    ("1.2039", "1.2042", "1.2049"),
    ("1.2274", "1.2278", "1.2274"),
)


def grid_key(w0: float, wk: float) -> str:
    """The key of one cell of experiment G."""
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
