"""Models that are updated in one thread and read in others, and interrupted updates."""

from __future__ import annotations

import atexit
import copy
import mmap
import os
import pickle
import shutil
import tempfile
import threading
import tracemalloc
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from halfstep.data import Vocabulary
from halfstep.models.storage import container
from interleaving import Meanwhile, at_line, every_line, interrupt
from thorough import THOROUGH

pytestmark = pytest.mark.slow

OBSERVED = np.random.default_rng(0).random((12, 9)) < 0.4
BASE = hs.Interactions.from_arrays(*np.nonzero(OBSERVED))
HELD_OUT = hs.Interactions.from_arrays(*np.nonzero(~OBSERVED))
EVENT = hs.Interactions.from_arrays([3, 50], [70, 4], [4.0, 2.0])  # a new user, a new item


def newly_fitted() -> hs.ALS:
    return hs.ALS(hs.Implicit(missing_weight=0.3), rank=3, iterations=2, random_state=0, threads=1).fit(BASE)


prototype = cache(newly_fitted)


def fitted() -> hs.ALS:
    return copy.copy(prototype())


@cache
def file() -> Path:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "model"
    prototype().save(path)
    return path


def loaded(**options: bool) -> hs.ALS:
    model = hs.load(file(), **options)
    model.threads = 1
    return model


STARTS: dict[str, Callable[[], hs.ALS]] = {
    "later": lambda: fitted().partial_fit(hs.Interactions.from_arrays([1], [1])),
    "first-of-copy": fitted,
    "first-of-fit": newly_fitted,
    "first-of-file": loaded,
}


def cells_of(data: hs.Interactions) -> list[tuple[Any, ...]]:
    return list(zip(data.user_ids.tolist(), data.item_ids.tolist(), data.values.tolist(), strict=True))


def saved(model: hs.ALS, folder: Path) -> list[Any]:
    path = folder / f"{threading.get_ident()}.halfstep"
    model.save(path)
    return everything(hs.load(path))


def everything(model: hs.ALS) -> list[Any]:
    """Return the state of a model for comparisons."""
    arrays = (model.user_factors_, model.item_factors_, model.user_biases_, model.item_biases_, model.item_counts_)
    return [array.tolist() for array in arrays] + [
        list(model.users_),
        list(model.items_),
        cells_of(model.interactions_),
    ]


def explained(model: hs.ALS) -> tuple[Any, ...]:
    explanation = model.explain(3, 4)
    return explanation.score, explanation.baseline, explanation.item_ids.tolist(), explanation.contributions.tolist()


READERS: dict[str, Callable[[hs.ALS, Path], Any]] = {
    "recommend": lambda model, _: list(model.recommend(n=9)),
    "recommend-one": lambda model, _: list(model.recommend([50, 3], n=9)),
    "predict": lambda model, _: model.predict([3, 50, 3], [70, 4, 4]).tolist(),
    "similar_items": lambda model, _: list(model.similar_items(n=9)),
    "similar_users": lambda model, _: list(model.similar_users(n=12)),
    "explain": lambda model, _: explained(model),
    "fold_in": lambda model, _: list(model.fold_in({"x": [1, 4, 70], "y": [2]}).recommend(n=9)),
    "interactions_": lambda model, _: cells_of(model.interactions_),
    "save": saved,
    "copy": lambda model, _: everything(copy.copy(model)),
    "pickle": lambda model, _: everything(pickle.loads(pickle.dumps(model))),
    "evaluate": lambda model, _: hs.evaluate(model, HELD_OUT, "ndcg", n=5, resamples=10).to_dict(),
}


def check_whole(model: hs.ALS) -> None:
    """Check that the state of the model is consistent, and that it can be updated."""
    data = model.interactions_
    assert len(model.users_) == len(model.user_factors_) == len(model.user_biases_) == data.n_users
    assert len(model.items_) == len(model.item_factors_) == len(model.item_biases_) == data.n_items
    np.testing.assert_array_equal(model.item_counts_, data.item_counts)
    assert data.users == model.users_
    assert data.items == model.items_


