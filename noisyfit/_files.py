"""Files that are never left half written, nor written over unasked."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
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

    Also a power cut leaves either the old file or the new one. Who may read and write a file stays as it was.
    """
    new = path.absolute().parent / f".{path.name}.{secrets.token_hex(8)}"
    os.close(os.open(new, os.O_CREAT | os.O_EXCL, 0o666))  # less what the umask takes away
    try:
        mode = _mode_of(path) or _mode_of(new)
        yield new
        os.chmod(new, mode)  # what has written it may have made it anew, for its owner alone
        _write_through(new)
        os.replace(new, path)
        _write_through(new.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole, or leave what was there."""
    with replaced_whole(path) as new:
        new.write_bytes(content)


def _mode_of(path: Path) -> int:
    """Say who may do what with a file, 0 where there is none."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return 0


def _write_through(path: str | Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name != "posix" and os.path.isdir(path):  # only POSIX opens folders
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
