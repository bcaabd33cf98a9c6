"""halfstep beside implicit, irspack, cmfrec and Surprise: ``python -m benchmarks.peers``.

    pip install -e '.[bench]'
    python -m benchmarks.peers [--only SECTION ...] [--data DATA ...] [--ranks RANK ...]

A whole run writes ``docs/benchmarks.md`` and the table of the README; one that is told to do less only prints.
Sections measure (`races`, `ratings`, `lists`, `alone`, `teams`), measurements are plain data (`measurements`), and
pages are made of these (`pages`).
"""
