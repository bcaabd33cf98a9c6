"""Requests per second of halfstep and recotem, with models of MovieLens 100K and lists of 10 items.

    python -m benchmarks.recotem path/to/bin/recotem

recotem needs Python 3.12 or later, hence an environment of its own: ``pip install recotem==2.1.0``. Both servers run
one process, and answer the same number of clients in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx

import halfstep as hs
from benchmarks.servers import server
from benchmarks.service import Load, measure
from halfstep.serve.server import listen

RECIPE = """
name: movies
source: {{type: csv, path: "{folder}/ratings.csv"}}
schema: {{user_column: user, item_column: item}}
training: {{algorithms: [IALS], n_trials: 1}}
output: {{path: "{folder}/movies.recotem"}}
"""
ROUNDS, SECONDS, CLIENTS = 5, 4.0, 16


@contextlib.contextmanager
def recotem(program: Path, folder: Path) -> Iterator[int]:
    """Train and serve a model with recotem; yield the port."""
    recipes = folder / "recipes"
    recipes.mkdir()
    (recipes / "movies.yaml").write_text(RECIPE.format(folder=folder))
    env = {**os.environ, "RECOTEM_SIGNING_KEYS": f"one:{secrets.token_hex(32)}", "RECOTEM_ENV": "test"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": env}
    subprocess.run([program, "train", recipes / "movies.yaml"], check=True, **quiet)
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    arguments = ["serve", "--recipes", str(recipes), "--port", str(port), "--insecure-no-auth"]
    with subprocess.Popen([program, *arguments], **quiet) as running:
        for _ in range(300):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/v1/health/ready").status_code == 200:
                    break
            time.sleep(0.1)
        yield port
        running.terminate()


def main() -> None:
    """Measure both servers in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path, help="the command of recotem")
    program = parser.parse_args().program
    data = hs.datasets.movielens_100k()
    with tempfile.TemporaryDirectory(prefix="halfstep-recotem-") as name:
        folder = Path(name)
        lines = (f"{user},{item}\n" for user, item in zip(data.user_ids, data.item_ids, strict=True))
        (folder / "ratings.csv").write_text("user,item\n" + "".join(lines))
        hs.ALS(hs.Implicit(), rank=64, random_state=0).fit(data).save(folder / "model.halfstep")
        users = data.users.ids.tolist()
        ours = [("GET", f"/v1/users/{user}/recommendations?n=10", b"") for user in users]
        theirs = [
            ("POST", "/v1/recipes/movies:recommend", json.dumps({"user_id": str(user), "limit": 10}).encode())
            for user in users
        ]
        with recotem(program, folder) as their_port, server(folder / "model.halfstep") as running:
            ratios = []
            for _ in range(ROUNDS):
                found: list[Load] = []
                for label, port, requests in (("recotem", their_port, theirs), ("halfstep", running.port, ours)):
                    found.append(measure(port, requests, clients=CLIENTS, seconds=SECONDS))
                    print(f"{label:<9} {found[-1]}", flush=True)
                ratios.append(found[1].rate / found[0].rate)
            print(f"requests a second, halfstep / recotem: median {statistics.median(ratios):.1f} of {ROUNDS} rounds")


if __name__ == "__main__":
    main()
