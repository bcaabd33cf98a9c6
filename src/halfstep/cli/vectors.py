"""``halfstep vectors``: vectors of users and items for vector databases, or an index of them."""

from __future__ import annotations

from typing import Annotated

import typer

import halfstep as hs
from halfstep._support.plurals import with_count
from halfstep._support.printable import printable, without_password
from halfstep.cli import options
from halfstep.cli.console import print_json


def vectors(
    model: options.Model,
    *,
    output: Annotated[
        str, typer.Option("-o", "--output", help="Folder, or the address of a database: postgresql://user@host/name.")
    ],
    format: Annotated[  # noqa: A002
        hs.vectors.Format,
        typer.Option(
            help="Vectors (parquet, npy), or an index of the items as well (faiss, usearch, qdrant, pgvector)."
        ),
    ] = "parquet",
    metric: Annotated[
        hs.vectors.Metric,
        typer.Option(help="What the database or index computes; cosine suits Euclidean distances as well."),
    ] = "dot",
    number: Annotated[int, typer.Option("-n", "--number", help="Cutoff of the recall.", min=1)] = 10,
    as_json: options.Json = False,
) -> None:
    """Write vectors of users and items whose similarity ranks items as the model does, and test the index."""
    found = hs.vectors.of_model(hs.load(model), metric)
    recall = hs.vectors.save(found, output, format, n=number)
    users, items, dimensions = len(found.user_ids), *found.item_vectors.shape
    target = without_password(output)
    if as_json:
        sizes = {"users": users, "items": items, "dimensions": dimensions}
        print_json({"output": target, **sizes, "recall": recall})
        return
    counts = f"{with_count(users, 'user')} and {with_count(items, 'item')}, {with_count(dimensions, 'dimension')}"
    print(printable(f"vectors of {counts}, written to {target}"))
    if recall is not None:
        print(f"recall@{min(number, items)} of the index: {recall:.4f}")
