"""Compiled kernels in one file, for machines that should not compile them, such as workers of a cluster."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from halfstep._support.files import write_atomically
from halfstep._support.kernel_cache import KernelFiles
from halfstep.errors import DataError

MOST_BYTES = 1 << 30  # of all kernels, which take a hundredth of it


def write_archive(path: Path, packages: Mapping[str, KernelFiles], target: tuple[str, ...]) -> int:
    """Write the compiled kernels for a processor to a ZIP file; return their number.

    Parameters
    ----------
    packages : mapping of str to KernelFiles
        The kernels of each package, by its name in the file.
    target : tuple of str
        The platform, the processor and its features.
    """
    content, count = io.BytesIO(), 0
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for package, files in packages.items():
            for name in files.current(target):
                code = files.read(name)
                if code is not None:
                    archive.writestr(zipfile.ZipInfo(f"{package}/{name}"), code, zipfile.ZIP_DEFLATED)
                    count += 1
    if count == 0:
        raise DataError("no kernels are compiled: call halfstep.doctor.warm() first, or add --warm to the command")
    write_atomically(path, content.getvalue())
    return count


def read_archive(path: Path, packages: Mapping[str, KernelFiles], target: tuple[str, ...]) -> int:
    """Add the kernels of a ZIP file to the cache; return their number.

    Raises
    ------
    DataError
        If the file is not one of `write_archive`, or has no kernels for this installation and processor.
    OSError
        If the file cannot be read, or no folder for kernels can be written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(each.file_size for each in entries) > MOST_BYTES:
                raise DataError(
                    f"the content of {path} exceeds the limit of {MOST_BYTES:,} bytes: export the kernels again"
                )
            kernels = {}
            for each in entries:
                package, _, name = each.filename.partition("/")
                if package in packages and packages[package].is_current(name, target):
                    if each.compress_type != zipfile.ZIP_DEFLATED:
                        raise zipfile.BadZipFile("its compression method is not supported")
                    kernels[package, name] = archive.read(each)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path} is not a file of compiled kernels ({error}): export the kernels again") from None
    if not kernels:
        raise DataError(
            f"{path} has no kernels for this version of halfstep and its dependencies on this processor: export them "
            "on a machine with the same versions and the same kind of processor"
        )
    for (package, name), code in kernels.items():
        if not packages[package].write(name, code):
            raise PermissionError(
                "no folder for compiled kernels can be written: set HALFSTEP_CACHE to a writable folder"
            )
    return len(kernels)
