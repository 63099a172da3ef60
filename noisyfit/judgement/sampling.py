r"""Which rows a person looks at first, and what their answers prove; valid however wrong the judge is.

Rows are dealt into five strata by the probability that their label is wrong, such that each holds an equal share of
:math:`\sum_i (\sqrt{p_i (1 - p_i)} + 0.1)`, and the strata take turns. So doubtful rows are looked at often and plain
ones, which are many, now and then. Inside a stratum every row is as likely to be among the first m as any other, for
every m: rows lie on a circle, sorted, and points that spread evenly (van der Corput's) are set on it from a random
start. What is promised rests on these shares alone; a good judge makes the strata pure, and so the intervals short.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["STRATA", "WRONG_ANSWERS", "Counts", "Z", "count", "interval_of_share", "looking_order", "stratify"]

Codes = NDArray[np.int64]

STRATA = 5
_LEAST_SPREAD = 0.1  # that a row counts with: a judge may be sure and wrong
WRONG_ANSWERS = 0.05  # of each stratum, that intervals allow for
Z = 1.959964  # of 95 %, both ends; of a single end 97.5 %
_STEPS = 32  # halvings of the multiplier's logarithm
_LARGEST = 1e9  # multiplier


class Counts(NamedTuple):
    """A stratified sample, (n_strata,) each."""

    sizes: NDArray[np.float64]  # rows
    looked_at: NDArray[np.float64]  # of them
    found: NDArray[np.float64]  # of those


def stratify(wrong: NDArray[np.floating[Any]]) -> Codes:
    """Deal rows into strata by the probability that their label is wrong.

    Parameters
    ----------
    wrong : ndarray of shape (n_samples,)
        That probability, in [0, 1].

    Returns
    -------
    ndarray of shape (n_samples,), int64
        Numbers of the strata, 0 with the least probabilities.
    """
    ordered = np.sort(wrong)
    passed = np.cumsum(np.sqrt(ordered * (1 - ordered)) + _LEAST_SPREAD, dtype=np.float64)
    ends = np.searchsorted(passed, passed[-1] * np.arange(1, STRATA) / STRATA)
    return np.searchsorted(ordered[ends], wrong, side="right").astype(np.int64)


def looking_order(
    wrong: NDArray[np.floating[Any]], strata: Codes, n: int, seed: int, groups: Codes | None = None
) -> Codes:
    """Give the first rows to look at.

    Parameters
    ----------
    wrong : ndarray of shape (n_samples,)
        Probabilities that rows inside a stratum are sorted by.
    strata : ndarray of shape (n_samples,), int64
        Stratum of each row.
    n : int
        Number of rows to give; fewer where there are fewer.
    seed : int
        Draws the starts and the turns of the strata.
    groups : ndarray of shape (n_samples,), int64, or None, default=None
        Groups, over which the rows are spread before anything else.

    Returns
    -------
    ndarray of shape (min(n, n_samples),), int64
        Row numbers. The first m of them are the same for every n.
    """
    draws = np.random.RandomState(seed)
    place = None if groups is None else draws.rand(int(groups.max()) + 1)[groups]
    sequences = []
    for stratum in range(STRATA):
        rows = np.flatnonzero(strata == stratum)
        of_stratum = np.argsort(wrong[rows], kind="stable") if place is None else np.lexsort((wrong[rows], place[rows]))
        rows = rows[of_stratum]
        sequences.append(rows[_round_the_circle(len(rows), n, draws.rand())])
    chosen: list[int] = []
    for turn in range(min(n, max(map(len, sequences)))):
        if len(chosen) >= n:
            break
        chosen += [int(sequences[s][turn]) for s in draws.permutation(STRATA) if turn < len(sequences[s])]
    return np.array(chosen[:n], dtype=np.int64)


def _round_the_circle(n_rows: int, n: int, start: float) -> Codes:
    """Give the first of n_rows places on a circle, each equally likely at every step, far from those before."""
    bits = max(n_rows - 1, 0).bit_length()
    wanted, n_points = min(n, n_rows), min(1 << bits, 4 * n)  # points that fall on a place once more are left out
    while True:
        numbers = np.arange(n_points, dtype=np.int64)
        reversed_bits = np.zeros(n_points, np.int64)
        for bit in range(bits):
            reversed_bits |= ((numbers >> bit) & 1) << (bits - 1 - bit)
        places = ((start + reversed_bits / (1 << bits)) % 1 * n_rows).astype(np.int64).clip(0, max(n_rows - 1, 0))
        first = np.sort(np.unique(places, return_index=True)[1])[:wanted] if n_rows else numbers[:0]
        if len(first) == wanted or n_points == 1 << bits:
            return places[first]
        n_points = min(1 << bits, 2 * n_points)


def count(strata: Codes, sampled: Codes, found: NDArray[Any], among: NDArray[np.bool_] | None = None) -> Counts:
    """Count a stratified sample.

    Parameters
    ----------
    strata : ndarray of shape (n_samples,), int64
        Stratum of each row.
    sampled : ndarray of shape (n_sampled,), int64
        Rows that were drawn and answered.
    found : ndarray of shape (n_sampled,)
        What was found at each, in [0, 1].
    among : ndarray of shape (n_samples,), bool, or None, default=None
        Rows that are asked about; None for all.

    Returns
    -------
    Counts
    """
    kept = slice(None) if among is None else among[sampled]
    of_sample = strata[sampled][kept]
    return Counts(
        np.bincount(strata if among is None else strata[among], minlength=STRATA).astype(np.float64),
        np.bincount(of_sample, minlength=STRATA).astype(np.float64),
        np.bincount(of_sample, np.asarray(found, np.float64)[kept], STRATA).astype(np.float64),
    )


def interval_of_share(
    counts: Counts, z: float = Z, wrong_answers: float = 0.0, missed: float = 0.0
) -> tuple[float, float]:
    r"""Give the interval that the share of rows with a property lies in, by a stratified sample.

    Wilson's interval for strata: the shares :math:`\theta = \sum_h W_h p_h` that a score test does not reject,

    .. math:: (\hat\theta - \theta)^2 \le z^2 \sum_h W_h^2 \frac{p_h (1 - p_h)}{n_h} \Big(1 - \frac{n_h}{N_h}\Big),

    with the :math:`p_h` under which the sample is most likely among those of that sum. A stratum without an answer may
    hold any share.

    Parameters
    ----------
    counts : Counts
        The sample.
    z : float, default=1.959964
        Quantile of the normal distribution; 1.959964 for 95 % between both ends.
    wrong_answers : float, default=0
        Share of each stratum's answers that may say "found" where there is nothing: the low end holds all the same.
    missed : float, default=0
        Share of what there is that answers may miss: the high end holds all the same.

    Returns
    -------
    low, high : float
        In [0, 1]; (0, 1) where there are no rows.

    Examples
    --------
    >>> import numpy as np
    >>> from noisyfit.judgement.sampling import Counts, interval_of_share
    >>> counts = Counts(np.array([900.0, 100.0]), np.array([25.0, 25.0]), np.array([0.0, 20.0]))
    >>> low, high = interval_of_share(counts)  # a sample of 50 that knows no strata: 26 to 54 %
    >>> round(low, 2), round(high, 2)
    (0.06, 0.2)
    """
    there = counts.sizes > 0
    if not there.any():
        return 0.0, 1.0
    sizes, looked_at, found = (values[there] for values in counts)
    weight = sizes / sizes.sum()
    high = np.minimum(_upper_shares(sizes, looked_at, found, z) / (1 - missed), 1)
    low = 1 - _upper_shares(sizes, looked_at, looked_at - found, z)
    low = np.clip((low - wrong_answers) / (1 - wrong_answers), 0, 1)
    return float(weight @ low), float(weight @ high)


def _upper_shares(
    sizes: NDArray[np.float64], looked_at: NDArray[np.float64], found: NDArray[np.float64], z: float
) -> NDArray[np.float64]:
    """Give the strata's shares at the upper end of the interval, on the curve of a Lagrange multiplier."""
    weight, seen = sizes / sizes.sum(), looked_at > 0
    n = np.maximum(looked_at, 1)
    left = np.where(seen, 1 - looked_at / sizes, 0)
    estimate = weight @ np.where(seen, found / n, 1)
    low, high = -np.log(_LARGEST), np.log(_LARGEST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        shares = _likeliest(np.exp(middle) * weight, looked_at, found)
        missed = weight @ shares - estimate
        if missed <= z * np.sqrt(weight**2 @ (shares * (1 - shares) * left / n)):
            low = middle
        else:
            high = middle
    return _likeliest(np.exp(low) * weight, looked_at, found)


def _likeliest(pull: Any, looked_at: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Maximise found log p + (looked_at - found) log(1 - p) + pull p."""
    away = pull - looked_at
    root = np.sqrt(away**2 + 4 * pull * found)
    # two forms of one root, so that nothing cancels
    shares = np.where(away >= 0, (away + root) / (2 * pull), 2 * found / np.maximum(root - away, 1e-300))
    return np.where(looked_at > 0, np.clip(shares, 0, 1), 1)
