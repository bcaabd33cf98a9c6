"""Every value of a parameter gives a result or an error of halfstep, never an internal error."""

from __future__ import annotations

import copy
import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

import halfstep as hs
from halfstep._support.progress import warn_of_interruption
from halfstep.data import Interactions
from halfstep.errors import FitInterruptedWarning, HalfstepError, ParameterError
from halfstep.weights import confidence


class Odd:
    pass


ODD_VALUES = [
    None,
    "",
    "2",
    "no such word",
    b"2",
    -1,
    0,
    0.5,
    float("nan"),
    float("inf"),
    True,
    10**30,
    1j,
    np.int64(2),
    np.float32(0.5),
    np.bool_(True),
    np.array(2),
    np.array([]),
    np.array([1, 2]),
    np.array(["a"]),
    [],
    [None],
    [[1]],
    ("ndcg", None),
    {},
    {"a": None},
    {1},
    Odd,
    Odd(),
    [Odd()],
    range(3),
    pd.DataFrame(),
    pd.Series(dtype=float),
    pd.NA,
    slice(1),
]

DATA = Interactions.from_arrays(list("aabbcca"), list("xyxyxzz"), [5, 1, 4, 2, 5, 1.0, 2], range(7), np.ones(7))
EVENT = Interactions.from_arrays(["b"], ["z"], [1.0], [9], [1.0])
FRAME = pd.DataFrame({"user": [1], "item": [2], "value": [3.0]})

ALS = hs.ALS(rank=2, iterations=2, random_state=0, progress=False).fit(DATA)
BAYESIAN = hs.BayesianALS(rank=2, iterations=3, burn_in=1, random_state=0, progress=False).fit(DATA)
BIASES = hs.ItemBias().fit(DATA)
WEIGHTS = hs.ItemKNN().fit(DATA)
REPORT = hs.evaluate(ALS, DATA, exclude_seen=False, resamples=2)
STREAM = hs.evaluate_stream(ALS, EVENT, resamples=2, n=2, progress=False)

Call = tuple[Callable[..., Any], Callable[..., Any], Mapping[str, Any]]
"""A callable, the function with its signature, and valid arguments."""

LARGE = {"rank", "iterations", "burn_in", "sample_memory", "resamples", "n_trials", "bins"}
SIZES = {
    "factors",
    "maxIter",
    "k",
    "niter",
    "epochs",
    "train_epochs",
    "n_components",
    "embedding_dim",
    "embedding_size",
}


def fitting(kind: Any, **base: Any) -> Call:
    return lambda **given: kind(**{**base, **given}).fit(DATA), kind, {}


def of(function: Callable[..., Any], **base: Any) -> Call:
    return function, function, base


def on(model: Any, name: str, **base: Any) -> Call:
    """Call a method of a copy, so that an accepted value does not affect other cases."""
    return lambda **given: getattr(copy.copy(model), name)(**given), getattr(model, name), base


def all_of(function: Callable[..., Iterator[Any]], **base: Any) -> Call:
    return lambda **given: list(function(**given)), function, base


