"""A verdict about labels as a file beside its review page, so that decisions made there can settle the other labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..files.states import UNFIT, check_count, check_numbers, read_state, write_state
from ..judgement.decision import judgement_from
from ..judgement.settling import describe_inquiry, inquiry_from
from ..report import check_labels
from ..verdict import Verdict

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
        return _verdict_from(state)
    except UNFIT as error:
        raise ValueError(f"{path} is damaged: its parts do not fit each other ({error}).") from error


def _verdict_from(state: dict[str, Any]) -> KeptVerdict:
    classes, given, about = state["classes"], state["given"], KeptRows(*state["about"])
    check_labels(classes, given)
    check_count("rows of the table", about.n_rows, low=len(given))
    check_numbers("places of the rows", about.places, "i8", given.shape, 0, about.n_rows - 1)
    if not isinstance(about.column, str):
        raise ValueError("the column of the labels must be a text")
    if about.names is not None:
        # where one is much longer than the others, a file gives them back as objects
        kind = "O" if about.names.dtype == object else "U"
        check_numbers("names of the rows", about.names, kind, given.shape)
        if not all(isinstance(name, str) for name in about.names.tolist()):
            raise ValueError("names of the rows must be texts")
    judgement = judgement_from(state["judgement"], len(given), len(classes))
    if judgement is None:
        raise ValueError("there is no judgement")
    return KeptVerdict(Verdict(inquiry_from(given, judgement, state["inquiry"]), classes, None), about)
