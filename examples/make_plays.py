"""Make ``plays.csv``, who played which artist how often, and when, and ``artists.csv``. All of it is made up.

Every listener likes two of six genres, plays the better-known artists of these more, and now and then something else.
``python examples/make_plays.py`` writes both files anew, to the byte.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

GENRES = {
    "jazz": ["Blue Lantern Trio", "Odessa Quill", "Nine Yards", "The Late Set", "Marlow & Finch", "Tin Roof Nonet"],
    "folk": ["Hollow Acre", "Wren Tully", "The Peat Cutters", "Birch & Bone", "Sal Moran", "Low Meadow"],
    "metal": ["Iron Orchard", "Gravewind", "Anvil Saints", "Black Tarn", "Ashen Choir", "Hexhammer"],
    "techno": ["Kilohertz", "Motor Nacht", "Glass Circuit", "Vector Bloom", "Sub Zero Sum", "Relay 9"],
    "soul": ["Della Reed", "The Velvet Mile", "Otis Crane", "Honeydrip", "Sunday Proof", "Rosa Keys"],
    "classical": ["Quartet Lindqvist", "Ensemble Aurel", "Ida Novak", "Camerata Nord", "Pavel Orlov", "Baroque 11"],
}
LISTENERS, SEED = 150, 7
FIRST, LAST = np.datetime64("2026-01-01T08:00"), np.datetime64("2026-06-30T23:00")


def main() -> None:
    """Draw all plays, sort them by time, and write them; write all artists with their genres."""
    rng = np.random.default_rng(SEED)
    minutes = int((LAST - FIRST) / np.timedelta64(1, "m"))
    rows = []
    for number in range(1, LISTENERS + 1):
        liked = rng.choice(list(GENRES), 2, replace=False)
        for _ in range(int(rng.integers(6, 22))):
            genre = rng.choice(liked) if rng.random() < 0.85 else rng.choice(list(GENRES))
            artists = GENRES[genre]
            fame = 1.0 / np.arange(1.0, len(artists) + 1)
            artist = rng.choice(artists, p=fame / fame.sum())
            when = FIRST + np.timedelta64(int(rng.integers(minutes)), "m")
            rows.append((str(when), f"listener-{number:03d}", artist, int(rng.geometric(0.4))))
    write("plays.csv", [("time", "listener", "artist", "plays"), *sorted(rows)])
    genres = sorted((artist, genre) for genre, artists in GENRES.items() for artist in artists)
    write("artists.csv", [("artist", "genre"), *genres])


def write(name: str, rows: list[tuple[object, ...]]) -> None:
    """Write a file beside this one."""
    with Path(__file__).with_name(name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