def calls(folder: Path) -> dict[str, Call]:
    hs.ItemBias().fit(DATA).save(folder / "model")
    (folder / "table.csv").write_text("user,item,value\n1,2,3\n")
    (folder / "lists.txt").write_text("1 2 3\n")
    one = {"rank": 1, "iterations": 1, "progress": False}
    short = {"resamples": 2, "exclude_seen": False}
    search = {"data": DATA, "space": {"regularization": [1.0]}, "split": 1, "progress": False}
    found = {
        "ALS": fitting(hs.ALS, **one),
        "SGD": fitting(hs.SGD, **one),
        "EASE": fitting(hs.EASE),
        "ItemKNN": fitting(hs.ItemKNN),
        "ItemBias": fitting(hs.ItemBias),
        "BayesianALS": fitting(hs.BayesianALS, rank=1, iterations=2, burn_in=1, progress=False),
        "UserItemBias": fitting(hs.UserItemBias),
        "Explicit": (lambda **given: hs.ALS(hs.Explicit(**given), **one).fit(DATA), hs.Explicit, {}),
        "Implicit": (lambda **given: hs.ALS(hs.Implicit(**given), **one).fit(DATA), hs.Implicit, {}),
        "Uniform": of(hs.Uniform, low=1, high=2),
        "Integers": of(hs.Integers, low=1, high=2),
        "LogUniform": of(hs.LogUniform, low=1, high=2),
        "from_arrays": of(Interactions.from_arrays, users=[1], items=[2]),
        "from_frame": of(Interactions.from_frame, frame=FRAME),
        "from_sparse": of(Interactions.from_sparse, matrix=csr_array([[1.0]])),
        "subset": of(DATA.subset),
        "rebased": of(DATA.rebased),
        "with_values": of(DATA.with_values),
        "with_weights": of(DATA.with_weights),
        "Vocabulary": of(hs.Vocabulary, ids=["a"]),
        "positions": of(DATA.users.positions, ids=["a"]),
        "evaluate": of(hs.evaluate, model=ALS, test=DATA, **short),
        "evaluate_stream": of(hs.evaluate_stream, model=ALS, stream=EVENT, resamples=2, n=2, progress=False),
        "tune": of(hs.tune, estimator=hs.ItemBias(), **search),
        "default_space": of(hs.default_space, estimator=ALS, data=DATA),
        "split_by_time": of(hs.split_by_time, data=DATA, test_fraction=0.3),
        "split_leave_last_out": of(hs.split_leave_last_out, data=DATA),
        "split_random": of(hs.split_random, data=DATA),
        "split_fraction_per_user": of(hs.split_fraction_per_user, data=DATA),
        "split_held_out_users": of(hs.split_held_out_users, data=DATA, user_fraction=0.5),
        "k_folds": all_of(hs.k_folds, data=DATA),
        "keep_known": of(hs.keep_known, test=DATA, train=DATA),
        "time_folds": all_of(hs.time_folds, data=DATA, n_folds=1, test_fraction=0.3),
        "read_interactions": of(hs.read_interactions, path=folder / "table.csv"),
        "read_adjacency_lists": of(hs.read_adjacency_lists, path=folder / "lists.txt"),
        "load": of(hs.load, path=folder / "model"),
        "from_implicit": of(hs.persistence.from_implicit, path=folder / "model"),
        "from_spark": of(hs.persistence.from_spark, folder=folder),
        "factors": of(hs.persistence.from_arrays, user_factors=[[1.0]], item_factors=[[1.0]]),
        "coverage": of(hs.metrics.coverage, recommended=[["x"]], catalog=["x"]),
        "novelty": of(hs.metrics.novelty, recommended=[["x"]], interactions=DATA),
        "weighted_rmse": of(hs.metrics.weighted_rmse, targets=[1.0], predictions=[1.0], weights=[1.0]),
        "frobenius": of(hs.metrics.frobenius, matrix=[[1.0]], user_factors=[[1.0]], item_factors=[[1.0]]),
        "per_user": of(REPORT.per_user, model="ALS", metric="ndcg"),
        "report.to_frame": of(REPORT.to_frame),
        "difference": of(REPORT.difference, a="ALS", b="Popularity", metric="ndcg"),
        "per_event": of(STREAM.per_event, metric="ndcg"),
        "compared_with": of(STREAM.compared_with, other=STREAM, metric="ndcg"),
        "stream.to_frame": of(STREAM.to_frame),
        "lists.to_frame": of(ALS.recommend(["a"]).to_frame),
        "linear_popularity": of(hs.weights.linear_popularity, w0=1, wk=1),
        "power_popularity": of(hs.weights.power_popularity, w0=1, e=1),
        "confidence": of(confidence, alpha=1),
        "log_confidence": of(hs.weights.log_confidence, alpha=1, epsilon=1),
        "vectors.of_model": of(hs.vectors.of_model, model=ALS),
        "vectors.save": of(hs.vectors.save, vectors=hs.vectors.of_model(ALS), target=folder / "vectors"),
        "vectors.recall": of(
            hs.vectors.recall, vectors=hs.vectors.of_model(ALS), search=lambda users, n: [["x"]] * len(users), n=2
        ),
        "row_column": of(hs.weights.row_column, w0=1, rows=1, columns=1),
        "preference": of(hs.weights.preference),
        "missing_popularity": of(hs.weights.missing_popularity, c0=1, exponent=1),
    }
    for name in ("precision", "recall", "hit_rate", "ndcg", "average_precision", "reciprocal_rank"):
        found[name] = of(getattr(hs.metrics, name), recommended=[["a"]], relevant=[["a"]])
    for name in ("rmse", "mae", "sign_accuracy"):
        found[name] = of(getattr(hs.metrics, name), targets=[1.0], predictions=[1.0])
    for name in hs.presets.__all__:
        found[f"presets.{name}"] = of(getattr(hs.presets, name), **({"n_components": 1} if name == "wals" else {}))
    for name in ("Cholesky", "ConjugateGradient", "Subspace"):
        kind = getattr(hs.solvers, name)
        found[name] = (lambda kind=kind, **given: hs.ALS(solver=kind(**given), **one).fit(DATA), kind, {})
    for name, model in (("als", ALS), ("bayesian", BAYESIAN), ("biases", BIASES), ("weights", WEIGHTS)):
        found |= {
            f"{name}.predict": on(model, "predict", users=["a"], items=["x"]),
            f"{name}.recommend": on(model, "recommend", users=["a"]),
            f"{name}.similar_items": on(model, "similar_items"),
            f"{name}.similar_users": on(model, "similar_users"),
            f"{name}.save": on(model, "save", path=folder / "saved"),
            f"{name}.export_vectors": on(model, "export_vectors", target=folder / "vectors"),
        }
    for name, model in (("als", ALS), ("bayesian", BAYESIAN), ("weights", WEIGHTS)):
        found |= {
            f"{name}.explain": on(model, "explain", user="a", item="x"),
            f"{name}.fold_in": on(model, "fold_in", histories={"new": {"x": 1.0}}),
        }
    found["als.partial_fit"] = on(ALS, "partial_fit", new=EVENT)
    return found


