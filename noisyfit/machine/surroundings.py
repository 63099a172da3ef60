"""What a caller, or a fork, has changed around us, and how it is before that: a result depends on parameters alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

from .threads import one_thread

__all__ = ["usual_surroundings"]


@contextlib.contextmanager
def usual_surroundings() -> Iterator[None]:
    """Compute as in a fresh process inside the block: gradients as asked for, no autocast, new tensors on the CPU,
    one thread.

    Only for this thread of the caller's.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(one_thread())
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield
