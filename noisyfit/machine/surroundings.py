"""What a caller, or a fork, has changed around us, and how it is before that: a result depends on parameters alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import numpy as np
import torch

__all__ = ["usual_surroundings"]

_process = {"is_forked": False}


def _note_fork() -> None:
    _process["is_forked"] = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


@contextlib.contextmanager
def usual_surroundings() -> Iterator[None]:
    """Compute as in a fresh process inside the block: gradients as asked for, no autocast, new tensors on the CPU.

    Only for this thread, but for the number of threads of a forked process.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_usable_threads())
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


@contextlib.contextmanager
def _usable_threads() -> Iterator[None]:
    """Limit torch to one thread inside the block, in a forked process; put its setting back after it.

    OpenMP's threads do not survive a fork, and the first computation that waits for them would wait for ever.
    """
    n_threads = torch.get_num_threads()
    if not _process["is_forked"] or n_threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
