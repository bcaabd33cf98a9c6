"""Text from outside, made safe to show: ids and titles come from files that nobody vouches for."""

from __future__ import annotations

import unicodedata

UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control characters, invisible formatting, lone surrogates, line separators
JOINERS = "\u200c\u200d"  # of category Cf too, but part of how Persian, Indic scripts and emoji are spelled


def printable(text: str) -> str:
    r"""Escape what would move the cursor, color the screen, break the line or turn the direction of the text.

    All else is shown as it is, whatever the script.

    Examples
    --------
    >>> print(printable("caf\u00e9 \x1b[31m\u202egnp.exe"))
    café \x1b[31m\u202egnp.exe
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in UNSAFE or character in JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")
