"""``halfstep info``: the description of a saved model."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import numpy as np

import halfstep as hs
from halfstep._support.estimator import parameter_names
from halfstep._support.plurals import with_count
from halfstep._support.printable import printable
from halfstep._support.short_repr import changed_parameters, short_value
from halfstep.cli import options
from halfstep.cli.console import print_json, reached_by
from halfstep.models.pretrained import PretrainedFactors
from halfstep.models.storage import StoredModel, read_model

NOT_RECORDED = "not recorded in this file"
NOT_SHOWN = ("objective", "backend", "callbacks", "progress", "threads")  # on another line, or not stored


def info(model: options.Model, as_json: options.Json = False) -> None:
    """Describe a saved model: when and on what it was fitted, with which parameters, by which version."""
    loaded = hs.load(model)
    stored = read_model(model, verify=False, copy=False)  # `load` has verified it
    size = model.stat().st_size
    if as_json:
        print_json({"file": str(model), "bytes": size, **_as_dict(loaded, stored)})
        return
    print(printable(f"{model}: {stored.kind}, {_with_unit(size)}"))
    for name, text in _as_lines(loaded, stored).items():
        print(printable(f"{name + ':':<12} {text}"))


def _as_lines(model: Any, stored: StoredModel) -> dict[str, str]:
    """Describe a model in lines, by name."""
    fitted, updated = (_shown_time(time) for time in (stored.fitted.origin.fitted, stored.fitted.origin.updated))
    lines = {
        "fitted": fitted or NOT_RECORDED,
        "updated": updated or ("not since the fit" if fitted else NOT_RECORDED),
        "written by": f"halfstep {stored.written_by}, format {stored.version}; this is halfstep {hs.__version__}",
        "data": _shown_data(stored),
    }
    parameters = _parameters(model)
    if "objective" in parameters:
        lines["objective"] = short_value(parameters["objective"])
    chosen = {name for name, value in parameters.items() if getattr(model, name) is None and value is not None}
    chosen |= set(changed_parameters(model)) - {*NOT_SHOWN}
    shown = [f"{name}={_shown_value(parameters[name])}" for name in parameters if name in chosen - {"objective"}]
    if parameters:
        lines["parameters"] = ", ".join([*shown, "others by default" if shown else "all by default"])
    if stored.fitted.rank > 0:  # baselines and weights of items have no factors
        lines["factors"] = f"rank {stored.fitted.rank}, {stored.fitted.item_factors.dtype}"
    history = getattr(model, "history_", None)
    if history:
        lines["history"] = f"{len(history)} iterations in {history[-1].seconds:.1f} s, {reached_by(model)}"
    return lines


def _as_dict(model: Any, stored: StoredModel) -> dict[str, Any]:
    """Describe a model for JSON; None for values that are not recorded."""
    data, origin = stored.fitted.interactions, stored.fitted.origin
    times = None if data is None or data.timestamps is None or len(data) == 0 else data.timestamps
    history = getattr(model, "history_", None)
    return {
        "class": stored.kind,
        "fitted": None if origin.fitted is None else origin.fitted.isoformat(),
        "updated": None if origin.updated is None else origin.updated.isoformat(),
        "written_by": stored.written_by,
        "format": stored.version,
        "source": None if data is None else data.source,
        "interactions": _n_interactions(stored),
        "users": len(stored.fitted.users),
        "items": len(stored.fitted.items),
        "values": None if data is None or not data.has_values else [data.values.min(), data.values.max()],
        "timestamps": None if times is None else [_plain_time(times.min()), _plain_time(times.max())],
        "has_interactions": data is not None,
        "rank": stored.fitted.rank,
        "dtype": str(stored.fitted.item_factors.dtype),
        "parameters": {
            name: _plain(value) for name, value in _parameters(model).items() if name not in NOT_SHOWN[1:]
        },
        "iterations": len(history) if history else None,
        "last_iteration": history[-1]._asdict() if history else None,
    }


def _parameters(model: Any) -> dict[str, Any]:
    """Return the parameters of a model, with the values that the fit used for those that are None."""
    parameters = {name: getattr(model, name) for name in parameter_names(model)}
    if isinstance(model, hs.ALS):
        used = model.regularization_
        parameters |= {
            "objective": model.objective_,
            "rank": model.item_factors_.shape[1],
            "regularization": replace(used, bias_ratio=used.bias_ratio if model.item_biases_.any() else None),
        }
    return parameters


def _plain(value: Any) -> Any:
    """Return a value for JSON."""
    if isinstance(value, hs.Regularization):
        return asdict(value)
    return value if isinstance(value, bool | int | float | str | None) else short_value(value)


def _shown_value(value: Any) -> str:
    if isinstance(value, hs.Regularization):
        numbers: dict[str, Any] = {
            name: float(f"{part:.6g}") for name, part in vars(value).items() if isinstance(part, float)
        }
        if value.users == value.items:
            numbers["items"] = None
        return short_value(replace(value, **numbers))
    return f"{value:.6g}" if isinstance(value, float) else short_value(value)


def _shown_data(stored: StoredModel) -> str:
    data = stored.fitted.interactions
    if data is None:
        count = _n_interactions(stored)
        size = [with_count(len(stored.fitted.users), "user"), with_count(len(stored.fitted.items), "item")]
        known = size if count is None else [with_count(count, "interaction"), *size]
        return f"{', '.join(known)}; the interactions are not in this file"
    return f"{data.source or 'source not recorded'}: {data}"


def _n_interactions(stored: StoredModel) -> int | None:
    """Return the number of interactions that a model was fitted on; None for factors imported without them."""
    is_unknown = stored.kind == PretrainedFactors.__name__ and stored.fitted.interactions is None
    return None if is_unknown else int(stored.fitted.item_counts.sum())


def _shown_time(time: datetime | None) -> str | None:
    return None if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _plain_time(time: Any) -> Any:
    return np.datetime_as_string(time, unit="s") if isinstance(time, np.datetime64) else time.item()


def _with_unit(size: int) -> str:
    """Return a number of bytes with a unit, with at most three digits before the decimal point."""
    amount, units = float(size), ["bytes", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.0f} bytes" if units[0] == "bytes" else f"{amount:.1f} {units[0]}"
