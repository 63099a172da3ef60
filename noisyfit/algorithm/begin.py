"""When the labels are first updated."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..files.states import check_like

__all__ = ["BeginRule", "Waiting"]

_PATIENCE = 5  # epochs without a better agreement
_LATE = 0.7  # share of the epochs from which on the rate falls, by default, and networks learn or memorise
_PATIENCE_WHEN_LATE = 2  # one may be chance


class Waiting(NamedTuple):
    """What the rule remembers from epoch to epoch."""

    best: float = -1.0  # agreement with labels that were not seen
    n_epochs: int = 0  # since then

    def restored(self, kept: Any) -> Waiting:
        """Give back what a file has kept; raise a ValueError for what is none."""
        check_like("the epoch to begin at", tuple(kept), (math.nan, 0))
        return Waiting(*kept)


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
    earliest, latest : int
        First and last epoch after which it may happen.

    Examples
    --------
    >>> from noisyfit.algorithm.begin import BeginRule, Waiting
    >>> rule, waiting = BeginRule(0.5, max_epochs=4), Waiting()
    >>> [rule.begins_after(epoch, waiting) for epoch in (1, 2, 3)]
    [False, True, True]
    """

    def __init__(self, begin: Any, max_epochs: int, rows_wait: bool = False):
        self.auto = begin == "auto"
        self._late = max(1, round(_LATE * max_epochs))
        if self.auto:
            self.earliest, self.latest = min(self._late, _PATIENCE), self._late if rows_wait else max_epochs
        else:
            self.latest = int(begin) if begin >= 1 else max(1, round(begin * max_epochs))
            self.earliest = self.latest

    def wait(self, waiting: Waiting, unseen_agreement: float) -> Waiting:
        """Go on waiting for an epoch.

        `unseen_agreement` is the share of rows whose given label was predicted by a network that had not seen it.
        """
        if not self.auto:
            return waiting
        if unseen_agreement > waiting.best:
            return Waiting(unseen_agreement)
        return waiting._replace(n_epochs=waiting.n_epochs + 1)

    def begins_after(self, epoch: int, waiting: Waiting) -> bool:
        """Say whether labels are updated after this epoch, if they have not been before."""
        patience = _PATIENCE if epoch < self._late else _PATIENCE_WHEN_LATE
        return epoch >= self.latest or (self.auto and waiting.n_epochs >= patience)
