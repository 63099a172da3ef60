"""What a fit publishes, by its state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..judgement.decision import Judgement
from ..judgement.settling import NOTHING_JUDGED, Inquiry, published
from ..report import TrainingLabels
from .labels import keep_within_margin
from .problem import Problem
from .state import FitState

__all__ = ["fitted_attributes", "inquire"]


def fitted_attributes(state: FitState, problem: Problem, margin: float) -> dict[str, Any]:
    """Give the fitted attributes, as of now; they share no memory that a later step changes."""
    concluded, corrected = _judged(state, problem, margin) if state.judgement else _unjudged(state, problem, margin)
    changes = [(rows.cpu().numpy(), new.cpu().numpy()) for rows, new in state.changes]
    return {
        "classes_": problem.classes,
        "class_prior_": state.class_prior.cpu().numpy().astype(np.float64),
        "history_": pd.DataFrame(list(state.history)),
        "n_iter_": sum(row["step"] == 1 for row in state.history),
        "net_": state.net,
        **concluded,
        "_input_kind_": problem.input_kind,
        "_training_labels_": TrainingLabels(problem.codes, corrected, problem.row_index, changes),
    }


def inquire(judgement: Judgement, problem: Problem, margin: float) -> Inquiry:
    """Add to a judgement what people knew of rows before the fit."""
    return Inquiry(problem.codes, judgement, margin, problem.groups, problem.checks, at_fit=problem.checks)


def _judged(state: FitState, problem: Problem, margin: float) -> tuple[dict[str, Any], NDArray[np.int64]]:
    assert state.judgement is not None
    inquiry = inquire(state.judgement, problem, margin)
    settled, promise = inquiry.settled()
    of_inquiry = {"_inquiry_": inquiry, "_promise_": promise, "_bearings_": settled.bearings}
    return published(settled, problem.codes, problem.classes) | of_inquiry, settled.corrected


def _unjudged(state: FitState, problem: Problem, margin: float) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Say of labels what training says, where there is nothing to judge by."""
    soft_labels = state.labels.distributions().cpu().numpy()
    soft_labels = soft_labels.copy() if state.outputs is not None else soft_labels  # the next update takes its place
    known = problem.checks.answered()
    codes = keep_within_margin(soft_labels, state.labels.codes.cpu().numpy().copy(), problem.codes, margin)
    codes[known.rows] = known.labels
    unjudged = {
        "corrected_labels_": problem.classes[codes],
        "noise_rate_": float(1 - soft_labels[np.arange(len(codes)), problem.codes].mean(dtype=np.float64)),
        "soft_labels_": soft_labels,
        "transition_matrix_": state.noise.matrix.numpy(),
    }
    return NOTHING_JUDGED | unjudged, codes