@pytest.mark.parametrize(
    ("kind", "reader"),
    [("later", reader) for reader in READERS]
    + [(kind, reader) for kind in STARTS if kind != "later" for reader in ("recommend", "save", "copy")],
)
def test_reads_during_an_update_see_the_state_before_or_after(kind: str, reader: str, tmp_path: Path) -> None:
    """Another thread reads the model at one line in 31 of an update, or 13 in thorough runs."""
    start, read = STARTS[kind], READERS[reader]
    before, after = start(), start().partial_fit(EVENT)
    allowed = read(before, tmp_path), read(after, tmp_path)
    assert allowed[0] != allowed[1]
    first = list(READERS).index(reader) + 13 * list(STARTS).index(kind)
    for number in every_line(13 if THOROUGH else 31, first):
        model = start()
        reading = Meanwhile(lambda model=model: read(model, tmp_path))
        _, came_there = at_line(number, reading, lambda model=model: model.partial_fit(EVENT))
        if not came_there:
            break
        assert reading.result in allowed
        check_whole(model)
        assert everything(model) == everything(after)
    assert number > 100


@pytest.mark.parametrize("reader", READERS)
def test_updates_during_a_read_are_neither_lost_nor_visible(reader: str, tmp_path: Path) -> None:
    """Another thread updates the model at one line in 7 of a reader, or 3 in thorough runs."""
    read = READERS[reader]
    before, after = (
        fitted().partial_fit(EVENT.subset([0])),
        fitted().partial_fit(EVENT.subset([0])).partial_fit(EVENT),
    )
    allowed = read(before, tmp_path), read(after, tmp_path)
    for number in every_line(3 if THOROUGH else 7, list(READERS).index(reader)):
        model = fitted().partial_fit(EVENT.subset([0]))
        learning = Meanwhile(lambda model=model: model.partial_fit(EVENT))
        result, came_there = at_line(number, learning, lambda model=model: read(model, tmp_path))
        if not came_there:
            break
        assert learning.result is model
        assert result in allowed
        check_whole(model)
        assert everything(model) == everything(after)
    assert number > 3


def test_concurrent_updates_are_serialized() -> None:
    events = [hs.Interactions.from_arrays([u], [i], [2.0]) for u, i in ((60, 80), (61, 81))]
    orders = [fitted().partial_fit(a).partial_fit(b) for a, b in (events, events[::-1])]
    for number in every_line(step=9):
        model = fitted()
        other = Meanwhile(lambda model=model: model.partial_fit(events[1]))
        _, came_there = at_line(number, other, lambda model=model: model.partial_fit(events[0]))
        if not came_there:
            break
        assert other.result is model
        assert everything(model) in [everything(each) for each in orders]


@pytest.mark.parametrize("reader", ["recommend", "predict", "similar_items", "fold_in", "copy"])
def test_reads_during_a_refit_see_one_fit(reader: str, tmp_path: Path) -> None:
    other = hs.Interactions.from_arrays(BASE.item_ids, BASE.user_ids)  # swapped, for other sizes
    refitted = fitted()
    refitted.fit(other)
    allowed = READERS[reader](fitted(), tmp_path), READERS[reader](refitted, tmp_path)
    assert allowed[0] != allowed[1]
    for number in every_line(step=2):
        model = fitted()
        fitting = Meanwhile(lambda model=model: model.fit(other))
        result, came_there = at_line(number, fitting, lambda model=model: READERS[reader](model, tmp_path))
        if not came_there:
            break
        assert fitting.result is model
        assert result in allowed


