"""All that changes in a fit, in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Annotated, Any, get_type_hints

import torch
from torch import Tensor

from ..files.states import check_count, check_like, check_numbers, outline
from ..judgement.decision import Judgement, judgement_from
from ..judgement.noise_matrix import NoiseMatrix
from ..nets.ensembles import Ensemble
from ..nets.net import JointNet
from .begin import Waiting
from .labels import Change, Labels
from .outputs import Outputs
from .progress import check_rows
from .trainer import MeanSoFar

__all__ = ["FitState", "Phase"]


class Phase(StrEnum):
    """How far a fit is."""

    GIVEN = "given"  # networks learn the labels as given
    MOVING = "moving"  # labels follow the networks
    JUDGED = "judged"  # labels are decided
    RETRAINING = "retraining"  # a new network learns them

    def packed(self) -> str:
        """Give its name."""
        return self.value

    @property
    def step(self) -> int:
        """The paper's step of the training, 1 or 2."""
        return 2 if self is Phase.RETRAINING else 1


def _as_phase(kept: Any, state: FitState) -> Phase:
    if kept not in {phase.value for phase in Phase}:
        raise ValueError(f"there is no phase of a fit that is {outline(kept)}")
    return Phase(kept)


def _as_count(kept: Any, state: FitState) -> int:
    check_count("the epoch", kept)
    return int(kept)


def _as_prior(kept: Any, state: FitState) -> Tensor:
    check_numbers("the class prior", kept, torch.float32, state.class_prior.shape, 0, 1.001)
    prior: Tensor = kept.to(state.class_prior.device)
    return prior


def _as_mean(kept: Any, state: FitState) -> MeanSoFar:
    log_mean, n_batches = kept
    check_count("batches of the mean prediction", n_batches)
    if log_mean is None:
        return MeanSoFar(None, n_batches)
    module, n_classes = state.net.module_, state.labels.n_classes
    shape = [module.n_networks, n_classes] if isinstance(module, Ensemble) else [n_classes]
    check_numbers("the mean prediction", log_mean, torch.float32, shape, high=1.0)
    return MeanSoFar(log_mean.to(state.class_prior.device), n_batches)


def _as_judgement(kept: Any, state: FitState) -> Judgement | None:
    return judgement_from(kept, len(state.labels.codes), state.labels.n_classes)


def _as_changes(kept: Any, state: FitState) -> tuple[Change, ...]:
    device = state.labels.codes.device
    for rows, new in kept:
        check_numbers("rows with a new label", rows, torch.int64, [None], 0, len(state.labels.codes) - 1)
        check_numbers("their new labels", new, torch.int64, rows.shape, 0, state.labels.n_classes - 1)
    return tuple((rows.to(device), new.to(device)) for rows, new in kept)


def _as_history(kept: Any, state: FitState) -> tuple[dict[str, Any], ...]:
    return check_rows(kept)


def _as_flag(kept: Any, state: FitState) -> bool:
    check_like("whether a callback asked to stop", kept, False)
    return bool(kept)


@dataclass(frozen=True)
class FitState:
    """A fit after an epoch. A step of the algorithm takes one and gives the next.

    What is large changes in place: a theta-step trains `net` and fills `outputs`, and the next soft labels are made in
    the memory of those before. So a state is good until the next one is made.
    """

    phase: Annotated[Phase, _as_phase]
    epoch: Annotated[int, _as_count]  # done in this step of the training
    net: JointNet  # network and optimizer
    labels: Labels
    outputs: Outputs | None  # of the last epochs; None where no more labels are made from them
    noise: NoiseMatrix
    class_prior: Annotated[Tensor, _as_prior]  # (n_classes,), float32
    waiting: Waiting  # for the first update of the labels
    mean: Annotated[MeanSoFar, _as_mean]  # prediction, where it is one of many batches
    judgement: Annotated[Judgement | None, _as_judgement] = None
    changes: Annotated[tuple[Change, ...], _as_changes] = ()  # of each update
    history: Annotated[tuple[dict[str, Any], ...], _as_history] = ()  # a row an epoch
    stopped: Annotated[bool, _as_flag] = False  # whether a callback asked to

    def after(self, **changes: Any) -> FitState:
        """Give the state with some parts replaced."""
        return replace(self, **changes)

    def packed(self) -> dict[str, Any]:
        """Give all of it as a tree of numbers, texts and tensors."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: value.packed() if hasattr(value, "packed") else value for name, value in parts.items()}

    def restored(self, kept: Any) -> FitState:
        """Give back what `packed` gave, on a state with the same make; raise a ValueError where that differs.

        A part knows how to restore itself, or its type is annotated with a function that gives it back.
        """
        parts: dict[str, Any] = {}
        for name, kind in get_type_hints(FitState, include_extras=True).items():
            own, (check, *_) = getattr(self, name), getattr(kind, "__metadata__", (None,))
            if check is not None:
                parts[name] = check(kept[name], self)
            elif own is not None:
                parts[name] = own.restored(kept[name])
            else:
                check_like(f"the {name}", kept[name], None)
                parts[name] = None
        state = FitState(**parts)
        _check_together(state, self)
        return state


def _check_together(state: FitState, like: FitState) -> None:
    """Raise a ValueError where the parts of a state, each of which is right alone, do not fit each other."""
    phase, steps = state.phase, [row["step"] for row in state.history]
    if phase is Phase.JUDGED or phase.step != like.phase.step:
        raise ValueError(f"it holds a fit that is {phase.value}")
    if steps != sorted(steps) or not set(steps) <= {1, phase.step} or steps.count(phase.step) != state.epoch:
        raise ValueError(f"its history does not end with epoch {state.epoch} of step {phase.step}")
    moved = bool(state.changes) and state.labels.soft is not None
    if phase is Phase.GIVEN and (state.changes or state.labels.soft is not None or state.judgement is not None):
        raise ValueError("it holds labels that have moved in a fit whose labels are as given")
    if phase is Phase.MOVING and not (moved and state.judgement is None and state.outputs and state.outputs.n_epochs):
        raise ValueError("it lacks labels or outputs of a fit whose labels have moved")
    if state.waiting.n_epochs > state.epoch:
        raise ValueError(f"it has waited for {state.waiting.n_epochs} of {state.epoch} epochs")
