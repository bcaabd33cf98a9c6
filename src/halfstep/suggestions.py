"""Names, ids and titles that somebody may have meant by one that does not exist."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import islice

MOST = 10_000  # texts that difflib compares, in about a tenth of a second
LETTERS_FROM = 1_000  # texts whose letters are tried in the place of one another


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """Return a hint at the closest of some names; empty if none is close."""
    close = get_close_matches(name, names, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def close_texts(text: str, texts: Sequence[str], is_known: Callable[[str], bool] | None = None) -> list[str]:
    """Return up to three texts that are close to one that is not among them, the closest first.

    The time is that of a search for a substring in all texts, of comparing the first `MOST` of similar length, and
    of looking up what differs in one character.

    Parameters
    ----------
    text : str
    texts : sequence of str
    is_known : callable, optional
        Whether a text is among `texts`, if that takes less time than looking through them.
    """
    known = is_known or frozenset(texts).__contains__
    folded = text.casefold()
    same = [each for each in texts if each.casefold() == folded]
    typos = (each for each in _with_one_typo(text, texts) if known(each))
    within = (each for each in texts if len(folded) > 2 and folded in each.casefold())
    similar = (each for each in texts if abs(len(each) - len(text)) <= 2)
    alike = get_close_matches(text, list(islice(similar, MOST)), 3, cutoff=0.7)
    found = [*same, *islice(typos, 3), *alike, *islice(within, 3)]
    return list(dict.fromkeys(found))[:3]


def _with_one_typo(text: str, texts: Iterable[str]) -> Iterator[str]:
    """Iterate over what differs from a text in one character that is missing, too many, wrong, or out of place."""
    letters = sorted(set("".join(islice(texts, LETTERS_FROM))))
    places = range(len(text) + 1)
    for i in places:
        head, tail = text[:i], text[i:]
        if tail:
            yield head + tail[1:]
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
        for letter in letters:
            if tail:
                yield head + letter + tail[1:]
            yield head + letter + tail
