"""What a process needs that was forked from one that has already computed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

__all__ = ["usable_threads"]

_process = {"is_forked": False}


def _note_fork() -> None:
    _process["is_forked"] = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


@contextlib.contextmanager
def usable_threads() -> Iterator[None]:
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
