"""Names of public objects in the code of pages, such as ``hs.evaluate``, are links to the reference."""

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref

NAME = re.compile(r"hs\.([\w.]+)(\(.*\))?$", flags=re.DOTALL)


def link(app: Any, doctree: nodes.document) -> None:
    """Make references of literals; one to a name that does not exist is a warning."""
    for literal in list(doctree.findall(nodes.literal)):
        found = NAME.match(literal.astext())
        if found is None or isinstance(literal.parent, nodes.reference | pending_xref):
            continue
        reference = pending_xref(
            "",
            refdomain="py",
            reftype="obj",
            reftarget=f"halfstep.{found[1]}",
            refdoc=app.env.docname,
            refexplicit=True,
            refwarn=True,
        )
        literal.replace_self(reference)
        reference += literal


def setup(app: Any) -> dict[str, bool]:
    """Connect to the pages that are read."""
    app.connect("doctree-read", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