def is_left_out(name: str, value: Any) -> bool:
    """Whether the value is valid, and would write a file, take long, or fail in user code."""
    if name in ("path", "folder", "journal", "target"):
        return isinstance(value, str)
    if name in ("split", "search"):
        return value is Odd
    return isinstance(value, int) and value > 1000 and name in LARGE | SIZES


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::halfstep.errors.PoorFitWarning")
def test_every_value_is_accepted_or_a_documented_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some values are names of files and folders to write
    wrong = []
    for name, (call, signature, base) in calls(tmp_path).items():
        for parameter in inspect.signature(signature).parameters.values():
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                continue
            for value in ODD_VALUES:
                if is_left_out(parameter.name, value):
                    continue
                try:
                    call(**{**base, parameter.name: value})
                except (HalfstepError, OSError, ModuleNotFoundError):
                    pass
                except Exception as error:
                    wrong.append(f"{name}({parameter.name}={value!r}): {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("callbacks", [None, 3, print, "print", [print, None], {print}])
def test_callbacks_are_a_list_of_functions(callbacks: Any) -> None:
    with pytest.raises(ParameterError, match=r"callbacks=.*: give a list of functions"):
        hs.ALS(callbacks=callbacks)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a\0b", "give a path without characters that no file name can contain"),
        ("a\ud800b", "give a path without characters that no file name can contain"),
        (Path("a\0b"), "give a path without characters that no file name can contain"),
        ("", "give a path"),
        ("s3://ann:secret@bucket/x", "is an address"),
        (Path("http://host/x"), "is an address"),
    ],
)
def test_invalid_paths_are_errors(path: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "table.csv").write_text("user,item,value\n1,2,3\n")
    monkeypatch.chdir(tmp_path)
    for name, call in {
        "path": BIASES.save,
        "journal": lambda path: hs.tune(hs.ItemBias(), DATA, {"regularization": [1.0]}, split=1, journal=path),
        "on_disk": lambda path: hs.read_interactions("table.csv", on_disk=path),
        "target": ALS.export_vectors,
    }.items():
        with pytest.raises(ParameterError, match=rf"^({name})=.*{message}") as caught:
            call(path)
        assert "secret" not in str(caught.value)
    for read in (hs.load, hs.persistence.from_implicit, hs.persistence.from_spark):
        with pytest.raises(ParameterError, match=f"=.*{message}"):
            read(path)
    assert os.listdir() == ["table.csv"]  # noqa: PTH208


OF_THREADS: dict[str, Callable[[Any], object]] = {
    "ALS": lambda threads: hs.ALS(threads=threads),
    "BayesianALS": lambda threads: hs.BayesianALS(threads=threads),
    "recommend": lambda threads: ALS.recommend(["a"], threads=threads),
    "recommend nobody": lambda threads: ALS.recommend([], threads=threads),
    "similar_items": lambda threads: ALS.similar_items("x", threads=threads),
    "similar_users": lambda threads: ALS.similar_users("a", threads=threads),
    "evaluate": lambda threads: hs.evaluate(ALS, DATA, exclude_seen=False, threads=threads),
    "evaluate values": lambda threads: hs.evaluate(ALS, DATA, "rmse", threads=threads),
    "evaluate_stream": lambda threads: hs.evaluate_stream(ALS, EVENT, threads=threads),
}


@pytest.mark.parametrize("threads", ["2", 0, -1, 1.5, True, [1], 10**9])
@pytest.mark.parametrize("door", OF_THREADS)
def test_threads_are_checked_by_all_functions(door: str, threads: Any) -> None:
    with pytest.raises(ParameterError, match=r"threads=.*: give an integer from 1 to 65,536, or None for all cores"):
        OF_THREADS[door](threads)


@pytest.mark.parametrize("metrics", [[len], len, 3, [], ["ndcg", None], b"ndcg", {"ndcg": 1}])
def test_metrics_must_be_names(metrics: Any) -> None:
    for call in (hs.evaluate, hs.evaluate_stream):
        with pytest.raises(ParameterError, match=r"metrics=.*: give the name of a metric, such as 'ndcg', or a list"):
            call(ALS, EVENT, metrics)


