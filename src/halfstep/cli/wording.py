"""Errors of the library in the words of the command line: options rather than keyword arguments."""

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
    "title": "item_titles",
}
"""Keyword arguments of the library, with the parameter of a command that stands for them where names differ."""

NOTHING = "''"  # as the shell gives an option no value

_VALUE = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\.\.\.|[^\s,;:()\[\]]*[^\s,;:.()\[\]]"""
_KEYWORD = re.compile(
    rf"""\w\([^()]*\)|(?<!\w)'[^']*'|"[^"]*"|\b(?P<name>[a-z_]+)=(?P<value>{_VALUE})|\b(?P<alone>[a-z]+_[a-z_]+)\b"""
)
"""A keyword argument with its value, such as ``rank=0``, or its name alone where it is no word of the language.

Calls and quoted texts come first, and are left alone."""


def in_terms_of_options(text: str, context: typer.Context) -> str:
    """Write the keyword arguments in an error as the options of the command that was called.

    What the command has no option for stays as it is.
    """
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
    """Write a value of Python as one would type it in a shell."""
    if value == "None":
        return NOTHING
    return value[1:-1] if re.fullmatch(r"'[\w.@-]+'", value) else value