BULK = hs.Interactions.from_arrays(np.arange(600) % 30, np.arange(600) // 30, np.full(600, 3.0))


@pytest.mark.parametrize(
    ("new", "kind", "step"),
    [
        (BULK, "later", 3),
        (BULK, "first-of-copy", 7),
        (BULK, "first-of-fit", 7),
        (BULK, "first-of-file", 7),
        (EVENT, "later", 5),
        (EVENT, "first-of-copy", 11),
        (EVENT, "first-of-fit", 5),
        (EVENT, "first-of-file", 5),
    ],
    ids=lambda value: {id(BULK): "bulk", id(EVENT): "two"}.get(id(value)),
)
def test_interrupted_updates_are_atomic(new: hs.Interactions, kind: str, step: int, tmp_path: Path) -> None:
    """Ctrl-C at each line; the next update continues from there."""
    start = STARTS[kind]
    before, after = everything(start()), everything(start().partial_fit(new))
    again = [each.partial_fit(EVENT).recommend(n=5).scores for each in (start(), start().partial_fit(new))]
    for number in every_line(step if THOROUGH else 2 * step + 1):
        model = start()
        try:
            _, came_there = at_line(number, interrupt, lambda model=model: model.partial_fit(new))
        except KeyboardInterrupt:
            came_there = True
        if not came_there:
            break
        happened = len(copy.copy(model).interactions_) != len(before[-1])
        check_whole(model)
        assert everything(model) == (after if happened else before)
        if number % 10 == 0:  # a file takes longer
            assert saved(model, tmp_path) == (after if happened else before)
        check_whole(model.partial_fit(EVENT))
        if number % 4 == 0:
            np.testing.assert_allclose(model.recommend(n=5).scores, again[happened], rtol=1e-5, atol=1e-6)
    assert number > 100


def test_updates_write_in_place_unless_the_arrays_are_shared() -> None:
    """Otherwise, the cost of an event would grow with the size of the model."""
    model = fitted().partial_fit(EVENT)
    event = hs.Interactions.from_arrays([1], [1], [3.0])

    def moved() -> dict[str, bool]:
        names = ("user_factors_", "item_factors_", "item_counts_")
        arrays = {name: getattr(model, name) for name in names}
        model.partial_fit(event)
        return {name: not np.shares_memory(array, getattr(model, name)) for name, array in arrays.items()}

    for read in READERS.values():  # all reads are finished
        read(model, Path(os.devnull).parent) if read is not saved else None
        assert not any(moved().values())
    twin = copy.copy(model)
    kept = twin.user_factors_.copy()
    assert moved()["user_factors_"]
    assert not any(moved().values())  # once is enough
    np.testing.assert_array_equal(twin.user_factors_, kept)
    folded = model.fold_in({"x": [1, 4]})
    nested = folded.fold_in({"y": [2]})
    scores = nested.predict("y", [1, 4])
    del folded
    assert moved() == {"user_factors_": False, "item_factors_": True, "item_counts_": False}
    np.testing.assert_array_equal(nested.predict("y", [1, 4]), scores)
    del twin, nested
    assert not any(moved().values())


HOLDERS: dict[str, Callable[[np.ndarray], Any]] = {
    "itself": lambda array: array,
    "part": lambda array: array[2:9:3],
    "view of a view": lambda array: array[1:][::-1].view(),
    "transposed": lambda array: array.T,
    "flat": lambda array: array.reshape(-1)[4:],
    "buffer": memoryview,
}


@pytest.mark.parametrize("start", [newly_fitted, loaded], ids=["fit", "file"])
@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_arrays_from_before_the_first_update_never_change(
    start: Callable[[], hs.ALS], hold: Callable[[np.ndarray], Any]
) -> None:
    names = ("user_factors_", "item_factors_", "user_biases_", "item_biases_", "item_counts_")
    model, twin = start(), start()
    held = {name: hold(getattr(model, name)) for name in names}
    kept = {name: np.array(each) for name, each in held.items()}
    for event in (EVENT, BULK, EVENT):
        assert everything(model.partial_fit(event)) == everything(twin.partial_fit(event))
        for name in names:
            np.testing.assert_array_equal(np.array(held[name]), kept[name])


@pytest.mark.parametrize("kind", ["fit", "file"])
def test_the_first_update_copies_no_factors(kind: str, tmp_path: Path) -> None:
    n = 20_000
    data = hs.Interactions.from_arrays(np.arange(n), np.arange(n)[::-1].copy())
    model = hs.ALS(
        hs.Implicit(), rank=64, iterations=1, random_state=0, solver=hs.solvers.ConjugateGradient(refresh_users=False)
    ).fit(data)
    if kind == "file":
        model.save(tmp_path / "model")
        model = hs.load(tmp_path / "model")
    warm = copy.deepcopy(model).partial_fit(EVENT)
    size = model.user_factors_.nbytes
    tracemalloc.start()
    model.partial_fit(hs.Interactions.from_arrays([3, n + 5], [7, n + 9]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size  # of the factors of users; the model also has counts and weights
    assert len(warm.user_factors_) == n


def test_models_of_one_file_are_updated_separately(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the file has no room for new rows, or mapped files cannot be written."""
    content = file().read_bytes()
    other, before = loaded(), everything(loaded())
    growth = [hs.Interactions.from_arrays(np.arange(100, 100 + n), np.arange(200, 200 + n)) for n in (1, 9, 900)]
    twin = loaded(copy=True)
    for refused in (False, True):
        if refused:
            monkeypatch.setattr(container.mmap, "mmap", refusing_to_copy)
        model, twin = loaded(), loaded(copy=True)
        for event in (EVENT, *growth, BULK):
            assert everything(model.partial_fit(event)) == everything(twin.partial_fit(event))
        check_whole(model)
    assert everything(other) == before
    assert file().read_bytes() == content


MMAP = mmap.mmap


def refusing_to_copy(*arguments: Any, access: int) -> mmap.mmap:
    if access == mmap.ACCESS_COPY:
        raise OSError("Cannot allocate memory")
    return MMAP(*arguments, access=access)


@pytest.mark.skipif(os.name == "nt", reason="files that are open cannot be replaced there")
def test_a_loaded_model_is_updated_after_its_file_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "model"
    prototype().save(path)
    model, twin = hs.load(path), loaded(copy=True)
    hs.ALS(hs.Implicit(), rank=2, iterations=1).fit(BASE).save(path)
    assert everything(model.partial_fit(EVENT)) == everything(twin.partial_fit(EVENT))


def test_deleting_a_loaded_model_closes_its_file() -> None:
    model = loaded()
    descriptor = model._live["user_factors"]._copy_on_write.file.descriptor
    os.fstat(descriptor)
    model.partial_fit(EVENT)
    del model
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_updates_of_users_do_not_copy_items() -> None:
    model = fitted()
    items = model.item_factors_
    model.partial_fit(hs.Interactions.from_arrays([3], [4], [2.0]), update_items=False)
    assert model.item_factors_ is items


def test_two_threads_extend_the_same_ids() -> None:
    """As two copies of a model that are updated at the same time."""
    for number in every_line():
        root = Vocabulary(["a", "b"]).extended(["c"])
        other = Meanwhile(lambda root=root: root.extended(["x", "y"]))
        longer, came_there = at_line(number, other, lambda root=root: root.extended(["p", "q", "r"]))
        if not came_there:
            break
        assert longer.ids.tolist() == ["a", "b", "c", "p", "q", "r"]
        assert other.result.ids.tolist() == ["a", "b", "c", "x", "y"]
        assert [longer.position(each) for each in longer] == list(range(6))
        assert other.result.positions(["y", "p", "x"], "mark").tolist() == [4, -1, 3]
    assert number > 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_forked_during_an_update_reads_and_updates() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def weight(cells: hs.weights.Cells) -> np.ndarray:
        if threading.current_thread() is not threading.main_thread():
            entered.set()
            go_on.wait(60)
        return np.ones(len(cells.values))

    model = hs.ALS(hs.Implicit(observed_weight=weight), rank=3, iterations=1, random_state=0, threads=1).fit(BASE)
    model.partial_fit(EVENT.subset([0]))
    learning = Meanwhile(lambda: model.partial_fit(EVENT))
    learning()
    assert entered.wait(60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python, about forks of processes with threads
        child = os.fork()
    if child == 0:
        try:
            import signal

            signal.alarm(30)
            model.recommend(n=3)
            model.partial_fit(EVENT)
            check_whole(model)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go_on.set()
    assert learning.result is model
    check_whole(model)
