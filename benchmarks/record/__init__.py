"""The public record: models on published splits, tuned within their training data (``python -m benchmarks.record``).

``splits`` reads a folder, ``models`` are the rows of a table, ``measure`` tunes, fits and scores a row, and ``page``
writes the tables.
"""
