"""Suggestions of similar names, ids and titles for unknown ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import islice

MOST = 10_000  # texts that difflib compares, in about a tenth of a second
LETTERS_FROM = 1_000  # texts from which letters for replacements are taken


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """Return a hint with the closest of given names; empty if none is close."""
    close = get_close_matches(name, names, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def close_texts(text: str, texts: Sequence[str], is_known: Callable[[str], bool] | None = None) -> list[str]:
    """Return up to three texts that are similar to an unknown one, the closest first.

    All texts are searched for the substring, the first `MOST` texts of similar length are compared, and all texts
    that differ in one character are looked up.

    Parameters
    ----------
    is_known : callable, optional
        Whether a text is among `texts`, if this is faster than a search.
    """
    known = is_known or frozenset(texts).__contains__
    folded = text.casefold()
    same = [each for each in texts if each.casefold() == folded]
    typos = (each for each in _with_one_typo(text, texts) if known(each))
    within = (each for each in texts if len(folded) > 2 and folded in each.casefold())
    similar = (each for each in texts if abs(len(each) - len(text)) <= 2)
    close = get_close_matches(text, list(islice(similar, MOST)), 3, cutoff=0.7)
    suggestions = [*same, *islice(typos, 3), *close, *islice(within, 3)]
    return list(dict.fromkeys(suggestions))[:3]


def _with_one_typo(text: str, texts: Iterable[str]) -> Iterator[str]:
    """Iterate over texts that differ in one missing, additional, different or transposed character."""
    letters = sorted(set("".join(islice(texts, LETTERS_FROM))))
    for i in range(len(text) + 1):
        head, tail = text[:i], text[i:]
        if tail:
            yield head + tail[1:]
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
        for letter in letters:
            if tail:
                yield head + letter + tail[1:]
            yield head + letter + tail
