"""Which rows are looked at first, and what their answers prove."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from noisyfit.judgement.sampling import STRATA, Counts, count, interval_of_share, looking_order, stratify

RNG = np.random.RandomState(0)
WRONG = (RNG.rand(1000) ** 4).astype(np.float32)


def test_strata_share_out_what_a_look_tells():
    strata = stratify(WRONG)
    spread = np.bincount(strata, np.sqrt(WRONG * (1 - WRONG)) + 0.1)
    assert spread == pytest.approx(spread.mean(), rel=0.02)
    assert all(WRONG[strata == s].max() <= WRONG[strata == s + 1].min() for s in range(STRATA - 1))


def test_rows_that_are_equally_likely_wrong_are_of_one_stratum():
    assert len(np.unique(stratify(np.full(100, 0.2, np.float32)))) == 1


@pytest.mark.parametrize("groups", [None, RNG.randint(30, size=1000)])
def test_every_prefix_is_a_sample_of_all_rows(groups):
    strata = stratify(WRONG)
    order = looking_order(WRONG, strata, 5000, 3, groups)
    assert sorted(order) == list(range(1000))
    np.testing.assert_array_equal(looking_order(WRONG, strata, 70, 3, groups), order[:70])
    for m in (20, 50, 83):
        assert np.ptp(np.bincount(strata[order[:m]], minlength=STRATA)) <= 1


def test_rows_of_a_stratum_are_equally_likely_in_every_prefix():
    wrong = WRONG[:120]
    strata = stratify(wrong)
    times = np.zeros((2, 120))
    for seed in range(4000):
        order = looking_order(wrong, strata, 33, seed)
        times[0, order[:7]] += 1
        times[1, order] += 1
    for counts in times:
        for s in range(STRATA):
            own = counts[strata == s]
            chi = ((own - own.mean()) ** 2).sum() / own.mean()
            assert stats.chi2.sf(chi, len(own) - 1) > 1e-4


def test_groups_are_spread():
    """One person has labelled half of the rows, ten others the rest: each is asked about by their share."""
    groups = np.repeat(np.arange(11), [500, *[50] * 10])
    wrong = np.full(1000, 0.2, np.float32)
    order = looking_order(wrong, stratify(wrong), 64, 0, groups)
    counts = np.bincount(groups[order], minlength=11)
    assert abs(counts[0] - 32) <= 1
    assert counts[1:].min() >= 2
    assert counts[1:].max() <= 5


def test_one_stratum_has_wilsons_interval():
    n, found, z = 50, 7, 1.959964
    share = found / n
    centre, half = (share + z**2 / 2 / n), z * np.sqrt(share * (1 - share) / n + z**2 / 4 / n**2)
    expected = np.array([centre - half, centre + half]) / (1 + z**2 / n)
    assert interval_of_share(Counts(np.array([1e12]), np.array([50.0]), np.array([7.0]))) == pytest.approx(expected)


def test_the_ends_are_where_a_score_test_gives_way():
    """Against a search over all shares of the strata, by a general optimiser."""
    sizes, looked_at, found = np.array([700.0, 200, 100]), np.array([10.0, 12, 9]), np.array([1.0, 5, 8])
    weight, estimate = sizes / sizes.sum(), (sizes / sizes.sum()) @ (found / looked_at)

    def likeliest(total):
        def surprise(p):
            return -(found @ np.log(p) + (looked_at - found) @ np.log(1 - p))

        held = {"type": "eq", "fun": lambda p: weight @ p - total}
        start = np.clip(found / looked_at + total - estimate, 0.01, 0.99)
        return optimize.minimize(surprise, start, constraints=held, bounds=[(1e-6, 1 - 1e-6)] * 3).x

    def excess(total):
        p = likeliest(total)
        return (total - estimate) ** 2 - 1.959964**2 * (weight**2 @ (p * (1 - p) / looked_at * (1 - looked_at / sizes)))

    ends = optimize.brentq(excess, 0.06, estimate), optimize.brentq(excess, estimate, 0.7)
    assert interval_of_share(Counts(sizes, looked_at, found)) == pytest.approx(ends, abs=1e-4)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (([100.0], [100.0], [30.0]), (0.3, 0.3)),  # all rows are known
        (([100.0, 300.0], [100.0, 0.0], [30.0, 0.0]), (0.075, 0.825)),  # of some nothing is known
        (([0.0], [0.0], [0.0]), (0.0, 1.0)),
        (([50.0], [0.0], [0.0]), (0.0, 1.0)),
    ],
)
def test_what_is_known_and_what_is_not(counts, expected):
    assert interval_of_share(Counts(*map(np.array, counts))) == pytest.approx(expected, abs=1e-6)


def test_wrong_answers_lower_the_low_end_only():
    counts = Counts(np.array([900.0, 100.0]), np.array([20.0, 20.0]), np.array([3.0, 15.0]))
    (low, high), (lower, same) = interval_of_share(counts), interval_of_share(counts, wrong_answers=0.1)
    assert lower < low - 0.01
    assert same == high
    clean = Counts(np.array([900.0]), np.array([60.0]), np.array([3.0]))  # 5 % wrong answers, and no wrong label
    assert interval_of_share(clean)[0] > 0 == interval_of_share(clean, wrong_answers=0.1)[0]


def test_a_sample_is_counted_among_the_rows_asked_about():
    strata = np.array([0, 0, 1, 1, 4])
    among = np.array([True, False, True, True, True])
    counts = count(strata, np.array([0, 1, 3]), np.array([True, True, False]), among)
    assert [values.tolist() for values in counts] == [[1, 2, 0, 0, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]


@pytest.mark.parametrize("judge_knows", [True, False])
@pytest.mark.parametrize("n", [20, 33, 50])
def test_the_interval_holds_however_wrong_the_judge_is(judge_knows, n):
    """2,000 rows, 12 % wrong: where the judge says, or anywhere."""
    draws = np.random.RandomState(7)
    suspicion = (draws.rand(2000) ** 5 * 0.9 + 0.01).astype(np.float32)
    wrong = draws.rand(2000) < (suspicion * 0.12 / suspicion.mean() if judge_knows else 0.12)
    strata, holds = stratify(suspicion), []
    for seed in range(150):
        rows = looking_order(suspicion, strata, n, seed)
        low, high = interval_of_share(count(strata, rows, wrong[rows]))
        holds.append(low <= wrong.mean() <= high)
    assert np.mean(holds) >= 0.93
