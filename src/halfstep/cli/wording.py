"""Errors of the library with options instead of keyword arguments."""

from __future__ import annotations

import re

import typer

KEYWORDS = {
    "timestamp": "time_column",
    "n": "number",
    "random_state": "seed",
    "metric": "metrics",
    "split": "folds",
    "n_folds": "folds",
    "n_trials": "trials",
    "path": "file",
    "target": "output",
}
"""Keyword arguments of the library, and the corresponding parameters of commands, if the names differ."""

OF_PARAMETERS = ("--space ", " has no parameter ", " is the journal of ", " trial failed; ", " trials failed; ")
"""Parts of errors about parameters that are not given as options."""

WITHOUT_OPTION = (", or set exclude_seen=False",)
"""Remedies that no command has an option for."""

NOTHING = "''"  # an empty value in a shell, which means None

_WORD = r"'[\w.@-]+'"
_WORDS = rf"{_WORD}(?:(?:, {_WORD})* or {_WORD})?"  # one word, or alternatives
_VALUE = rf"""{_WORDS}|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\.\.\.|[^\s,;:()\[\]]*[^\s,;:.()\[\]]"""
_KEYWORD = re.compile(
    rf"""\w\([^()]*\)|(?<!\w)'[^']*'|"[^"]*"|\b(?P<name>[a-z_]+)=(?P<value>{_VALUE})|\b(?P<alone>[a-z]+_[a-z_]+)\b"""
)
"""A keyword argument with its value, such as ``rank=0``, or its name alone if it contains an underscore.

Calls and quoted texts are matched first, and left unchanged."""


def in_terms_of_options(text: str, context: typer.Context) -> str:
    """Replace keyword arguments in an error by the options of the command.

    Keyword arguments without an option are left unchanged, but remedies that no command has are removed.
    """
    if any(mark in text for mark in OF_PARAMETERS):
        return text
    for remedy in WITHOUT_OPTION:
        text = text.replace(remedy, "")
    options = {param.name: (param.opts, param.secondary_opts) for param in context.command.params}

    def reworded(match: re.Match[str]) -> str:
        name, value = match["name"] or match["alone"], match["value"] or "..."
        given = next((each for each in (name, KEYWORDS.get(name or "")) if each in options), None)
        if given is None or not options[given][0][0].startswith("-"):
            return match[0]
        positive, negative = options[given]
        if value in ("True", "False"):
            return max(positive if value == "True" else negative or positive, key=len)
        option = max(positive, key=len)
        return option if value == "..." else f"{option} {_as_typed(value)}"

    return _KEYWORD.sub(reworded, text).replace(" or None ", f" or {NOTHING} ")


def _as_typed(value: str) -> str:
    """Return a Python value as typed in a shell."""
    if value == "None":
        return NOTHING
    return value.replace("'", "") if re.fullmatch(_WORDS, value) else value
