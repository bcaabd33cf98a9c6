"""Write the installed versions of halfstep's dependencies, and of theirs, to dev.txt: `make lock`."""

import re
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

HEADER = "# Versions of all dependencies for development. Written by `make lock`.\n"


def closure(name: str, extra: str) -> dict[str, str]:
    """Return the installed versions of all packages that ``name[extra]`` requires, directly or not."""
    versions: dict[str, str] = {}
    seen = {(name, extra)}
    waiting = [(name, extra)]
    while waiting:
        parent, extra = waiting.pop()
        for requirement in map(Requirement, requires(parent) or ()):
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            child = re.sub(r"[-_.]+", "-", requirement.name).lower()
            if child != name:
                try:
                    versions[child] = version(child)
                except PackageNotFoundError:
                    raise SystemExit(f"{parent} requires {child}, which is not installed: run `make check`") from None
            for each in {(child, ""), *((child, wanted) for wanted in requirement.extras)} - seen:
                seen.add(each)
                waiting.append(each)
    return versions


if __name__ == "__main__":
    lines = [f"{name}=={number}\n" for name, number in sorted(closure("halfstep", "dev").items())]
    Path(__file__).with_name("dev.txt").write_text(HEADER + "".join(lines), encoding="utf-8")
