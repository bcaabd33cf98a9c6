from __future__ import annotations

import ast
import builtins
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import halfstep as hs

ROOT = Path(__file__).parent.parent


def test_every_public_name_exists() -> None:
    for name in hs.__all__:
        assert getattr(hs, name) is not None
    assert set(hs.__all__) == set(dir(hs))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = hs.nonsense


def test_type_checkers_see_the_same_names() -> None:
    stub = ast.parse(Path(hs.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    seen = {alias.asname for line in stub.body if isinstance(line, ast.ImportFrom) for alias in line.names}
    assert seen == set(hs.__all__)


def test_names_in_docstrings_can_be_imported() -> None:
    modules = [each for name in hs.__all__ if inspect.ismodule(each := getattr(hs, name))]
    public = set(hs.__all__) | {name for module in modules for name in vars(module)} | set(dir(builtins))
    documented = {name: getattr(hs, name) for name in hs.__all__}
    for each in [value for value in documented.values() if inspect.isclass(value) or inspect.ismodule(value)]:
        documented |= {f"{each.__name__}.{name}": value for name, value in vars(each).items() if name[0] != "_"}
    named = {
        f"{name} in {where}"
        for where, value in documented.items()
        if (getattr(value, "__module__", None) or getattr(value, "__name__", "halfstep")).startswith("halfstep")
        for name in re.findall(r"(?<!`)`(?:halfstep\.)?([A-Z]\w+)[`.(]", inspect.getdoc(value) or "")
        if name not in public
    }
    assert not named


def test_import_does_not_load_heavy_packages() -> None:
    program = (
        "import halfstep, sys; print([m for m in ('numba', 'scipy', 'matplotlib', 'typer') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


@pytest.mark.skipif(not (ROOT / ".github").is_dir(), reason="not a checkout of the repository")
def test_releases_compare_the_tag_with_the_version() -> None:
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    (path,) = re.findall(r"src/\S+\.py", workflow)
    assert f'__version__ = "{hs.__version__}"\n' in (ROOT / path).read_text()
    assert f"version: {hs.__version__}\n" in (ROOT / "CITATION.cff").read_text()
