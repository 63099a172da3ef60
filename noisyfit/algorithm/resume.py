"""All that changes while a fit runs, gathered into a state after an epoch, and put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ..files.checkpoint import NoCheckpoint
from ..files.states import check_count, check_numbers
from ..judgement.decision import Judgement, judgement_from
from ..judgement.noise_matrix import NoiseMatrix
from ..machine.random_state import global_generators
from ..nets.net import JointNet
from .begin import BeginRule
from .labels import LabelStore
from .problem import Problem
from .progress import EpochLog
from .trainer import Trainer

__all__ = ["Blocks", "SavedTraining", "restore_labels"]

# numbers in the state of a Mersenne Twister: how many are left and which follows add up to one more
_N_OF_TWISTER = 624


@dataclass
class Blocks:
    """The three unknowns of the optimisation, and what was concluded from them."""

    net: JointNet
    labels: LabelStore
    noise: NoiseMatrix
    judgement: Judgement | None = None


@dataclass
class SavedTraining:
    """One of the two steps of training, with the checkpoint that it is written to after its epochs.

    Parameters
    ----------
    checkpoint : NoCheckpoint
        Where to.
    step : int
        1 or 2.
    blocks, trainer, begin, log, generator, problem
        What changes in the training.
    """

    checkpoint: NoCheckpoint
    step: int
    blocks: Blocks
    trainer: Trainer
    begin: BeginRule
    log: EpochLog
    generator: torch.Generator
    problem: Problem

    def resume(self) -> int:
        """Go back to the last state of this step, if there is one; give the number of epochs that are done."""
        state = self.checkpoint.load(self.step)
        if state is None:
            if self.step == 1:  # that there is room, and that all of it can be written, is to be known before training
                self.after_epoch(0)
            return 0
        epoch: int = state["epoch"]
        with self.checkpoint.told_apart():
            check_count("the epoch", epoch, high=self.trainer.stage.max_epochs)
            self._restore(state["parts"], epoch)
        return epoch

    def after_epoch(self, epoch: int) -> None:
        """Write the state."""
        self.checkpoint.after_epoch(self.step, epoch, self._gather)

    def _gather(self) -> dict[str, Any]:
        blocks = self.blocks
        return {
            "classes": self.problem.classes,
            "class_prior": self.problem.class_prior,
            "labels": blocks.labels.state_dict(),
            "noise": blocks.noise.state_dict(),
            "judgement": blocks.judgement,
            "trainer": self.trainer.state_dict(),
            "begin": self.begin.state_dict(),
            "log": self.log.state_dict(),
            # dropout draws otherwise in each process
            "random": self.trainer.ranks.gather([generator.get_state() for generator in self._generators()]),
        }

    def _restore(self, parts: dict[str, Any], epoch: int) -> None:
        restore_labels(self.blocks, self.problem, self.log, parts)
        if (parts["labels"]["memory"] is None) != (self.step > 1) or self.log.n_epochs_of(self.step) != epoch:
            raise ValueError(f"it holds no state after epoch {epoch} of step {self.step}")
        self.trainer.load_state_dict(parts["trainer"])
        self.begin.load_state_dict(parts["begin"])
        if self.blocks.noise.stepped:
            self.trainer.train_on_all()
        random = parts["random"][self.trainer.ranks.rank]
        for generator, state in zip(self._generators(), random, strict=True):  # last: making things draws
            _check_random(state, generator)
            generator.set_state(state)

    def _generators(self) -> list[torch.Generator]:
        own = (self.generator, self.problem.rows.generator)
        return [*global_generators(self.problem.device), *(generator for generator in own if generator is not None)]


def restore_labels(blocks: Blocks, problem: Problem, log: EpochLog, parts: dict[str, Any]) -> None:
    """Put back all of a state but the network; raise a ValueError for one of other rows or classes."""
    prior = parts["class_prior"]
    check_numbers("the class prior", prior, torch.float32, problem.class_prior.shape, 0, 1.001)
    problem.class_prior.copy_(prior)  # the tensor that the objective holds
    blocks.labels.load_state_dict(parts["labels"])
    blocks.noise.load_state_dict(parts["noise"])
    blocks.judgement = judgement_from(parts["judgement"], len(problem.codes), len(problem.classes))
    log.load_state_dict(parts["log"])


def _check_random(state: Any, generator: torch.Generator) -> None:
    """Raise a ValueError for the state of another generator, or one that would read its numbers past their end."""
    check_numbers("the random state", state, torch.uint8, generator.get_state().shape)
    if generator.device.type == "cpu":
        left, following = int(state[8:12].view(torch.int32)), int(state[16:24].view(torch.int64))
        new = (left, following) == (1, 0)
        if not new and not (1 <= left <= _N_OF_TWISTER and left + following == _N_OF_TWISTER + 1):
            raise ValueError("the random state counts other numbers than there are")
