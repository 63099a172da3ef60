"""Files that are never left half written, nor written over unasked."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["check_may_write", "replaced_whole", "write_atomically"]

_LONGEST_ENDING = 16  # bytes, in hex digits: at least that of the names of files that are being written
_BLOCK = 4096


def check_may_write(path: Path, overwrite: bool, remedy: str) -> None:
    """Raise an OSError where a file cannot be written, or is there and must not be written over.

    To find out, a file beside it is made and removed.
    """
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder. Name a file in it.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileExistsError(f"{path} is no file that can be replaced. Name another.")
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path} is there already. {remedy}")
    folder = path.absolute().parent
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"The folder of {path} is not there. Make it first.")
    trial = folder / f".{path.name}.{secrets.token_hex(_LONGEST_ENDING)}"
    try:
        with trial.open("xb") as file:
            file.write(bytes(_BLOCK))  # some room is needed, too
    except OSError as error:
        raise type(error)(f"{path} cannot be written: {error.strerror}. Name another file, or mend that.") from error
    finally:
        with contextlib.suppress(OSError):
            trial.unlink()


@contextlib.contextmanager
def replaced_whole(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """Give the name of a file beside `path`, which takes its place when the block ends; an error leaves it as it was.

    Also a power cut leaves either the old file or the new one. Without `overwrite` a file that is there in the end
    stays, and a FileExistsError is raised.
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
        _put(name, path, overwrite)
        _write_through(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def write_atomically(path: Path, content: bytes, overwrite: bool = True) -> None:
    """Write a file whole, or leave what was there."""
    with replaced_whole(path, overwrite) as new:
        new.write_bytes(content)


def _put(new: str | Path, path: Path, overwrite: bool) -> None:
    try:
        if overwrite or not _linked(new, path):
            os.replace(new, path)
        else:
            os.unlink(new)
    except FileExistsError as error:
        raise FileExistsError(f"{path} is there by now, and was not before. It is left as it is.") from error


def _linked(new: str | Path, path: Path) -> bool:
    """Give a file a second name that no other has; where there are no links only take that name, and say so."""
    try:
        os.link(new, path)
    except FileExistsError:
        raise
    except OSError:
        path.touch(exist_ok=False)
        return False
    return True


def _write_through(path: str | Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name != "posix" and os.path.isdir(path):  # only POSIX opens folders
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
