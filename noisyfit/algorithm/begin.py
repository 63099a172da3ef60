"""When the labels are first updated."""

from __future__ import annotations

import math
from typing import Any

from ..files.states import check_like

__all__ = ["BeginRule"]

_PATIENCE = 5  # epochs without a better agreement
_LATE = 0.7  # share of the epochs from which on the rate falls, by default, and networks learn or memorise
_PATIENCE_WHEN_LATE = 2  # one may be chance


class BeginRule:
    """Says after which epoch the labels are first updated.

    Parameters
    ----------
    begin : int, float or "auto"
        The estimator's parameter.
    max_epochs : int
        Epochs there are.
    rows_wait : bool, default=False
        Whether rows are held out until then, so that "auto" must leave epochs for them: 70 % at the latest.

    Attributes
    ----------
    reached : bool
        Whether labels are updated by now.
    earliest, latest : int
        First and last epoch after which it may happen.

    Examples
    --------
    >>> from noisyfit.algorithm.begin import BeginRule
    >>> rule = BeginRule(0.5, max_epochs=4)
    >>> [rule.after(epoch, 0.9) for epoch in (1, 2, 3)]
    [False, True, True]
    """

    def __init__(self, begin: Any, max_epochs: int, rows_wait: bool = False):
        self.auto = begin == "auto"
        self._best = -1.0
        self._waited = 0
        self.reached = False
        self._late = max(1, round(_LATE * max_epochs))
        if self.auto:
            self.earliest, self.latest = min(self._late, _PATIENCE), self._late if rows_wait else max_epochs
        else:
            self.latest = int(begin) if begin >= 1 else max(1, round(begin * max_epochs))
            self.earliest = self.latest

    def state_dict(self) -> dict[str, Any]:
        """Give what changes."""
        return {"best": self._best, "waited": self._waited, "reached": self.reached}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state; raise a ValueError for what is none."""
        check_like("the epoch to begin at", state, {"best": math.nan, "waited": 0, "reached": False})
        self._best, self._waited, self.reached = state["best"], state["waited"], state["reached"]

    def after(self, epoch: int, unseen_agreement: float) -> bool:
        """Say whether labels are updated after this epoch.

        `unseen_agreement` is the share of rows whose given label was predicted by a network that had not seen it.
        """
        if self.auto:
            self._waited += 1
            if unseen_agreement > self._best:
                self._best, self._waited = unseen_agreement, 0
        patience = _PATIENCE if epoch < self._late else _PATIENCE_WHEN_LATE
        waited_enough = self.auto and self._waited >= patience
        self.reached = self.reached or waited_enough or epoch >= self.latest
        return self.reached
