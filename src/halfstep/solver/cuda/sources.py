"""The CUDA C++ sources in the package.

They contain no ``#include``, so that NVRTC compiles them without a CUDA toolkit.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

OPTIONS = ("--std=c++17",)  # of NVRTC
COMMON = "common"  # precedes all other sources
USED = {"cg": ("cells",), **dict.fromkeys(("exact", "dual", "large"), ("cells", "tiles"))}  # also precede a source


def source_of(name: str, constants: Mapping[str, int | str]) -> str:
    """Return the source ``kernels/{name}.cu`` with its constants and the functions that it uses.

    Parameters
    ----------
    constants : mapping
        Macros and their values.
    """
    macros = "".join(f"#define {macro} {value}\n" for macro, value in constants.items())
    return macros + "".join(f'#line 1 "{each}.cu"\n{read(each)}' for each in (COMMON, *USED.get(name, ()), name))


def read(name: str) -> str:
    """Return the text of ``kernels/{name}.cu``."""
    return (files("halfstep.solver.cuda") / "kernels" / f"{name}.cu").read_text(encoding="utf-8")
