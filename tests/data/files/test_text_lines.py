"""Counts of lines, compared to those of Python."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import pytest
from hypothesis import given

from halfstep.data.files import text_lines
from halfstep.errors import DataError
from thorough import examples

PIECES = st.sampled_from([b"a", b"\n", b"\n\n", b"\r\n", b"\r", "é".encode(), b"\xff", b"\0", b"long" * 20])


@pytest.mark.slow
@examples(300)
@given(st.lists(PIECES, min_size=1, max_size=30), st.booleans())
def test_sum_of_counts_equals_counts_of_sum(pieces: list[bytes], keep_line_ends: bool) -> None:
    content = b"".join(pieces)
    found = []
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "file"
        path.write_bytes(content)
        for large in (1, 1 << 30):
            patch.setattr(text_lines, "_LARGE", large)
            try:
                counts = text_lines._counts_of(path, "file", keep_line_ends)
                found.append((counts.lines, counts.blank, counts.mixed))
            except DataError as error:
                found.append(str(error))
    if isinstance(found[0], str) or not found[0][2]:
        assert found[0] == found[1]
    else:  # blank lines are of no use where lines end differently, nor are lines unless line ends are kept
        assert found[1][2]
        assert found[0][0] == found[1][0] or not keep_line_ends
    if b"\r" not in content and not isinstance(found[0], str):
        expected = content.split(b"\n")
        expected = expected[:-1] if content.endswith(b"\n") else expected
        assert found[0] == (len(expected), expected.count(b""), False)
