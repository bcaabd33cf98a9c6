"""Write a model file of this release and its content, which later releases must be able to load.

Run once for each version of the format.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

import halfstep as hs

HERE = Path(__file__).parent
NAME = "model-v1"


def main() -> None:
    rng = np.random.default_rng(2026)
    n = 120
    users = [f"käufer-{k:02d}" for k in rng.integers(0, 15, n)]
    items = [f"artikel {k}" for k in rng.integers(0, 12, n)]
    times = np.datetime64("2026-01-01T12:00:00") + rng.integers(0, 10_000, n) * np.timedelta64(1, "m")
    data = hs.Interactions.from_arrays(
        users, items, rng.integers(1, 6, n), times, rng.integers(1, 4, n), duplicates="last"
    )
    data = replace(data, item_titles={item: item.title() for item in data.items})
    objective = hs.Explicit(
        weight=hs.weights.linear_popularity(w0=0.5, wk=2.0),
        missing_weight=hs.weights.missing_popularity(3.0, 0.5),
        biases=True,
    )
    model = hs.ALS(objective, rank=3, regularization=(0.7, 0.9), iterations=4, random_state=7).fit(data)
    model.save(HERE / f"{NAME}.halfstep")
    says = {
        "users": list(model.users_),
        "items": list(model.items_),
        "predictions": model.predict(data).tolist(),
        "recommended": [[item for item, _ in entries] for _, entries in model.recommend(n=5)],
        "values": data.values.tolist(),
        "weights": data.weights.tolist(),
        "timestamps": [str(each) for each in data.timestamps],
        "objective": repr(objective),
        "regularization": list(model.regularization.pair),
        "history": [line.objective for line in model.history_],
    }
    (HERE / f"{NAME}.json").write_text(json.dumps(says, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
