"""``python -m benchmarks.peers``: measure, and write the pages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks.marks import ROOT, write_between
from benchmarks.peers import alone, building, lists, pages, races, ratings, teams
from benchmarks.peers.machine import PEERS, describe, is_installed, without_settings
from benchmarks.peers.measurements import Measurements
from benchmarks.peers.problems import Problem, movielens_1m, ten_million

RANKS = (64, 128, 256)
NDCG_RANK = 64
DATA: dict[str, tuple[str, Callable[[], Problem | None]]] = {
    "ml-1m": ("MovieLens 1M", movielens_1m),
    "ten-million": ("Ten million", ten_million),
}
SECTIONS = ("races", "ratings", "lists", "building", "memory", "teams", "starts")


def measure(sections: list[str], data: list[str], ranks: list[int]) -> Measurements:
    found = Measurements(describe())
    found.notes += [f"{name} was not installed, and is excluded." for name in PEERS if not is_installed(name)]
    if "starts" in sections:
        found.starts = alone.starts()
    if "ratings" in sections and is_installed("surprise"):
        found.ratings.append(ratings.compared_with_surprise())
    for name in data:
        title, make = DATA[name]
        problem = make()
        if problem is None:
            found.notes.append(f"{title} was not found, and is excluded.")
            continue
        if "races" in sections:
            found.races += [races.to_objective(title, problem, rank) for rank in ranks]
            found.races.append(races.to_ndcg(title, problem, NDCG_RANK))
        if name == "ten-million":
            if "ratings" in sections and is_installed("cmfrec"):
                rated = ratings.synthetic_ratings(problem.users, problem.items)
                found.ratings += ratings.compared_with_cmfrec(
                    title, rated, rank=64, regularization=10.0, iterations=3
                )
            if "lists" in sections and is_installed("implicit"):
                found.serving.append(lists.compared_with_implicit(title, problem))
            if "building" in sections:
                found.building = building.compare_building(problem)
            if "memory" in sections:
                found.memory = alone.memory(problem)
            if "teams" in sections:
                found.teams = teams.measure(title, problem)
    return found


def write(found: Measurements) -> None:
    (ROOT / "docs" / "benchmarks.md").write_text(pages.report(found), encoding="utf-8")
    write_between(ROOT / "README.md", "benchmarks", pages.summary(found))
    print("written: docs/benchmarks.md and the table of README.md", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA), metavar="DATA")
    parser.add_argument("--ranks", nargs="+", type=int, default=list(RANKS), metavar="RANK")
    chosen = parser.parse_args()
    without_settings()
    found = measure(chosen.only, chosen.data, chosen.ranks)
    print(pages.report(found))
    if (chosen.only, chosen.data, chosen.ranks) == (list(SECTIONS), list(DATA), list(RANKS)):
        write(found)


if __name__ == "__main__":
    main()
