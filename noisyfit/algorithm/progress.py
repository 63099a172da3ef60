"""What a fit tells while it runs."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from ..files.states import check_like

__all__ = ["EpochLog", "check_rows"]

_LOG_LINES = 20  # about as many where there is no terminal
_FIGURES = ("loss", "L_c", "L_p", "L_e", "L_o", "labels_changed", "labels_corrected", "seconds")
_ROW = {"step": 1, "epoch": 1, **dict.fromkeys(_FIGURES, math.nan)}


Row = dict[str, Any]


class EpochLog:
    """Tells of a fit's epochs: a progress bar or lines for people, and what scikit-learn's callbacks hear.

    Parameters
    ----------
    context : CallbackContext
        The fit's own, with one subtask an epoch.
    told : dict
        Keyword arguments for each call of a callback.
    n_epochs : int
        Epochs of both steps.
    verbose : int
        0 is silent; above, a bar on a terminal, else about 20 lines on stderr.
    """

    def __init__(self, context: Any, told: dict[str, Any], n_epochs: int, verbose: int = 0):
        self._context, self._told, self._n_epochs = context, told, n_epochs
        self._started = self._last = time.perf_counter()
        self._verbose = verbose > 0
        self._bar = tqdm(total=n_epochs, unit="epoch") if self._verbose and sys.stderr.isatty() else None
        self._epoch_context: Any = None

    def __enter__(self) -> EpochLog:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        if self._bar is not None:
            self._bar.close()

    def go_on_after(self, rows: Sequence[Row]) -> None:
        """Count the epochs that were done before the fit was cut."""
        self._started = self._last - sum(row["seconds"] for row in rows)
        if self._bar is not None:
            self._bar.update(len(rows) - self._bar.n)

    def open_epoch(self) -> None:
        """Tell the callbacks that an epoch begins."""
        self._epoch_context = self._context.subcontext(task_name="epoch")
        self._epoch_context.call_on_fit_task_begin(**self._told)

    def seconds(self) -> float:
        """Give the time since the epoch before."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before

    def close_epoch(self, rows: Sequence[Row], attributes: Callable[[], dict[str, Any]]) -> bool:
        """Tell of the last of the epochs so far; say whether a callback asks to stop.

        `attributes` gives the fitted attributes as of now.
        """
        if self._verbose:
            self._show(rows[-1], len(rows))
        return bool(self._epoch_context.call_on_fit_task_end(**self._told, reconstruction_attributes=attributes))

    def note_judgement(self, found: float, corrected: float) -> None:
        """Say what became of the labels found wrong in training: shares of all rows."""
        if self._verbose:
            text = f"judged: labels of {corrected:.1%} of the rows corrected; training had found {found:.1%} wrong"
            print(text, file=sys.stderr, flush=True) if self._bar is None else self._bar.write(text, file=sys.stderr)

    def _show(self, row: Row, done: int) -> None:
        shares = f"labels changed {row['labels_changed']:.1%}, corrected {row['labels_corrected']:.1%}"
        figures = f"loss {row['loss']:.4f}, {shares}"
        if self._bar is not None:
            self._bar.set_postfix_str(figures, refresh=False)
            self._bar.update()
        elif done % max(1, self._n_epochs // _LOG_LINES) == 0 or done == self._n_epochs:
            left = (self._last - self._started) / done * (self._n_epochs - done)
            print(f"epoch {done}/{self._n_epochs}: {figures}, {left:.0f} s left", file=sys.stderr, flush=True)


def check_rows(kept: Any) -> tuple[Row, ...]:
    """Give back a history that a file has kept; raise a ValueError for what is none."""
    for row in kept:
        check_like("an epoch's row", row, _ROW)
    return tuple(kept)
