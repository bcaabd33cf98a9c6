"""llms.txt lists all pages with their first sentences, and llms-full.txt has their text, for language models."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.ext.autosummary import import_by_name

ABOUT = "Alternating least squares for recommender systems in Python: weighted, biased, implicit; fast and readable."
OBJECTS = "api/generated/"


def pages_below(env: Any, page: str) -> Iterator[str]:
    """Yield a page and those below it, in the order of the site's navigation."""
    yield page
    for child in env.toctree_includes.get(page, []):
        yield from pages_below(env, child)


def line_of(env: Any, page: str) -> str:
    """Return the link to a page, with its first sentence."""
    paragraphs = env.get_doctree(page).findall(nodes.paragraph)
    paragraph = next((each for each in paragraphs if not isinstance(each.parent, nodes.Admonition)), None)
    text = " ".join(paragraph.astext().split()) if paragraph is not None else ""
    first = re.split(r"(?<=[.:])\s", text, maxsplit=1)[0].rstrip(":")
    return f"- [{env.titles[page].astext()}]({page}.html)" + (f": {first}" if first else "")


def text_of(env: Any, page: str) -> str:
    """Return a page as Markdown, a script of the gallery as Python, and an object as its docstring."""
    if page.startswith(OBJECTS):
        name = page.removeprefix(OBJECTS)
        _, value, _, _ = import_by_name(name)
        return f"# {name}\n\n{_documented(name, value)}"
    source = Path(env.doc2path(page))
    script = source.with_suffix(".py")
    if script.exists():
        return f"# {env.titles[page].astext()}\n\n```python\n{script.read_text(encoding='utf-8')}```"
    return re.sub(
        r"^```\{(toctree|eval-rst)\}.*?^```\n", "", source.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE
    )


def _documented(name: str, value: Any) -> str:
    """Return signatures and docstrings of an object and of its public methods."""
    text = f"    {name}{_signature(value)}\n\n{inspect.getdoc(value) or ''}\n"
    if inspect.isclass(value):
        for method, function in inspect.getmembers(value, inspect.isroutine):
            if method[0] != "_" and function.__doc__ and "halfstep" in (getattr(function, "__module__", "") or ""):
                text += f"\n## {name}.{method}\n\n    {method}{_signature(function)}\n\n{inspect.getdoc(function)}\n"
    return text


def _signature(value: Any) -> str:
    """Return the signature without types, which are in the docstring."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    parameters = [each.replace(annotation=inspect.Parameter.empty) for each in found.parameters.values()]
    return str(found.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


def write(app: Any, exception: Exception | None) -> None:
    """Write both files into the site."""
    if exception is not None or app.builder.format != "html":
        return
    env, out = app.env, Path(app.outdir)
    chapters = env.toctree_includes[env.config.root_doc]
    lists = [
        f"## {env.titles[chapter].astext()}\n\n" + "\n".join(line_of(env, page) for page in pages_below(env, chapter))
        for chapter in chapters
    ]
    (out / "llms.txt").write_text("\n\n".join([f"# halfstep\n\n> {ABOUT}", *lists]) + "\n", encoding="utf-8")
    texts = [text_of(env, page).strip() for page in pages_below(env, env.config.root_doc)]
    (out / "llms-full.txt").write_text("\n\n---\n\n".join(texts) + "\n", encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Write the files after the pages."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
