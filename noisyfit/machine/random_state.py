"""The global random state, which networks draw from: seeded for a fit, and put back; threads take turns."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["global_generators", "isolated_rng", "out_of_turn"]

_SLICE = 0.05  # seconds that a fit goes on for at least, while another thread waits
_RNG_LOCK = threading.RLock()
_NEXT_IN_TURN = threading.Lock()  # held by the thread that waits for the other lock, before all that come later
_LOCK_OF_A_THREAD_LEFT_BEHIND = threading.Event()


def _note_lock() -> None:
    """Note, in a forked process, that a thread held the lock which is not here to give it back."""
    global _NEXT_IN_TURN
    _NEXT_IN_TURN = threading.Lock()
    if _RNG_LOCK.acquire(blocking=False):
        _RNG_LOCK.release()
    else:
        _LOCK_OF_A_THREAD_LEFT_BEHIND.set()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_lock)


class _Turn:
    """The time in which a thread has torch's global random state and default dtype, also in parts."""

    def __init__(self, generators: list[torch.Generator], outer: _Turn | None):
        self.is_inner = outer is not None and outer.is_on  # of a fit inside a fit
        self._generators = generators
        self._outside: list[Tensor] | None = None

    @property
    def is_on(self) -> bool:
        """Whether it has it now."""
        return self._outside is not None

    def begin(self) -> None:
        """Wait for it; remember what others have left."""
        if not self.is_inner:
            with _NEXT_IN_TURN:
                _RNG_LOCK.acquire()
        self.began, self._dtype = time.perf_counter(), torch.get_default_dtype()
        self._outside = [generator.get_state() for generator in self._generators]
        torch.set_default_dtype(torch.float32)

    def end(self) -> list[Tensor]:
        """Put back what others have left; give the states that were reached."""
        assert self._outside is not None
        reached = [generator.get_state() for generator in self._generators]
        self._set(self._outside)
        torch.set_default_dtype(self._dtype)
        self._outside = None
        if not self.is_inner:
            _RNG_LOCK.release()
        return reached

    def leave(self) -> None:
        """End it for good, also where Ctrl-C has come while it waited, began or ended."""
        try:
            if self.is_on:
                self.end()
        finally:
            if not self.is_inner:
                with contextlib.suppress(RuntimeError):  # of a lock that this thread does not hold (any more)
                    _RNG_LOCK.release()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Let other threads have it inside the block, and go on after it."""
        reached = self.end()
        try:
            yield
        finally:
            self.begin()
            self._set(reached)

    def _set(self, states: list[Tensor]) -> None:
        for generator, state in zip(self._generators, states, strict=True):
            generator.set_state(state)


class _OfThread(threading.local):
    turn: _Turn | None = None


_of_thread = _OfThread()


@contextlib.contextmanager
def isolated_rng(seed: int, device: torch.device) -> Iterator[torch.Generator]:
    """Seed torch inside the block and put its global state back after it; give a generator of the same seed.

    Initial weights and dropout draw from torch's global state, so threads take turns. New tensors are float32 in it.
    """
    if _LOCK_OF_A_THREAD_LEFT_BEHIND.is_set():  # torch's own locks may be held as well, and waiting would be for ever
        raise RuntimeError(
            "This process was forked while another thread was fitting, so that no fit can be started in it. Fork "
            "before, or start processes by 'spawn' or 'forkserver', as joblib does."
        )
    generators, outer = global_generators(device), _of_thread.turn
    _of_thread.turn = turn = _Turn(generators, outer)
    try:
        turn.begin()
        for generator in generators:
            generator.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)
    finally:
        turn.leave()
        _of_thread.turn = outer


@contextlib.contextmanager
def out_of_turn() -> Iterator[None]:
    """Let other threads draw random numbers while the block, which draws none, waits for one of them."""
    turn = _of_thread.turn
    can_pause = turn is not None and turn.is_on and not turn.is_inner
    with turn.paused() if turn is not None and can_pause else contextlib.nullcontext():
        yield


def give_way() -> None:
    """Let another thread that waits to draw random numbers do so, if this one has drawn for a while."""
    turn = _of_thread.turn
    if turn is not None and _NEXT_IN_TURN.locked() and time.perf_counter() - turn.began > _SLICE:
        with out_of_turn():
            pass


def global_generators(device: torch.device) -> list[torch.Generator]:
    """Give the generators that networks on a device draw from."""
    generators = [torch.default_generator]
    if device.type == "cuda":  # other GPUs are not even woken up
        torch.cuda.init()
        number = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[number])
    return generators
