"""Escaping of ids and titles from untrusted files, for safe printing."""

from __future__ import annotations

import re
import unicodedata

PASSWORD = re.compile(r"(?<=:)[^:/@]*(?=@)")  # in the address of a server
UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control characters, invisible formatting, lone surrogates, line separators
JOINERS = "\u200c\u200d"  # also of category Cf, but needed to spell Persian, Indic scripts and emoji


def printable(text: str) -> str:
    r"""Escape characters that move the cursor, change colors, break lines or change the direction of text.

    Other characters of any script are unchanged.

    Examples
    --------
    >>> print(printable("caf\u00e9 \x1b[31m\u202egnp.exe"))
    café \x1b[31m\u202egnp.exe
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def message_of(error: Exception) -> str:
    """Return the message of an error, without the error number of the operating system."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def without_password(address: str) -> str:
    """Replace the password in the address of a server by stars.

    >>> without_password("postgresql://ann:secret@host/name")
    'postgresql://ann:***@host/name'
    """
    return PASSWORD.sub("***", address) if "://" in address else address


def _shown(character: str) -> str:
    if unicodedata.category(character) not in UNSAFE or character in JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")
