"""Models in MLflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import halfstep as hs
from frameworks import need
from halfstep.errors import DataError, ParameterError

need("mlflow")
import mlflow  # noqa: E402
import pandas as pd  # noqa: E402

import halfstep.integrations.mlflow as flavor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # MLflow uses what its dependencies deprecate


@pytest.fixture(scope="module")
def model() -> hs.ALS:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((20, 30)) < 0.3)
    data = hs.Interactions.from_arrays(users * 3, [f"i{k}" for k in items])
    return hs.ALS(hs.Implicit(), rank=4, random_state=0).fit(data)


def expected(model: hs.ALS, users: list[int], n: int, *, exclude_seen: bool = True) -> list[tuple[object, ...]]:
    lists = model.recommend(users, n, exclude_seen=exclude_seen)
    return [(user, item, rank, score) for user, found in lists for rank, (item, score) in enumerate(found, 1)]


def test_a_saved_model_recommends(model: hs.ALS, tmp_path: Path) -> None:
    flavor.save_model(model, tmp_path / "saved")
    function = mlflow.pyfunc.load_model(str(tmp_path / "saved"))
    users = pd.DataFrame({"user": [3, 57, 0]})
    found = function.predict(users)
    assert found.columns.tolist() == ["user", "item", "rank", "score"]
    assert list(found.itertuples(index=False, name=None)) == expected(model, [3, 57, 0], 10)
    few = function.predict(users, params={"n": 2, "exclude_seen": False})
    assert list(few.itertuples(index=False, name=None)) == expected(model, [3, 57, 0], 2, exclude_seen=False)
    assert function.predict(users[:0]).empty


def test_a_logged_model_is_loaded_as_itself(model: hs.ALS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run():
        info = flavor.log_model(model, "recommender")
    loaded = flavor.load_model(info.model_uri)
    assert isinstance(loaded, hs.ALS)
    np.testing.assert_array_equal(loaded.item_factors_, model.item_factors_)
    found = mlflow.pyfunc.load_model(info.model_uri).predict(pd.DataFrame({"user": [6]}), params={"n": 3})
    assert found["item"].tolist() == model.recommend(6, 3).item_ids[0].tolist()


def test_nothing_is_pickled(model: hs.ALS, tmp_path: Path) -> None:
    flavor.save_model(model, tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").rglob("*") if path.is_file()}
    assert names == {
        "MLmodel", "model.halfstep", "requirements.txt", "conda.yaml", "python_env.yaml", "input_example.json",
        "serving_input_example.json",
    }  # fmt: skip
    assert f"halfstep=={hs.__version__}" in (tmp_path / "saved" / "requirements.txt").read_text()
    assert "loader_module: halfstep.integrations.mlflow" in (tmp_path / "saved" / "MLmodel").read_text()


def test_the_signature_is_enforced(model: hs.ALS, tmp_path: Path) -> None:
    flavor.save_model(model, tmp_path / "saved", pip_requirements=["halfstep"])
    requirements = (tmp_path / "saved" / "requirements.txt").read_text().split()
    assert requirements[-1] == "halfstep"
    assert "pandas" not in requirements
    function = mlflow.pyfunc.load_model(str(tmp_path / "saved"))
    with pytest.raises(mlflow.exceptions.MlflowException, match="user"):
        function.predict(pd.DataFrame({"who": [3]}))


@pytest.mark.parametrize("save", [flavor.save_model, flavor.log_model])
def test_what_is_no_model_is_an_error(save: Callable[..., object], tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"^model='x': give a model of halfstep, such as ALS\(\)"):
        save("x", str(tmp_path / "saved"))


def test_invalid_parameters_are_errors(model: hs.ALS, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="pip_requirements='halfstep': give a list of requirements"):
        flavor.save_model(model, tmp_path / "saved", pip_requirements="halfstep")
    for path in (3, "", "s3://bucket/model"):
        with pytest.raises(ParameterError, match=r"^path=.*give (a|the) path"):
            flavor.save_model(model, path)  # type: ignore[arg-type]
    flavor.save_model(model, tmp_path / "saved", pip_requirements=[])
    assert (tmp_path / "saved" / "requirements.txt").read_text().startswith("mlflow")


def test_other_ids_are_errors(tmp_path: Path) -> None:
    data = hs.Interactions.from_arrays([("a", 1), ("b", 2)], [1, 2])
    with pytest.raises(DataError, match="neither integers nor strings cannot be stored in MLflow"):
        flavor.save_model(hs.ALS(hs.Implicit(), rank=2).fit(data), tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []
