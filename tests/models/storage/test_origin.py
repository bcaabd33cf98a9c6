"""Model files of earlier releases, written by ``tests/models/storage/make_stored_model.py``, can be loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import halfstep as hs
from halfstep.models.origin import Origin

FILES = sorted(Path(__file__).parent.glob("*.halfstep"))


def test_one_file_for_each_version() -> None:
    assert [path.stem for path in FILES] == ["model-v1"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("verify", [True, False])
def test_stored_values(path: Path, verify: bool) -> None:
    says = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    model = hs.load(path, verify=verify)
    assert isinstance(model, hs.ALS)
    data = model.interactions_
    assert (list(model.users_), list(model.items_)) == (says["users"], says["items"])
    assert data.values.tolist() == says["values"]
    assert data.weights.tolist() == says["weights"]
    assert [str(each) for each in data.timestamps] == says["timestamps"]
    assert model.objective == eval(says["objective"], {**vars(hs.weights), "Explicit": hs.Explicit})
    assert list(model.regularization.pair) == says["regularization"]
    assert (model.regularization.counts, model.regularization.exponent) == ("cells", 0.5)
    assert [line.objective for line in model.history_] == says["history"]
    assert (data.source, model._fitted.origin) == (None, Origin())  # which older files do not record
    assert data.item_titles["artikel 3"] == "Artikel 3"
    np.testing.assert_allclose(model.predict(data), says["predictions"], rtol=1e-12)
    recommended = [[item for item, _ in entries] for _, entries in model.recommend(n=5)]
    assert recommended == says["recommended"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_loaded_model_can_be_updated(path: Path, tmp_path: Path) -> None:
    """Fit, fold in, update and save."""
    model = hs.load(path)
    data = model.interactions_
    again = hs.load(path).fit(data)
    assert again.history_[-1].objective < 1.02 * model.history_[-1].objective  # whatever the defaults are by now
    folded = model.fold_in(data)
    np.testing.assert_allclose(folded.user_factors_, model.user_factors_, rtol=1e-4, atol=1e-6)
    model.partial_fit(data.subset([0]), duplicates="sum")
    model.save(tmp_path / "again.halfstep")
    np.testing.assert_array_equal(hs.load(tmp_path / "again.halfstep").user_factors_, model.user_factors_)
