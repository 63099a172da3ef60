"""What a fit tells while it runs and remembers of its epochs."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
from tqdm import tqdm

from ..files.states import check_like

__all__ = ["EpochLog"]

_LOG_LINES = 20  # about as many where there is no terminal
_FIGURES = ("loss", "L_c", "L_p", "L_e", "L_o", "labels_changed", "labels_corrected", "seconds")
_ROW = {"step": 1, "epoch": 1, **dict.fromkeys(_FIGURES, math.nan)}


class EpochLog:
    """History of a fit, a row an epoch; its progress bar; and what scikit-learn's callbacks hear of it.

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

    Attributes
    ----------
    stopped : bool
        Whether a callback asked to stop.
    """

    def __init__(self, context: Any, told: dict[str, Any], n_epochs: int, verbose: int = 0):
        self._context, self._told, self._n_epochs = context, told, n_epochs
        self._rows: list[dict[str, Any]] = []
        self._started = self._last = time.perf_counter()
        self._verbose = verbose > 0
        self._bar = tqdm(total=n_epochs, unit="epoch") if self._verbose and sys.stderr.isatty() else None
        self._epoch_context: Any = None
        self.stopped = False

    def __enter__(self) -> EpochLog:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        if self._bar is not None:
            self._bar.close()

    @property
    def history(self) -> pd.DataFrame:
        """The table of `history_`."""
        return pd.DataFrame(self._rows)

    def state_dict(self) -> dict[str, Any]:
        """Give what changes."""
        return {"rows": self._rows, "stopped": self.stopped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the epochs of a state; raise a ValueError for what is none."""
        check_like("whether a callback asked to stop", state["stopped"], False)
        for row in state["rows"]:
            check_like("an epoch's row", row, _ROW)
        self._rows, self.stopped = list(state["rows"]), state["stopped"]
        self._started = self._last - sum(row["seconds"] for row in self._rows)
        if self._bar is not None:
            self._bar.update(len(self._rows) - self._bar.n)

    def n_epochs_of(self, step: int) -> int:
        """Count the epochs of a step that are done."""
        return sum(row["step"] == step for row in self._rows)

    def open_epoch(self) -> None:
        """Tell the callbacks that an epoch begins."""
        self._epoch_context = self._context.subcontext(task_name="epoch")
        self._epoch_context.call_on_fit_task_begin(**self._told)

    def close_epoch(
        self,
        losses: Iterable[float],
        *,
        step: int,
        epoch: int,
        L_o: float,
        changed: float,
        corrected: float,
        attributes: Callable[[], dict[str, Any]],
    ) -> None:
        """Note an epoch: `losses` holds the loss, L_c, L_p and L_e, `attributes` gives the fitted attributes so far."""
        now = time.perf_counter()
        terms = dict(zip(("loss", "L_c", "L_p", "L_e"), map(float, losses), strict=True))
        shares = {"labels_changed": changed, "labels_corrected": corrected}
        self._rows.append({"step": step, "epoch": epoch, **terms, "L_o": L_o, **shares, "seconds": now - self._last})
        self._last = now
        if self._verbose:
            self._show(self._rows[-1])
        self.stopped = bool(
            self._epoch_context.call_on_fit_task_end(**self._told, reconstruction_attributes=attributes)
        )

    def note_judgement(self, found: float, corrected: float) -> None:
        """Say what became of the labels found wrong in training: shares of all rows."""
        if self._verbose:
            text = f"judged: labels of {corrected:.1%} of the rows corrected; training had found {found:.1%} wrong"
            print(text, file=sys.stderr, flush=True) if self._bar is None else self._bar.write(text, file=sys.stderr)

    def _show(self, row: dict[str, Any]) -> None:
        done = len(self._rows)
        shares = f"labels changed {row['labels_changed']:.1%}, corrected {row['labels_corrected']:.1%}"
        figures = f"loss {row['loss']:.4f}, {shares}"
        if self._bar is not None:
            self._bar.set_postfix_str(figures, refresh=False)
            self._bar.update()
        elif done % max(1, self._n_epochs // _LOG_LINES) == 0 or done == self._n_epochs:
            left = (self._last - self._started) / done * (self._n_epochs - done)
            print(f"epoch {done}/{self._n_epochs}: {figures}, {left:.0f} s left", file=sys.stderr, flush=True)
