"""Checkpoints: what a fit knows after an epoch, in a folder, so that a fit that was cut goes on from there.

Each fit has a folder of its own in the folder that users name, called by the fingerprint of its data and parameters.
In it lie the states after the last two epochs that were written, or, when the fit is finished, its result.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._validation import is_of_memory
from ..machine.ranks import Ranks
from .states import UNFIT, check_count, read_state, write_state

fcntl: Any
try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None

__all__ = ["Checkpoint", "NoCheckpoint", "open_checkpoint"]

_KEPT = 2  # epochs: the last one, and one in case that it gets damaged
_RESULT = "result.safetensors"
_SHORT = 1.0  # seconds; states that are written in less are written after every epoch
_LARGEST_SHARE = 0.1  # of the time that training takes, for writing the others


class NoCheckpoint:
    """Stands in for a checkpoint where none was asked for."""

    def begin(self, seed: int) -> int:
        """Give the seed to train with."""
        return seed

    def load(self, step: int) -> dict[str, Any] | None:
        """Give the last state, if it is of this step of the training or a later one."""
        return None

    @contextlib.contextmanager
    def told_apart(self) -> Iterator[None]:
        """Say which file it is, and what to do about it, where what was read turns out to be no state of this fit."""
        yield

    def after_epoch(self, step: int, epoch: int, state: Any) -> None:
        """Write what the callable `state` gives."""

    def result(self) -> dict[str, Any] | None:
        """Give the result of a finished fit."""
        return None

    def finish(self, result: Any) -> None:
        """Write what the callable `result` gives, and remove what is no longer needed."""


class Checkpoint(NoCheckpoint):
    """The states of one fit, which several processes or threads may run at once: each writes the same ones.

    Parameters
    ----------
    folder : Path
        Of this fit alone; made if need be.
    ranks : Ranks
        The processes of the training: all read, the first one writes.
    """

    def __init__(self, folder: Path, ranks: Ranks):
        self.folder, self._ranks = folder, ranks
        self._last: dict[str, Any] | None = None
        self._seed = -1
        self._read_from, self._earlier = folder, list[Path]()
        self._not_before = 0.0  # when to write next

    def begin(self, seed: int) -> int:
        """Read the last state, if there is one; give the seed it was trained with, otherwise the one given."""
        while self._last is None and (written := self._written()):
            with contextlib.suppress(FileNotFoundError):  # another one that runs the same fit is past it
                last = self._read(written[-1], written[:-1])
                with self.told_apart():
                    self._last = _checked_head(last, written[-1].name)
        self._check_same(0 if self._last is None else self._last["step"] * 10**6 + self._last["epoch"])
        self._seed = seed if self._last is None else self._last["seed"]
        return self._seed

    def load(self, step: int) -> dict[str, Any] | None:
        """Give the last state, if it is of this step of the training or a later one."""
        return self._last if self._last is not None and self._last["step"] >= step else None

    def after_epoch(self, step: int, epoch: int, state: Any) -> None:
        """Write what the callable `state` gives, if it is time to; the state before stays until then."""
        began = time.perf_counter()
        if not self._ranks.agree_on(int(began >= self._not_before)):
            return
        parts = state()  # in all processes of a training, which exchange their random states
        is_finished = (self.folder / _RESULT).exists()  # by another one that runs the same fit
        if is_finished or not self._ranks.is_first:
            return
        content = {"seed": self._seed, "step": step, "epoch": epoch, "parts": parts}
        self._write(f"step{step}-epoch{epoch:06}.safetensors", "checkpoint", content)
        self._last = None  # not needed any more
        for old in self._written()[:-_KEPT]:
            old.unlink(missing_ok=True)
        now = time.perf_counter()
        if now - began > _SHORT:
            self._not_before = now + (now - began) / _LARGEST_SHARE

    @contextlib.contextmanager
    def told_apart(self) -> Iterator[None]:
        """Say which file it is, and what to do about it, where what was read turns out to be no state of this fit."""
        try:
            yield
        except UNFIT as error:
            if is_of_memory(error):
                raise
            raise self._refused(f"{self._read_from} does not fit this fit: {_told(error)}.") from error

    def result(self) -> dict[str, Any] | None:
        """Give the result of a finished fit."""
        path = self.folder / _RESULT
        state = self._read(path, []) if path.exists() else None
        with self.told_apart():
            fit: dict[str, Any] | None = None if state is None else state["fit"]
        self._check_same(int(fit is not None))
        self._ranks.wait()  # before the first one writes
        return fit

    def finish(self, result: Any) -> None:
        """Write what the callable `result` gives, and remove what is no longer needed."""
        if not self._ranks.is_first:
            return
        self._write(_RESULT, "result", {"fit": result()})
        for path in self._written():
            path.unlink(missing_ok=True)
        with _lock(self.folder, exclusive=True) as nobody_writes:
            if nobody_writes:
                for path in self.folder.glob(".*"):  # what a killed process has left behind
                    with contextlib.suppress(OSError):  # others may have made folders there
                        path.unlink()

    def _write(self, name: str, kind: str, content: dict[str, Any]) -> None:
        with _lock(self.folder, exclusive=False):
            write_state(self.folder / name, kind, content)

    def _check_same(self, found: int) -> None:
        """Raise where the first process has found another state."""
        if self._ranks.agree_on(found) != found:
            raise ValueError(
                f"`checkpoint` must be a folder that all processes share; in {self.folder} this one has found another "
                "state than the first one. Name one that they share. Where the same fit ran twice, start it again."
            )

    def _written(self) -> list[Path]:
        return sorted(self.folder.glob("step*.safetensors"))

    def _read(self, path: Path, earlier: list[Path]) -> dict[str, Any]:
        kind = "result" if path.name == _RESULT else "checkpoint"
        self._read_from, self._earlier = path, earlier
        try:
            return read_state(path, kind)
        except ValueError as error:
            raise self._refused(str(error)) from error

    def _refused(self, reason: str) -> ValueError:
        instead = f"go on from {self._earlier[-1].name}" if self._earlier else "begin anew"
        return ValueError(f"{reason} Delete this file to {instead}.")


def _checked_head(state: dict[str, Any], name: str) -> dict[str, Any]:
    """Raise a ValueError unless a state says itself what its name says."""
    for name_of, low, high in (("seed", 0, (1 << 32) - 1), ("step", 1, 2), ("epoch", 0, 1 << 31)):
        check_count(f"the {name_of}", state[name_of], low, high)
    if name != f"step{state['step']}-epoch{state['epoch']:06}.safetensors":
        raise ValueError("it holds the state of another epoch")
    return state


def _told(error: Exception) -> str:
    return str(error).rstrip(".") if isinstance(error, ValueError) else f"{type(error).__name__}, {error}"


@contextlib.contextmanager
def _lock(folder: Path, exclusive: bool) -> Iterator[bool]:
    """Keep others from writing in a folder, if nobody does now; not `exclusive`: from removing what is half written.

    Gives whether it is so; there are systems and file systems without such locks.
    """
    with contextlib.ExitStack() as stack:
        locked = False
        if fcntl is not None:
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
                locked = True
        yield locked


def open_checkpoint(checkpoint: Any, name: str, ranks: Ranks | None = None) -> Checkpoint:
    """Give the checkpoint of a fit of that name in the folder of the parameter `checkpoint`; raise if it is no use."""
    folder = Path(checkpoint) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.probe"
        probe.touch()
    except OSError as error:
        raise type(error)(
            error.errno,
            f"`checkpoint` must be a folder that can be written to, got {str(checkpoint)!r}: {error.strerror}",
        ) from error
    with contextlib.suppress(OSError):
        probe.unlink()
    return Checkpoint(folder, ranks or Ranks())
