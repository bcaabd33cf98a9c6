"""Comparison with implicit, irspack, cmfrec and Surprise: ``python -m benchmarks.peers``.

    pip install -e '.[bench]'
    python -m benchmarks.peers [--only SECTION ...] [--data DATA ...] [--ranks RANK ...]

A complete run writes ``docs/benchmarks.md`` and the table of the README; a partial one only prints. Sections measure
(`races`, `ratings`, `lists`, `alone`, `teams`), `measurements` has the results, and `pages` writes them.
"""
