"""Two threads update a model and four read it: ``python -m benchmarks.stress.concurrency --seconds 60``.

Each phase takes a third of the time:

- free: at the end, every interaction is in the model once; lists have the length that the catalog of one state
  allows; saved models are consistent;
- recorded: the model is copied after each update, and each result is bitwise equal to that of a copy made during the
  read;
- refitted: the model is fitted in place to two data sets alternately, and each list is of one of these.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import halfstep as hs

USERS, ITEMS, START = 2000, 1500, 60_000
KEPT = 400  # states of the model
FIXED = np.arange(20)  # users without new interactions, whose lists depend only on the state of the model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds / 3
    data = starting_data()
    for phase in (Free(data), Recorded(data), Refitted(data)):
        phase.run(seconds)
        print(phase.report(), flush=True)


def starting_data() -> hs.Interactions:
    rng = np.random.default_rng(0)
    cells = np.unique(rng.integers(0, USERS * ITEMS, START))
    return hs.Interactions.from_arrays(cells // ITEMS, cells % ITEMS, np.ones(len(cells)))


def new_model() -> hs.ALS:
    return hs.ALS(hs.Implicit(missing_weight=0.1), rank=16, iterations=2, random_state=0, threads=1)


class Phase:
    """Threads that run for a given time, and their errors."""

    def __init__(self, data: hs.Interactions) -> None:
        self.data, self.model = data, new_model().fit(data)
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self._ends = 0.0

    def workers(self) -> list[Callable[[np.random.Generator], None]]:
        """The work that each thread repeats."""
        raise NotImplementedError

    def run(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._repeat, args=(work, np.random.default_rng(n)))
            for n, work in enumerate(self.workers())
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.finish()

    def finish(self) -> None:
        """Check the final state after all threads have ended."""

    def _repeat(self, work: Callable[[np.random.Generator], None], rng: np.random.Generator) -> None:
        while time.monotonic() < self._ends:
            try:
                work(rng)
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")

    def check(self, is_right: bool, fault: str) -> None:
        if not is_right:
            self.errors.append(fault)

    def report(self) -> str:
        counted = ", ".join(f"{count:,} {name}" for name, count in sorted(self.counts.items()))
        lines = [f"{type(self).__name__}: {counted}; {len(self.errors)} errors"]
        return "\n".join(lines + [f"    {count} × {error}" for error, count in Counter(self.errors).most_common(8)])


class Free(Phase):
    """Threads that update and read without synchronization."""

    def __init__(self, data: hs.Interactions) -> None:
        super().__init__(data)
        self.sent: list[dict[tuple[int, int], float]] = [{}, {}]
        self._seen = {int(user): int(data.user_counts[data.users.position(user)]) for user in FIXED}
        self._folder = tempfile.TemporaryDirectory()

    def workers(self) -> list[Callable[[np.random.Generator], None]]:
        return [
            lambda rng: self._update(rng, 0),
            lambda rng: self._update(rng, 1),
            self._recommend,
            self._score,
            self._fold_in,
            self._keep,
        ]

    def _update(self, rng: np.random.Generator, number: int) -> None:
        """Update the model with new and known users and items, sometimes with many at once."""
        sent = self.sent[number]
        start = len(sent)
        rows = [start + n for n in range(300 if rng.random() < 0.01 else 1)]
        users = [100 + row % 5000 * 2 + number for row in rows]  # even or odd, so that no cell is sent twice
        items = [10_000 + row // 5000 * 7 + row % 7 for row in rows]
        values = [float(1 + row % 5) for row in rows]
        self.model.partial_fit(hs.Interactions.from_arrays(users, items, values))
        sent |= dict(zip(zip(users, items, strict=True), values, strict=True))
        self.counts["updates"] += 1

    def _recommend(self, rng: np.random.Generator) -> None:
        user = int(rng.choice(FIXED))
        listed = self.model.recommend(user, n=100_000)
        self.check(
            int(listed.counts[0]) + self._seen[user] == len(listed.catalog),
            "the length of a list differs from its catalog",
        )
        self.counts["lists"] += 1

    def _score(self, rng: np.random.Generator) -> None:
        user, item = int(rng.choice(FIXED)), int(rng.integers(ITEMS))
        self.check(bool(np.isfinite(self.model.predict(user, [item, 10_000])).all()), "a score is not finite")
        explanation = self.model.explain(user, item)
        self.check(len(explanation.item_ids) == self._seen[user], "an explanation has interactions of another user")
        similar = self.model.similar_items(item, n=100_000)
        self.check(bool(similar.counts[0] <= len(similar.catalog) - 1), "there are more similar items than items")
        self.counts["explanations"] += 1

    def _fold_in(self, rng: np.random.Generator) -> None:
        folded = self.model.fold_in({"x": rng.integers(0, ITEMS, 5).tolist()})
        scores = folded.predict("x", [1, 2, 3])
        time.sleep(0.001)
        self.check(bool((folded.predict("x", [1, 2, 3]) == scores).all()), "a folded-in model has changed")
        self.counts["folded in"] += 1

    def _keep(self, rng: np.random.Generator) -> None:
        before = [len(sent) for sent in self.sent]
        data = self.model.interactions_
        self.check(len(data) >= len(self.data) + sum(before), "interactions_ lacks earlier updates")
        path = Path(self._folder.name) / "model.halfstep"
        self.model.save(path)
        self._check_consistency(hs.load(path))
        self.counts["saves"] += 1

    def _check_consistency(self, model: Any) -> None:
        data = model.interactions_
        sizes = len(model.user_factors_) == data.n_users and len(model.item_factors_) == data.n_items
        self.check(sizes and bool((model.item_counts_ == data.item_counts).all()), "a model is inconsistent")

    def finish(self) -> None:
        data = self.model.interactions_
        self._check_consistency(self.model)
        expected = Counter(cells_of(self.data))
        for sent in self.sent:
            expected.update((*cell, value) for cell, value in sent.items())
        found = Counter(cells_of(data))
        self.counts["interactions added"] = sum(map(len, self.sent))
        self.counts["lost"] = sum((expected - found).values())
        self.counts["duplicated"] = sum((found - expected).values())
        self.check(found == expected, f"{self.counts['lost']} interactions were lost")
        self._folder.cleanup()


class Recorded(Phase):
    """Updates are copied atomically, so that all states are known."""

    def __init__(self, data: hs.Interactions) -> None:
        super().__init__(data)
        self._recording, self._sent = threading.Lock(), 0
        self._versions: deque[tuple[int, hs.ALS]] = deque([(0, copy.deepcopy(self.model))], maxlen=KEPT)

    def workers(self) -> list[Callable[[np.random.Generator], None]]:
        readers = (
            lambda model, user, item: model.recommend([user, item], n=20).scores,
            lambda model, user, item: model.predict(user, np.arange(50)),
            lambda model, user, item: model.similar_items(item, n=20).scores,
            lambda model, user, item: model.explain(user, item).contributions,
            lambda model, user, item: model.fold_in({"x": [item, user]}).predict("x", np.arange(50)),
        )

        def read(rng: np.random.Generator) -> None:
            self._compare(readers[rng.integers(len(readers))], int(rng.integers(50)), int(rng.integers(50)))

        return [self._update, self._update, read, read, read, read]

    def _update(self, rng: np.random.Generator) -> None:
        users, items = rng.choice(50, 3, replace=False), rng.choice(50, 3, replace=False)
        with self._recording:
            self.model.partial_fit(hs.Interactions.from_arrays(users, items, rng.integers(1, 9, 3).astype(float)))
            self._sent += 1
            self._versions.append((self._sent, copy.deepcopy(self.model)))
        self.counts["updates"] += 1

    def _compare(self, read: Callable[[hs.ALS, int, int], Any], user: int, item: int) -> None:
        first = self._versions[-1][0]
        found = read(self.model, user, item)
        with self._recording:
            candidates = [version for number, version in self._versions if number >= first]
        right = any(np.array_equal(found, read(version, user, item), equal_nan=True) for version in candidates)
        self.check(right, f"a result is of none of {len(candidates)} states")
        self.counts["reads"] += 1


class Refitted(Phase):
    """The model is fitted alternately to two data sets of different sizes, while it is read."""

    def __init__(self, data: hs.Interactions) -> None:
        super().__init__(data)
        self._other = hs.Interactions.from_arrays(data.item_ids, data.user_ids, data.values)
        self._lists = [self._read(new_model().fit(each)) for each in (data, self._other)]

    def workers(self) -> list[Callable[[np.random.Generator], None]]:
        return [self._refit, *[self._recommend] * 4]

    @staticmethod
    def _read(model: hs.ALS) -> np.ndarray:
        return model.recommend(FIXED, n=30).scores

    def _refit(self, rng: np.random.Generator) -> None:
        self.model.fit(self._other)
        self.model.fit(self.data)
        self.counts["fits"] += 2

    def _recommend(self, rng: np.random.Generator) -> None:
        found = self._read(self.model)
        self.check(any(np.array_equal(found, each) for each in self._lists), "lists of two models were mixed")
        self.counts["lists"] += 1


def cells_of(data: hs.Interactions) -> list[tuple[int, int, float]]:
    return list(zip(data.user_ids.tolist(), data.item_ids.tolist(), data.values.tolist(), strict=True))


if __name__ == "__main__":
    main()
