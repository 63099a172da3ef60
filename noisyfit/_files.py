"""Files that are never left half written, nor written over unasked."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["check_may_write", "replaced_whole", "write_atomically"]


def check_may_write(path: Path, overwrite: bool, remedy: str) -> None:
    """Raise a FileExistsError where there is a file already, a FileNotFoundError where its folder is missing."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder. Name a file in it.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} is there already. {remedy}")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"The folder of {path} is not there. Make it first.")


@contextlib.contextmanager
def replaced_whole(path: Path) -> Iterator[Path]:
    """Give the name of a file beside `path`, which takes its place when the block ends; an error leaves it as it was.

    Also a power cut leaves either the old file or the new one.
    """
    folder = path.absolute().parent
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
    os.close(descriptor)
    try:
        yield Path(name)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp's files are for their owner alone
        _write_through(name)
        os.replace(name, path)
        _write_through(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole, or leave what was there."""
    with replaced_whole(path) as new:
        new.write_bytes(content)


def _write_through(path: str | Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name != "posix" and os.path.isdir(path):  # only POSIX opens folders
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
