"""Files that are never left half written, nor written over unasked."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

__all__ = ["check_may_write", "write_atomically"]


def check_may_write(path: Path, overwrite: bool, remedy: str) -> None:
    """Raise a FileExistsError where there is a file already, a FileNotFoundError where its folder is missing."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder. Name a file in it.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} is there already. {remedy}")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"The folder of {path} is not there. Make it first.")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole, or leave what was there."""
    descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp's files are for their owner alone
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
