"""Time to construct interactions from ids."""

from __future__ import annotations

import time

import numpy as np

import halfstep as hs
from benchmarks.peers.problems import Problem


def compare_building(problem: Problem) -> dict[str, float]:
    """Return seconds from ids to rows of both sides, for integers and for strings of several libraries."""
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    def seconds(users: object, items: object, repeats: int) -> float:
        taken = []
        for _ in range(repeats):
            began = time.perf_counter()
            data = hs.Interactions.from_arrays(users, items)
            data.by_user, data.by_item  # noqa: B018 - built on first use
            taken.append(time.perf_counter() - began)
        return min(taken)

    found = {"arrays of int64": seconds(problem.users.astype(np.int64), problem.items.astype(np.int64), 2)}
    texts = [f"user {u}" for u in problem.users.tolist()], [f"item {i}" for i in problem.items.tolist()]
    found["lists of strings"] = seconds(*texts, repeats=1)  # once, because strings cache their hash
    for library, make in {
        "pandas": pd.Series,
        "Polars": pl.Series,
        "PyArrow": lambda text: pa.chunked_array([text]),
    }.items():
        found[f"strings of {library}"] = seconds(*map(make, texts), repeats=2)
    return found
