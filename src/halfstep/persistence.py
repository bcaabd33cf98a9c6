"""Models from files: `load` reads what ``model.save`` wrote, and three importers read what others wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from halfstep.als import ALS
from halfstep.alternation import Iteration
from halfstep.baselines import GlobalMean, ItemBias, Popularity, UserItemBias
from halfstep.bayesian import BayesianALS
from halfstep.factor_model import FactorModel
from halfstep.importers import from_implicit, from_spark
from halfstep.incremental import IncrementalModel
from halfstep.live import LiveArray
from halfstep.parameters import as_path, check_flag
from halfstep.pretrained import PretrainedFactors, from_arrays
from halfstep.sgd import SGD, Epoch
from halfstep.storage import construct, corrupted, naming_the_file, read_model
from halfstep.sweeps import Sweep

__all__ = ["from_arrays", "from_implicit", "from_spark", "load"]

# Only these are ever made of a file, whatever name it says.
MODELS: Mapping[str, type[FactorModel]] = {
    kind.__name__: kind
    for kind in (ALS, BayesianALS, SGD, GlobalMean, ItemBias, UserItemBias, Popularity, PretrainedFactors)
}
LINES: Mapping[str, type[Iteration] | type[Sweep] | type[Epoch]] = {  # what a line of history_ is
    "ALS": Iteration,
    "BayesianALS": Sweep,
    "SGD": Epoch,
}


def load(path: str | os.PathLike[str], *, verify: bool = True, copy: bool = False) -> FactorModel:
    """Read a model that ``model.save`` wrote.

    Nothing in the file is executed, so files from untrusted sources are safe to load.
    Factors and interactions are mapped into memory, not copied: several processes that load one file share its pages,
    of which `partial_fit` copies those that it changes, and the arrays are read-only. The file may be replaced by
    ``save`` or ``mv`` while the model is in use (not on Windows, which refuses). It must not be changed in place, as
    by ``cp``: the arrays of the model would change, or the process would be killed for reading beyond the end of the
    file. With ``copy=True``, later changes of the file have no effect.

    Parameters
    ----------
    path : path of a file
    verify : bool
        Whether to compare the checksums of all that is in the file, which reads all of it once. Without, a huge file
        opens at once, and a flipped bit shows up as a wrong number. Sizes and positions are checked in any case.
    copy : bool
        Whether to read the file into memory instead of mapping it.

    Returns
    -------
    FactorModel
        Of the class that was saved, with the parameters and the fitted attributes that it had; except ``threads``,
        which is None: as many as this machine has cores.

    Raises
    ------
    OSError
        If there is no such file (FileNotFoundError), or it cannot be opened.
    ModelFileError
        If the file is truncated, foreign or corrupted, or written by a newer halfstep; the message says which.

    Examples
    --------
    >>> import tempfile, pathlib, halfstep as hs
    >>> data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"], [5.0, 1.0, 4.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     hs.ItemBias().fit(data).save(pathlib.Path(folder) / "model.halfstep")
    ...     model = hs.load(pathlib.Path(folder) / "model.halfstep")
    >>> model
    <ItemBias(), fitted: 2 users, 2 items>
    """
    path = as_path("path", path)
    for name, flag in (("verify", verify), ("copy", copy)):
        check_flag(name, flag)
    stored = read_model(path, verify=verify, copy=copy)
    with naming_the_file(path):
        if not isinstance(stored.kind, str) or stored.kind not in MODELS:
            raise corrupted(f"it holds a model of the unknown class {stored.kind!r}")
        model: FactorModel = construct(MODELS[stored.kind], stored.parameters)
        fitted: dict[str, Any] = {
            "users_": stored.users,
            "items_": stored.items,
            "user_factors_": stored.user_factors,
            "item_factors_": stored.item_factors,
            "user_biases_": stored.user_biases,
            "item_biases_": stored.item_biases,
            "mean_": stored.mean,
            "item_counts_": stored.item_counts,
            "_data": stored.interactions,
            "_is_folded": stored.is_folded,
            "_values_are": stored.values_are,
            "_origin": stored.origin,
        }
        if stored.history is not None:
            fitted["history_"] = _history(stored.kind, stored.history)
        if isinstance(model, IncrementalModel):
            fitted["_live"] = {
                f"{name}_": LiveArray(getattr(stored, name), copy) for name, copy in stored.copies.items()
            }
        model.__dict__.update(fitted)
        try:
            model._take_more_arrays(stored.more)
        except ValueError as error:
            raise corrupted(str(error)) from error
    return model


def _history(kind: str, lines: Sequence[tuple[float, ...]]) -> list[Any]:
    if kind not in LINES:
        raise corrupted(f"it holds a history, which {kind} does not have")
    line = LINES[kind]
    if line is Iteration:  # older files have the regularization of drift, 0, before the last number
        lines = [(*numbers[:6], *numbers[7:]) if len(numbers) == 8 else numbers for numbers in lines]
    return [construct(line, dict(zip(line._fields, numbers, strict=False))) for numbers in lines]
