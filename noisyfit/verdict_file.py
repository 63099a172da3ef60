"""A verdict about labels as a file beside its review page, so that decisions made there can settle the other labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .decision import judgement_from
from .settling import describe_inquiry, inquiry_from
from .state_files import read_state, write_state
from .verdict import Verdict

__all__ = ["KeptRows", "KeptVerdict", "read_verdict", "write_verdict"]

_KIND = "verdict"


class KeptRows(NamedTuple):
    """Which rows of a table a verdict is about."""

    places: NDArray[np.int64]
    n_rows: int  # of the table
    column: str  # of the labels
    names: NDArray[np.str_] | None  # of those rows


class KeptVerdict(NamedTuple):
    """A verdict, whose rows are numbered, and what it is about."""

    verdict: Verdict
    about: KeptRows


def write_verdict(path: Path, judged: Any, about: KeptRows) -> None:
    """Write what a classifier or a verdict says of labels, without any network."""
    inquiry = judged._inquiry_
    state = {
        "classes": judged.classes_,
        "given": inquiry.given,
        "judgement": inquiry.judgement,
        "inquiry": describe_inquiry(inquiry),
        "about": about,
    }
    write_state(path, _KIND, state)


def read_verdict(path: Path) -> KeptVerdict:
    """Read it back; raise a ValueError for a file that is damaged or of another kind."""
    state = read_state(path, _KIND)
    try:
        judgement = judgement_from(state["judgement"])
        assert judgement is not None
        inquiry = inquiry_from(state["given"], judgement, state["inquiry"])
        return KeptVerdict(Verdict(inquiry, state["classes"], None), KeptRows(*state["about"]))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, AssertionError) as error:
        raise ValueError(f"{path} is damaged: its parts do not fit each other ({error}).") from error
