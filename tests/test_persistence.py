from __future__ import annotations

import dataclasses
import datetime as dt
import inspect
import json
import tracemalloc
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from uuid import UUID

import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given

import halfstep as hs
from halfstep import persistence, solvers, weights
from halfstep._support import faults
from halfstep.data import Interactions, Vocabulary
from halfstep.data.packed_ids import pack_texts, pack_vocabulary, unpack_texts, unpack_vocabulary
from halfstep.errors import DataError, NotFittedError, ParameterError
from halfstep.models.factor_model import FactorModel
from halfstep.models.origin import Origin
from halfstep.models.storage import container, values
from halfstep.objective import objective
from stored import MODELS, SOME, TITLED, assert_same, fitted, same_array, same_ids, saved
from thorough import examples


class TestRoundTrip:
    @pytest.mark.parametrize("name", MODELS)
    def test_is_bitwise_equal(self, tmp_path: Path, name: str) -> None:
        model = fitted(name)
        loaded = saved(model, tmp_path / "model.halfstep")
        assert_same(model, loaded)
        assert loaded.interactions_.users is loaded.users_
        assert loaded.interactions_.items is loaded.items_
        assert same_array(model.predict(SOME), loaded.predict(SOME))
        assert str(model.recommend(["ann", "eve"], n=2)) == str(loaded.recommend(["ann", "eve"], n=2))
        assert str(model.similar_items(["tea"], n=2)) == str(loaded.similar_items(["tea"], n=2))
        again = tmp_path / "again.halfstep"
        loaded.save(again)
        assert again.read_bytes() == (tmp_path / "model.halfstep").read_bytes()

    @pytest.mark.parametrize("name", MODELS)
    def test_the_time_of_the_fit_is_recorded(self, tmp_path: Path, name: str) -> None:
        began = dt.datetime.now(dt.UTC).replace(microsecond=0)
        origin = saved(fitted(name), tmp_path / "model.halfstep")._fitted.origin
        assert began <= origin.fitted <= dt.datetime.now(dt.UTC)
        assert origin.updated is None

    def test_the_time_of_an_update_is_recorded(self, tmp_path: Path) -> None:
        model = hs.ALS(rank=2, iterations=1, random_state=0).fit(SOME)
        origin = Origin(fitted=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        model._factorization = replace(model._fitted, origin=origin)
        model.partial_fit(SOME)
        origin = saved(model, tmp_path / "model.halfstep")._fitted.origin
        assert origin.fitted == dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        assert origin.updated > origin.fitted

    @pytest.mark.parametrize("name", ["als", "sgd", "biases"])
    def test_model_can_be_fitted_again_with_the_same_result(self, tmp_path: Path, name: str) -> None:
        model = MODELS[name]
        model.fit(TITLED)
        loaded = saved(model, tmp_path / "model")
        loaded.fit(loaded.interactions_)
        model.fit(TITLED)
        assert same_array(model.user_factors_, loaded.user_factors_)
        assert same_array(model.item_biases_, loaded.item_biases_)

    @pytest.mark.parametrize(
        "times",
        [
            None,
            [3, -(2**62), 0, 1, 2],
            [0.5, 1e300, -1.0, 0.0, 2.0],
            ["1960-05-05T01:02:03.000004"] * 5,
        ],
        ids=["none", "integers", "floats", "instants"],
    )
    @pytest.mark.parametrize("weighted", [True, False])
    def test_of_interactions(self, tmp_path: Path, times: list[object] | None, weighted: bool) -> None:
        data = Interactions.from_arrays(
            SOME.user_ids, SOME.item_ids, SOME.values, times, SOME.weights if weighted else None
        )
        assert_same(hs.GlobalMean().fit(data), saved(hs.GlobalMean().fit(data), tmp_path / "model"))

    def test_of_vocabularies_with_unused_ids(self, tmp_path: Path) -> None:
        data = hs.split_leave_last_out(SOME)[0]
        assert_same(hs.ItemBias().fit(data), saved(hs.ItemBias().fit(data), tmp_path / "model"))

    @pytest.mark.usefixtures("titles")
    def test_of_movielens_100k(self, tmp_path: Path) -> None:
        data = hs.datasets.movielens_100k()
        model = hs.ALS(hs.Explicit(biases=True), rank=8, iterations=2, random_state=0).fit(data)
        loaded = saved(model, tmp_path / "model")
        assert_same(model, loaded)
        assert loaded.interactions_.item_titles[50] == data.item_titles[50]
        assert model.recommend(n=5).to_frame().equals(loaded.recommend(n=5).to_frame())

    def test_safetensors_reads_the_same_arrays(self, tmp_path: Path) -> None:
        model = fitted("als")
        model.save(tmp_path / "model")
        arrays = safetensors.numpy.load_file(tmp_path / "model")
        assert same_array(arrays["user_factors"], model.user_factors_)
        assert same_array(arrays["interactions.values"], SOME.values)

    def test_arrays_are_views_of_the_file_and_read_only(self, tmp_path: Path) -> None:
        loaded = saved(fitted("als"), tmp_path / "model")
        for array in (loaded.user_factors_, loaded.item_biases_, loaded.interactions_.values):
            assert not array.flags.owndata
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1.0

    def test_loading_does_not_copy_factors(self, tmp_path: Path) -> None:
        hs.persistence.from_arrays(np.ones((2000, 500)), np.ones((2, 500))).save(tmp_path / "model")
        tracemalloc.start()
        loaded = hs.load(tmp_path / "model")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < loaded.user_factors_.nbytes / 4

    def test_without_interactions(self, tmp_path: Path) -> None:
        model = fitted("als")
        loaded = saved(model, tmp_path / "small", interactions=False)
        model.save(tmp_path / "large")
        assert (tmp_path / "small").stat().st_size < (tmp_path / "large").stat().st_size
        assert loaded.interactions_ is None
        assert same_array(model.predict(SOME), loaded.predict(SOME))
        assert len(loaded.recommend("ann", n=3, exclude_seen=False)) == 1
        with pytest.raises(DataError, match="exclude_seen=False"):
            loaded.recommend("ann")
        assert_same(loaded, saved(loaded, tmp_path / "again"))


def later() -> Interactions:
    return Interactions.from_arrays(
        ["eve", "zoë"], ["tea", "cocoa"], [1.0, 2.0], ["2020-02-01", "2020-02-02"], [1.0, 1.0]
    )


class TestUpdatesOfLoadedModels:
    @pytest.mark.parametrize("name", ["als", "als-doubles", "als-weights"])
    def test_by_folding_in_and_explanations(self, tmp_path: Path, name: str) -> None:
        model = fitted(name)
        loaded = saved(model, tmp_path / "model")
        history = {"new": {"tea": 5.0, "łatte": 0.5}}
        assert same_array(model.fold_in(history).user_factors_, loaded.fold_in(history).user_factors_)
        ours, theirs = (each.explain("eve", "tea").contributions for each in (model, loaded))
        assert same_array(ours, theirs)
        folded = model.fold_in(history)
        assert_same(folded, saved(folded, tmp_path / "folded"))

    def test_by_folding_in_without_the_interactions(self, tmp_path: Path) -> None:
        model = MODELS["als"].fit(TITLED)
        loaded = saved(model, tmp_path / "model", interactions=False)
        history = {"new": {"tea": 5.0, "łatte": 0.5}}
        assert same_array(model.fold_in(history).user_factors_, loaded.fold_in(history).user_factors_)
        with pytest.raises(DataError, match="save it with its interactions"):
            loaded.partial_fit(later())

    @pytest.mark.parametrize("name", ["als", "als-doubles"])
    def test_from_new_interactions_without_changes_of_the_file(self, tmp_path: Path, name: str) -> None:
        model = fitted(name)
        loaded = saved(model, tmp_path / "model")
        before = (tmp_path / "model").read_bytes()
        for each in (model, loaded):
            each.partial_fit(later())
        assert (tmp_path / "model").read_bytes() == before
        assert "zoë" in loaded.users_
        assert_same(model, loaded)
        assert_same(loaded, saved(loaded, tmp_path / "grown"))
        assert (tmp_path / "model").read_bytes() == before


INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(), max_size=8)  # with halves of surrogate pairs
ZONES = st.none() | st.just(dt.UTC) | st.just(dt.timezone(dt.timedelta(hours=-5, minutes=7)))
INSTANTS = (st.datetimes(timezones=ZONES) | st.times(timezones=ZONES)).map(lambda instant: instant.replace(fold=0))
SCALARS = st.one_of(
    st.integers(-(2**200), 2**200),
    TEXT,
    st.floats(-(2.0**52), 2.0**52),
    st.uuids(),
    st.decimals(allow_nan=False),
    st.dates(),
    INSTANTS,
    st.timedeltas(),
)
TICKS = st.integers(-(2**50), 2**50)  # of datetime64 and timedelta64, which cannot be compared with tuples
NUMPY = st.builds(np.datetime64, TICKS, st.sampled_from(["s", "us", "D", "25s"])) | st.builds(
    np.timedelta64, TICKS, st.sampled_from(["s", "us", "D"])
)
INSIDE = SCALARS | st.booleans() | st.binary(max_size=8) | st.floats(allow_nan=False)  # in tuples
IDS = SCALARS | st.recursive(
    INSIDE, lambda parts: st.lists(parts | st.none(), max_size=3).map(tuple), max_leaves=5
).filter(lambda item: isinstance(item, tuple))


