"""The state of a running fit in a checkpoint, with all random states, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ..files.checkpoint import NoCheckpoint
from ..files.states import check_numbers
from ..machine.random_state import global_generators
from ..machine.ranks import Ranks
from .problem import Problem
from .state import FitState

__all__ = ["SavedFit"]

# numbers in the state of a Mersenne Twister: how many are left and which follows add up to one more
_N_OF_TWISTER = 624


@dataclass
class SavedFit:
    """Where a fit is written to after its epochs.

    Parameters
    ----------
    checkpoint : NoCheckpoint
        The folder.
    problem : Problem
        The data.
    generator : torch.Generator
        Of the order of rows.
    ranks : Ranks
        The processes that train together: dropout draws otherwise in each.
    """

    checkpoint: NoCheckpoint
    problem: Problem
    generator: torch.Generator
    ranks: Ranks

    def is_in_step(self, step: int) -> bool:
        """Whether a fit before was cut in this step of the training or a later one."""
        return self.checkpoint.load(step) is not None

    def resumed(self, state: FitState, max_epochs: int) -> FitState:
        """Give the last state that was written in the step of a state, or that state where there is none.

        Call it when callbacks know that training has begun: schedules are made then.
        """
        kept = self.checkpoint.load(state.phase.step)
        if kept is None:
            if state.phase.step == 1:  # that there is room, and that all of it can be written, is known before training
                self.write(state)
            return state
        with self.checkpoint.told_apart():
            state = state.restored(kept["parts"]["state"])
            if state.epoch != kept["epoch"] or state.epoch > max_epochs:
                raise ValueError(f"it holds the state after epoch {state.epoch}")
            random = kept["parts"]["random"][self.ranks.rank]
            for generator, own in zip(self._generators(), random, strict=True):  # last: making things draws
                _check_random(own, generator)
                generator.set_state(own)
        return state

    def write(self, state: FitState) -> None:
        """Write a state, if it is time to."""
        self.checkpoint.after_epoch(state.phase.step, state.epoch, lambda: self._parts(state))

    def _parts(self, state: FitState) -> dict[str, Any]:
        random = self.ranks.gather([generator.get_state() for generator in self._generators()])
        return {"classes": self.problem.classes, "state": state.packed(), "random": random}

    def _generators(self) -> list[torch.Generator]:
        own = (self.generator, self.problem.rows.generator)
        return [*global_generators(self.problem.device), *(generator for generator in own if generator is not None)]


def _check_random(state: Any, generator: torch.Generator) -> None:
    """Raise a ValueError for the state of another generator, or one that would read its numbers past their end."""
    check_numbers("the random state", state, torch.uint8, generator.get_state().shape)
    if generator.device.type == "cpu":
        left, following = int(state[8:12].view(torch.int32)), int(state[16:24].view(torch.int64))
        new = (left, following) == (1, 0)
        if not new and not (1 <= left <= _N_OF_TWISTER and left + following == _N_OF_TWISTER + 1):
            raise ValueError("the random state counts other numbers than there are")
