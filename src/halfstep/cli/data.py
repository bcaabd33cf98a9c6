"""``halfstep data``: real data sets."""

from __future__ import annotations

from typing import Annotated

import typer

import halfstep as hs


def data(
    name: Annotated[str, typer.Argument(help="Name of the data set: movielens-100k.")] = "movielens-100k",
) -> None:
    """Find or download a data set, verify it, and describe it."""
    loaders = hs.datasets.DATASETS
    if name not in loaders:
        raise hs.errors.DatasetError(f"unknown data set {name!r}: choose {', '.join(loaders)}")
    print(loaders[name]())
