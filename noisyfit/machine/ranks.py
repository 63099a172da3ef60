"""Several processes that train one network together, by torch.distributed; usually one process alone.

Every process has all rows, labels and weights. Of each batch it computes its own part; logits are exchanged, so that
each works out the objective of the whole batch, and gradients are added up. So all take the same steps, and labels are
the same everywhere without being sent.
"""

from __future__ import annotations

import atexit
import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["Ranks", "find_ranks", "local_rank"]

_FEWEST_ROWS = 2  # in a part of a batch: what batch normalisation can take
_PATIENCE = timedelta(minutes=30)


class Ranks:
    """The processes of one training: one."""

    rank = 0
    size = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and talks to people."""
        return self.rank == 0

    @property
    def fewest_rows(self) -> int:
        """Rows that a batch must have at least."""
        return _FEWEST_ROWS * self.size

    def own_part(self, n_rows: int) -> slice:
        """Give the rows of a batch that this process computes."""
        return slice(0, n_rows)

    def whole(self, part: Tensor, own: slice, n_rows: int) -> Tensor:
        """Give the logits (..., n_rows, n_classes) of a batch, of which this process has computed a part."""
        return part

    def add_up_gradients(self, module: nn.Module) -> None:
        """Make each gradient the sum over the processes."""

    def share_weights(self, module: nn.Module) -> None:
        """Take over the first process's weights."""

    def share_buffers(self, module: nn.Module) -> None:
        """Take over the first process's buffers, such as the running means of batch normalisation."""

    def draw_apart(self) -> None:
        """Let dropout and augmentation draw something else in each process."""

    def agree_on(self, number: int) -> int:
        """Give the first process's number."""
        return number

    def gather(self, states: list[Tensor]) -> list[list[Tensor]]:
        """Give the states of each process, which are bytes of the same lengths everywhere."""
        return [states]

    def wait(self) -> None:
        """Wait for all processes."""


class _Group(Ranks):
    """Several processes."""

    def __init__(self, device: torch.device):
        self.rank, self.size, self._device = dist.get_rank(), dist.get_world_size(), device

    def own_part(self, n_rows: int) -> slice:
        return slice(n_rows * self.rank // self.size, n_rows * (self.rank + 1) // self.size)

    def whole(self, part: Tensor, own: slice, n_rows: int) -> Tensor:
        logits = part.new_zeros(*part.shape[:-2], n_rows, part.shape[-1])
        logits[..., own, :] = part.detach()
        dist.all_reduce(logits)  # of one part and zeros
        return logits

    def add_up_gradients(self, module: nn.Module) -> None:
        gradients = []
        for weight in module.parameters():
            if weight.requires_grad:
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                gradients.append(weight.grad)
        total = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(total)
        parts = total.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))  # in its own layout, which fused optimizers take for granted

    def share_weights(self, module: nn.Module) -> None:
        for weight in module.parameters():
            dist.broadcast(weight.data, src=0)
        self.share_buffers(module)

    def share_buffers(self, module: nn.Module) -> None:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)

    def draw_apart(self) -> None:
        if not self.is_first:
            torch.manual_seed(torch.default_generator.initial_seed() + self.rank)

    def agree_on(self, number: int) -> int:
        shared = torch.tensor(number, dtype=torch.int64, device=self._device)
        dist.broadcast(shared, src=0)
        return int(shared)

    def gather(self, states: list[Tensor]) -> list[list[Tensor]]:
        own = torch.cat(states).to(self._device)
        of_all = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(of_all, own)
        lengths = [len(state) for state in states]
        return [[state.clone() for state in of_one.cpu().split(lengths)] for of_one in of_all]

    def wait(self) -> None:
        dist.barrier()


def local_rank() -> int | None:
    """Give this process's number on its machine, where torchrun has started it."""
    return int(os.environ["LOCAL_RANK"]) if "TORCHELASTIC_RUN_ID" in os.environ else None


def find_ranks(device: torch.device) -> Ranks:
    """Join the other processes where there are any: torchrun's, or those of a process group of the caller."""
    if not dist.is_available():
        return Ranks()
    if not dist.is_initialized():
        if local_rank() is None or int(os.environ["WORLD_SIZE"]) == 1:
            return Ranks()
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
        atexit.register(_leave)
    return _Group(device) if dist.get_world_size() > 1 else Ranks()


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