class TestIds:
    @pytest.mark.slow
    @given(st.one_of(*(st.lists(kind, unique=True) for kind in (INT64, TEXT, IDS, NUMPY, st.booleans()))))
    @examples(300)
    def test_round_trip_with_their_types(self, ids: list[object]) -> None:
        vocabulary = Vocabulary(ids)
        after = unpack_vocabulary(pack_vocabulary(vocabulary, "users"), "users")
        assert same_ids(vocabulary, after)
        assert list(map(repr, vocabulary)) == list(map(repr, after))
        assert after.positions(vocabulary.ids).tolist() == list(range(len(ids)))

    @given(st.lists(TEXT))
    def test_texts_round_trip(self, texts: list[str]) -> None:
        assert unpack_texts(pack_texts(texts, "titles"), "titles") == texts

    @pytest.mark.parametrize("scalar", [np.int16(3), np.float32(0.1), np.str_("a"), np.bool_(True)])
    def test_scalars_of_numpy_become_equal_ones_of_python(self, scalar: object) -> None:
        vocabulary = Vocabulary([scalar, ("more",)])
        after = unpack_vocabulary(pack_vocabulary(vocabulary, "users"), "users")
        assert after == vocabulary
        assert after.position(scalar) == vocabulary.position(scalar) == after.position(scalar.item())

    @pytest.mark.parametrize(
        "strange",
        [Fraction(1, 3), frozenset("a"), ("a", Fraction(1, 3)), 1j, 2**5000, np.longdouble(1) / 3],
        ids=lambda strange: type(strange).__name__,
    )
    def test_that_cannot_be_stored_are_an_error_before_writing(self, tmp_path: Path, strange: object) -> None:
        data = Interactions.from_arrays([0, 1], ["a", strange])
        invalid_value = strange[1] if isinstance(strange, tuple) else strange
        with pytest.raises(
            DataError, match=rf"in items is of type {type(invalid_value).__name__}.*: fit on ids that are integers"
        ):
            hs.Popularity().fit(data).save(tmp_path / "model")
        assert list(tmp_path.iterdir()) == []

    def test_a_named_time_zone_is_an_error(self, tmp_path: Path) -> None:
        zoneinfo = pytest.importorskip("zoneinfo")
        try:
            there = zoneinfo.ZoneInfo("Europe/Bucharest")
        except zoneinfo.ZoneInfoNotFoundError:
            pytest.skip("no time zones are installed")
        data = Interactions.from_arrays([dt.datetime(2020, 1, 1, tzinfo=there)], ["a"])
        with pytest.raises(DataError, match="of type datetime"):
            hs.Popularity().fit(data).save(tmp_path / "model")

    def test_of_every_kind_in_a_model(self, tmp_path: Path) -> None:
        ids = [UUID(int=1), 2.5, ("a", 1, None, b"\xff", True), dt.date(2020, 1, 1), Decimal("1.50"), 2**70, "\ud800"]
        model = hs.Popularity().fit(Interactions.from_arrays(ids, ids[::-1]))
        assert_same(model, saved(model, tmp_path / "model"))


def weight_of_my_own(cells: weights.Cells) -> np.ndarray:
    return np.ones(len(cells.values))


class MyObjective(hs.Explicit):
    pass


class TestUnsupportedContents:
    @pytest.mark.parametrize(
        ("mine", "message"),
        [
            (
                hs.Explicit(weight=weight_of_my_own, biases=False),
                r"objective.weight was the function .*weight_of_my_own",
            ),
            (
                hs.Explicit(weight=lambda cells: cells.values * 0 + 1, biases=False),
                r"objective.weight was the function .*<lambda>",
            ),
            (MyObjective(), "objective was an object of the class .*MyObjective"),
        ],
    )
    def test_predicts_but_names_missing_parts_in_fit(
        self, tmp_path: Path, mine: objective.Objective, message: str
    ) -> None:
        model = hs.ALS(mine, rank=2, random_state=0).fit(SOME)
        loaded = saved(model, tmp_path / "model")
        assert same_array(model.predict(SOME), loaded.predict(SOME))
        assert str(model.recommend(n=2)) == str(loaded.recommend(n=2))
        before = loaded.user_factors_
        with pytest.raises(ParameterError, match=message + ".*set objective again"):
            loaded.fit(SOME)
        assert loaded.user_factors_ is before
        again = saved(loaded, tmp_path / "again")
        assert again.objective == loaded.objective
        loaded.objective = mine
        assert same_array(loaded.fit(SOME).user_factors_, model.user_factors_)

    def test_an_objective_that_had_biases_and_features(self, tmp_path: Path) -> None:
        model = hs.ALS(MyObjective(biases=True), rank=2, implicit_features=True, random_state=0).fit(SOME)
        loaded = saved(model, tmp_path / "model")
        assert same_array(model.predict(SOME), loaded.predict(SOME))
        loaded.objective = model.objective
        history = {"new": dict.fromkeys(SOME.item_ids[:2].tolist(), 2.0)}
        assert same_array(loaded.fold_in(history).user_factors_, model.fold_in(history).user_factors_)

    def test_callbacks(self, tmp_path: Path) -> None:
        loaded = saved(hs.ALS(rank=2, callbacks=[lambda model: False]).fit(SOME), tmp_path / "model")
        with pytest.raises(ParameterError, match=r"callbacks\[0\] was .*set callbacks again"):
            loaded.fit(SOME)

    @pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "SFC64", "MT19937", "Philox"])
    def test_generators_are_kept_with_their_state(self, tmp_path: Path, kind: str) -> None:
        generator = np.random.Generator(getattr(np.random, kind)(5))
        model = hs.ALS(rank=2, random_state=generator).fit(SOME)
        loaded = saved(model, tmp_path / "model")
        assert loaded.random_state.normal(size=700).tolist() == generator.normal(size=700).tolist()

    def test_a_custom_class(self, tmp_path: Path) -> None:
        class Mine(hs.ALS):
            pass

        with pytest.raises(ParameterError, match=r"Mine is defined outside of halfstep.*from_arrays"):
            Mine(rank=2).fit(SOME).save(tmp_path / "model")

    def test_a_model_that_is_not_fitted(self, tmp_path: Path) -> None:
        with pytest.raises(NotFittedError, match="fit"):
            hs.ALS().save(tmp_path / "model")

    def test_parameters_that_exceed_the_header(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(container, "LARGEST_HEADER", 10_000)
        start = np.full((3, 200), 0.123456789)
        fit = hs.ALS(rank=200, iterations=1, init=(start, start)).fit(SOME)
        assert_same(fit, saved(fit, tmp_path / "model"))
        fit.init = start.tolist(), start.tolist()
        with pytest.raises(ParameterError, match="such as init, as NumPy arrays instead of lists"):
            fit.save(tmp_path / "lists")
        assert not (tmp_path / "lists").exists()

    def test_a_rank_that_was_changed_after_the_fit(self, tmp_path: Path) -> None:
        model = hs.ALS(rank=2).fit(SOME)
        model.rank = 3
        with pytest.raises(ParameterError, match="factors have rank 2, but its parameters rank 3"):
            model.save(tmp_path / "model")


def kinds_of(kind: type) -> set[type]:
    """Return all public subclasses of a class."""
    below = set(kind.__subclasses__()).union(*map(kinds_of, kind.__subclasses__()))
    ours = {each for each in below if each.__module__.startswith("halfstep.")}
    return {each for each in ours if "__dataclass_params__" in vars(each)}  # others are bases


def test_every_model_of_the_library_can_be_loaded() -> None:
    assert kinds_of(FactorModel) == set(persistence.MODELS.values())


def test_every_objective_and_weight_of_the_library_can_be_stored() -> None:
    made = {each for _, each in inspect.getmembers(weights, dataclasses.is_dataclass) if "__call__" in vars(each)}
    objectives = kinds_of(objective.Objective) - {values.NotStoredObjective}
    others = {hs.Regularization, *solvers.NAMES.values()}
    assert made | objectives | others == set(values.STORABLE.values())


@pytest.mark.parametrize(
    "model",
    [hs.ALS(rank=1, threads=64), hs.BayesianALS(rank=1, iterations=3, burn_in=1, threads=64)],
    ids=["ALS", "BayesianALS"],
)
def test_threads_are_not_stored(tmp_path: Path, model: hs.ALS | hs.BayesianALS) -> None:
    """Models may be saved and loaded on machines with different numbers of cores."""
    assert saved(model.fit(SOME), tmp_path / "model").threads is None
    assert model.threads == 64


def test_titles_from_a_column_are_shown_and_kept_in_files(tmp_path: Path) -> None:
    frame = {"user": ["ann", "bob", "bob"], "item": ["tt1", "tt1", "tt2"], "name": ["Alien", "Alien", "Brazil"]}
    model = hs.ALS(hs.Implicit(), rank=1, iterations=1, random_state=0)
    model.fit(Interactions.from_frame(frame, item_titles="name"))
    model.save(tmp_path / "model")
    for each in (model, hs.load(tmp_path / "model")):
        assert "'tt2' Brazil" in repr(each.recommend("ann"))
        assert each.recommend("ann").to_frame("pandas")["title"].tolist() == ["Brazil"]
        assert "Alien" in repr(each.similar_items("tt2"))
        assert "Alien" in repr(each.explain("ann", "tt1"))
        assert "'tt2' Brazil" in repr(each.fold_in({"new": ["tt1"]}).recommend())
        new = {"user": ["eve", "eve"], "item": ["tt3", "tt1"], "name": ["Cube", "Another"]}
        each.partial_fit(Interactions.from_frame(new, item_titles="name"))
        assert each.interactions_.item_titles == {"tt1": "Alien", "tt2": "Brazil", "tt3": "Cube"}
        assert "'tt3' Cube" in repr(each.recommend("ann"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.slow
@given(st.lists(JSON, max_size=20))
def test_chunked_json_has_the_same_entries(entries: list[object]) -> None:
    """With chunks that end between entries, inside one, and inside a number."""
    texts = [json.dumps(entry, separators=(",", ":")) for entry in entries]
    longest = max(map(len, texts), default=0)
    text = f"[{','.join(texts)}]"
    with pytest.MonkeyPatch.context() as patched:
        for length in (longest + 1, longest + 2, longest + 7, 10**6):
            patched.setattr(faults, "LONGEST_ELEMENT", length)
            assert list(faults.elements_of_json(text)) == entries
        patched.setattr(faults, "LONGEST_ELEMENT", max(longest - 1, 1))
        if longest > 2 and len(texts) > 1:
            with pytest.raises(ValueError, match=r"."):
                list(faults.elements_of_json(text))


def test_numbers_of_json_may_be_cut_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    text, entries = "[1,-2.5,1.25e+16,-3e-7,0.5]", [1, -2.5, 1.25e16, -3e-7, 0.5]
    for length in range(9, len(text)):
        monkeypatch.setattr(faults, "LONGEST_ELEMENT", length)
        assert list(faults.elements_of_json(text)) == entries


@pytest.mark.parametrize("text", ["", "[", "]", "{}", "[1", "1]", "[1 2]", "[1;2]", "[1,,2]", "[,]", "[1]2]", "[[1]"])
def test_invalid_lists_in_json_are_errors(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(faults.elements_of_json(text))


def test_an_id_that_is_too_long_to_be_loaded_is_not_saved(tmp_path: Path) -> None:
    data = Interactions.from_arrays([("a" * 2_000_000, 1), ("b", 2)], [1, 2], [1.0, 2.0])
    with pytest.raises(DataError, match="or too long, and cannot be stored"):
        hs.ItemBias().fit(data).save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
