"""Files that a command writes: checked before it works, and not lost after it has worked."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..files.whole import check_may_write, replaced_whole

__all__ = ["Outputs"]

_FORCE = "Name another file, or write over it with --force."
_LONGEST_NAME = 255  # bytes, on most file systems


class Outputs:
    """The files of one run of a command.

    Attributes
    ----------
    force : bool
        Whether files that are there are replaced.
    written : list of Path
        What has been written so far, wherever it went.
    failed : bool
        Whether something could not be written, or not where it was to go.
    """

    def __init__(self, force: bool):
        self.force = force
        self.written: list[Path] = []
        self.failed = False

    def check(self, outputs: Sequence[Path | None], inputs: Sequence[Path | None]) -> None:
        """Raise where a file to write is there, cannot be written, is one that is read, or is to be written twice."""
        written = [path for path in outputs if path is not None]
        for path in written:
            check_may_write(path, self.force, _FORCE)
        files = [_file_of(path) for path in written]
        if len(set(files)) < len(files):
            raise ValueError(f"The files to write must differ, got {', '.join(map(str, written))}.")
        for read in inputs:
            if read is not None and _file_of(read) in files:
                raise ValueError(f"{read} is read: name another file to write.")

    def write(self, path: Path, write: Callable[[Path], Any]) -> None:
        """Write a file by what is given a name to write to, and warn of what that gives as text.

        The file gets its own name when it is written whole: what writes it need not see to that.

        Where it cannot be written, or has appeared meanwhile, it goes beside it under another name, or else into a
        temporary folder. What goes wrong is said, and others can still be written.
        """
        try:
            self._write(path, write, self.force)
        except OSError as error:
            self._complain(error)
            self._write_elsewhere(path, write)
        except (ValueError, TypeError, ImportError) as error:  # of what was to be written
            self._complain(f"{path} was not written. {error}")

    def told(self) -> list[str]:
        """Say what has been written."""
        return [f"written: {path}" for path in self.written]

    def _write_elsewhere(self, path: Path, write: Callable[[Path], Any]) -> None:
        for name in (_free_name, _name_in_temporary_folder):
            with contextlib.suppress(OSError):
                other = name(path)
                self._write(other, write, False)
                self._complain(f"what was to go to {path} is in {other}")
                return

    def _write(self, path: Path, write: Callable[[Path], Any], overwrite: bool) -> None:
        ours = None
        try:
            with replaced_whole(path, overwrite) as new:
                warning = write(new)
                ours = _file_of(new)
        finally:  # also where Ctrl-C comes after it has got its name
            if ours == _file_of(path):
                self.written.append(path)
        if isinstance(warning, str) and warning:
            print(f"noisyfit: warning: {path} has {warning}", file=sys.stderr)

    def _complain(self, message: Any) -> None:
        self.failed = True
        print(f"noisyfit: {message}", file=sys.stderr)


def _file_of(path: Path) -> Any:
    """Give the same for all names of one file, whether it is there or not."""
    try:
        found = path.stat()
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def _free_name(path: Path) -> Path:
    names = (_numbered(path, number) for number in itertools.count(1))
    return next(name for name in names if not os.path.lexists(name))


def _numbered(path: Path, number: int) -> Path:
    stem, ending = path.stem, f"-{number}{path.suffix}"
    while stem and len(os.fsencode(stem + ending)) > _LONGEST_NAME:
        stem = stem[:-1]
    return path.with_name(stem + ending)


def _name_in_temporary_folder(path: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix="noisyfit-"), path.name)
