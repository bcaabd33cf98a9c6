"""Docstrings as this library writes them: indented formulas, short names of public objects, and bars in formulas."""

import re
from typing import Any

from docutils import nodes

SECTION = re.compile(r"^-{3,}$")
FORMULAS = {"Notes"}  # sections with indented formulas, besides the beginning
PREFIXES = ("halfstep.", "halfstep.errors.", "halfstep.solvers.", "halfstep.weights.")


def prepare(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make literal blocks of indented formulas, and escape bars, which would be substitutions."""
    prepared: list[str] = []
    is_prose, in_formula = True, False
    for k, line in enumerate(lines):
        if k + 1 < len(lines) and SECTION.match(lines[k + 1]):
            is_prose = line in FORMULAS
        after_blank = k > 0 and not lines[k - 1].strip()
        if in_formula and line.strip() and not line.startswith(" "):
            in_formula = False
        elif is_prose and after_blank and line.startswith("    ") and not in_formula and not _is_item(prepared):
            prepared += ["::", ""]
            in_formula = True
        prepared.append(line if in_formula or ">>>" in line else re.sub(r"(?<!`)\|(?!`)", r"\\|", line))
    lines[:] = prepared


def _is_item(lines: list[str]) -> bool:
    """Whether the last paragraph is in a list, or begins a literal block."""
    last = next((line for line in reversed(lines) if line.strip()), "")
    return last.lstrip().startswith(("- ", "* ", ".. ")) or last.startswith(" ") or last.rstrip().endswith("::")


def resolve(app: Any, env: Any, node: Any, contnode: nodes.Element) -> nodes.Element | None:
    """Resolve short names of public objects, such as `ALS.fold_in` or `UnknownIdError`."""
    if node.get("refdomain") != "py" or "refdoc" not in node:
        return None
    domain = env.get_domain("py")
    for prefix in PREFIXES:
        target = prefix + node["reftarget"]
        found = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, contnode)
        if found is not None:
            return found
    return None


def setup(app: Any) -> dict[str, bool]:
    """Connect before numpydoc."""
    app.connect("autodoc-process-docstring", prepare, priority=400)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