@pytest.mark.parametrize("n", ["10", 0, 1.5, True, [], [10, None], 10**30, np.array(2)])
def test_cutoffs_must_be_integers(n: Any) -> None:
    with pytest.raises(ParameterError, match=r"n=.*: give (an integer|at least one cutoff)"):
        hs.evaluate(ALS, DATA, "ndcg", n, exclude_seen=False)


@pytest.mark.parametrize(
    ("preset", "arguments", "culprit"),
    [
        ("implicit", {"alpha": -1.0}, "alpha=-1.0"),
        ("spark", {"implicitPrefs": True, "alpha": -1.0}, "alpha=-1.0"),
        ("spark", {"implicitPrefs": "no"}, "implicitPrefs='no'"),
        ("ials", {"unobserved_weight": -1.0}, "unobserved_weight=-1.0"),
        ("ials", {"unobserved_weight": "0.1"}, "unobserved_weight='0.1'"),
        ("irspack", {"alpha0": -1.0}, "alpha0=-1.0"),
        ("eals", {"w0": -1.0}, "c0=-1.0"),
        ("wals", {"n_components": 1, "unobserved_weight": -1.0}, "w0=-1.0"),
        ("wals", {"n_components": 1, "row_weights": [1.0, -2.0]}, r"rows=\[1.0, -2.0\]"),
        ("lenskit", {"weight": -1.0}, "weight=-1.0"),
        ("lenskit", {"weight": None}, "weight=None"),
        ("cmfrec", {"lambda_": -1.0}, "lambda_=-1.0"),
        ("cmfrec", {"lambda_": "1"}, "lambda_='1'"),
        ("cmfrec_explicit", {"lambda_": [1.0, 1.0]}, r"lambda_=\[1.0, 1.0\]: give one number, or six"),
    ],
)
def test_presets_name_the_invalid_weight(preset: str, arguments: dict[str, Any], culprit: str) -> None:
    with pytest.raises(ParameterError, match=culprit):
        getattr(hs.presets, preset)(**arguments)


def test_overflows_are_errors() -> None:
    with pytest.raises(ParameterError, match=r"exponent=1e\+30 makes λ of some rows infinite"):
        hs.ALS(regularization=hs.Regularization(exponent=1e30)).fit(DATA)
    with pytest.raises(ParameterError, match=r"exponent=1e\+30 makes the weights of popular items infinite"):
        hs.ALS(hs.Implicit(missing_weight=hs.weights.missing_popularity(1.0, 1e30))).fit(DATA)


class TestWarningsOfInterruptedFits:
    """They are issued once, for the line of the caller."""

    MODELS: ClassVar[dict[str, Any]] = {
        "ALS": hs.ALS(rank=1, iterations=9, random_state=0),
        "SGD": hs.SGD(rank=1, iterations=9, random_state=0),
        "BayesianALS": hs.BayesianALS(rank=1, iterations=9, burn_in=1, random_state=0),
        "ordinal": hs.BayesianALS(rank=1, iterations=9, burn_in=1, random_state=0, ordinal=True),
        "features": hs.BayesianALS(rank=1, iterations=9, burn_in=1, random_state=0, implicit_features=True),
    }

    @pytest.fixture
    def interrupting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Press Ctrl-C in the third iteration of a fit."""
        from tqdm import tqdm

        updates: list[int] = []

        def update(self: Any, n: int = 1) -> None:
            updates.append(n)
            if len(updates) == 3:
                raise KeyboardInterrupt

        monkeypatch.setattr(tqdm, "update", update)

    @pytest.mark.usefixtures("interrupting")
    @pytest.mark.parametrize("name", list(MODELS))
    def test_of_fit(self, name: str) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            copy.copy(self.MODELS[name]).fit(DATA)
        assert [(each.category, each.filename) for each in caught] == [(FitInterruptedWarning, __file__)]

    @pytest.mark.usefixtures("interrupting")
    def test_of_partial_fit(self) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            copy.copy(self.MODELS["ALS"]).partial_fit(DATA)
        assert [(each.category, each.filename) for each in caught] == [(FitInterruptedWarning, __file__)]

    @pytest.mark.usefixtures("interrupting")
    def test_of_tune(self) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            hs.tune(hs.ItemBias(), DATA, {"regularization": [float(k) for k in range(9)]}, split=1)
        assert [(each.category, each.filename) for each in caught] == [(FitInterruptedWarning, __file__)]

    def test_called_directly(self) -> None:
        with pytest.warns(FitInterruptedWarning) as caught:
            warn_of_interruption("stopped")
        assert caught[0].filename == __file__
