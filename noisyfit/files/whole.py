"""Files that are never left half written, nor written over unasked."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = ["check_may_write", "replaced_whole", "write_atomically"]

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
    trial = _new_name_in(folder)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.lstat(path)  # its name may be too long, and the trial's is short
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

    Also a power cut leaves either the old file or the new one. Who may read and write a file stays as it was. Without
    `overwrite` a file that is there in the end stays, and a FileExistsError is raised.
    """
    new = _new_name_in(path.absolute().parent)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL, 0o666))  # less what the umask takes away
    try:
        mode = _mode_of(path) or _mode_of(new)
        yield new
        os.chmod(new, mode)  # what has written it may have made it anew, for its owner alone
        _write_through(new)
        _put(new, path, overwrite)
        _write_through(new.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def write_atomically(path: Path, content: bytes, overwrite: bool = True) -> None:
    """Write a file whole, or leave what was there."""
    with replaced_whole(path, overwrite) as new:
        new.write_bytes(content)


def _new_name_in(folder: Path) -> Path:
    """Give a name that no file has; short, for that of the file to be written may be as long as names can be."""
    return folder / f".noisyfit-{secrets.token_hex(8)}"


def _mode_of(path: Path) -> int:
    """Say who may do what with a file, 0 where there is none."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return 0


def _put(new: Path, path: Path, overwrite: bool) -> None:
    """Give a new file its name, which without `overwrite` no other may have taken meanwhile."""
    if overwrite:
        os.replace(new, path)
        return
    try:
        _take(new, path)
    except FileExistsError as error:
        raise FileExistsError(f"{path} is there by now, and was not before. It is left as it is.") from error


def _take(new: Path, path: Path) -> None:
    try:
        os.link(new, path)  # the one call that never replaces
        os.unlink(new)
    except FileExistsError:
        raise
    except OSError:  # no links here
        path.touch(exist_ok=False)
        try:
            os.replace(new, path)
        except BaseException:
            path.unlink()
            raise


def _write_through(path: str | Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name != "posix" and os.path.isdir(path):  # only POSIX opens folders
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
