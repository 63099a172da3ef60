"""The decision: which labels change, what is said of all of them, and what never happens."""

from __future__ import annotations

import numpy as np
import pytest

import noisyfit.judgement.decision
from noisyfit.judgement.decision import choose_rows, expected_gain, judge, judge_new_rows, judgement_from, outwards
from noisyfit.judgement.judge import Odds, opinion_of
from noisyfit.noise import corrupt_labels, symmetric_noise

N_CLASSES = 4


def draw(n=1200, sure=0.9, rate=0.3, seed=0):
    """Give outputs of two witnesses that are right on nine rows in ten, given labels and true ones."""
    rng = np.random.RandomState(seed)
    y = rng.randint(N_CLASSES, size=n)
    outputs = []
    for _ in range(2):
        named = np.where(rng.rand(n) < 0.93, y, rng.randint(N_CLASSES, size=n))
        proba = np.full((n, N_CLASSES), (1 - sure) / (N_CLASSES - 1))
        proba[np.arange(n), named] = sure
        outputs.append(proba.astype(np.float32))
    return outputs, corrupt_labels(y, symmetric_noise(N_CLASSES, rate), seed), y


def test_wrong_labels_are_corrected():
    outputs, given, y = draw()
    judgement = judge(outputs, given)
    assert (judgement.corrected == y).mean() > 0.9 > 0.75 > (given == y).mean()
    low, high = judgement.noise_rate_interval
    assert 0 <= low < (given != y).mean() < high <= 1
    mean, at_least, at_most = judgement.expected_gain
    assert at_least <= mean <= at_most
    assert at_least < (judgement.corrected == y).mean() - (given == y).mean() < at_most + 0.05
    assert judgement.refused is None


def test_clean_labels_stay():
    outputs, given, y = draw(rate=0.0)
    judgement = judge(outputs, given)
    assert (judgement.corrected == y).mean() > 0.995


def test_soft_labels_are_what_the_decision_is_made_from():
    outputs, given, _ = draw()
    judgement = judge(outputs, given, margin=0.3)
    soft, rows = judgement.soft_labels, np.arange(len(given))
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-5)
    assert (soft >= 0).all()
    changed = judgement.corrected != given
    gain = soft[rows, judgement.corrected] - soft[rows, given]
    assert changed.any()
    assert (gain[changed] > 0.3).all()
    assert not (judge(outputs, given, margin=1.0).corrected != given).any()


def test_outputs_that_know_nothing_change_nothing():
    rng = np.random.RandomState(0)
    outputs = [rng.dirichlet(np.full(3, 0.3), 500).astype(np.float32) for _ in range(2)]
    given = rng.randint(3, size=500)
    judgement = judge(outputs, given)
    assert (judgement.corrected == given).all()
    assert "next to nothing" in judgement.refused
    assert judgement.expected_gain == (0, 0, 0)
    _, new = judge_new_rows(outputs[0], given, judgement.bearings)
    assert (new == given).all()


def test_fixed_rows_keep_their_labels():
    outputs, given, _ = draw()
    free = judge(outputs, given)
    fixed = free.corrected != given
    fixed[np.flatnonzero(fixed)[::2]] = False
    bound = judge(outputs, given, fixed=fixed)
    assert (bound.corrected[fixed] == given[fixed]).all()
    assert (bound.corrected != given).any()


def test_fixed_rows_tell_nothing_of_the_others():
    outputs, given, _ = draw()
    fixed = np.arange(len(given)) % 2 == 0
    bound = judge(outputs, given, fixed=fixed)
    strange = [np.where(fixed[:, np.newaxis], output[::-1], output) for output in outputs]
    again = judge(strange, given, fixed=fixed)
    np.testing.assert_allclose(again.transition_matrix, bound.transition_matrix)
    np.testing.assert_array_equal(again.grounds.odds.wrong, bound.grounds.odds.wrong)
    np.testing.assert_array_equal(again.corrected, bound.corrected)
    mean = (1 - bound.soft_labels[np.arange(len(given)), given])[~fixed].mean()
    assert (1 - bound.soft_labels[np.arange(len(given)), given])[fixed] == pytest.approx(mean, abs=0.03)


def test_nothing_is_said_where_all_rows_are_fixed():
    outputs, given, _ = draw()
    judgement = judge(outputs, given, fixed=np.ones(len(given), bool))
    assert "can be judged" in judgement.refused
    assert (judgement.corrected == given).all()
    low, high = judgement.noise_rate_interval
    assert high - low > 0.4


def test_nothing_is_said_where_all_rows_that_count_are_fixed():
    outputs, given, _ = draw()
    counts = np.arange(len(given)) < 400
    judgement = judge(outputs, given, counts.astype(np.float32), fixed=counts)
    assert "can be judged" in judgement.refused
    assert (judgement.corrected == given).all()
    assert np.isfinite(judgement.bearings.setting.features).all()


def test_a_class_whose_labels_in_other_folds_all_seem_wrong_is_not_judged():
    outputs, given, true = draw()
    folds = np.where(true == 0, 0, 1 + np.arange(len(given)) % 2)  # class 0 lies in one fold but for wrong labels
    judgement = judge(outputs, given, folds=folds)
    assert judgement.grounds.fixed[(given == 0) & (true == 0)].all()
    assert not judgement.grounds.fixed[given != 0].any()
    assert (judgement.corrected[given == 0][true[given == 0] == 0] == 0).all()
    same = judge(outputs, given, folds=np.arange(len(given)) % 3)
    np.testing.assert_array_equal(same.soft_labels, judge(outputs, given).soft_labels)


def test_a_class_keeps_half_of_its_labels_where_that_many_are_expected():
    """All rows of class 0 seem to be of class 1, with a probability of two thirds."""
    given = np.repeat([0, 1], 100)
    log_odds = np.r_[np.full(100, np.log(2.0)), np.full(100, -6.0)].astype(np.float32)
    odds = Odds(1 - given, log_odds, np.full(200, np.inf, np.float32))
    # more than half, since only a third of the labels is expected to be right
    assert len(choose_rows(given, odds, opinion_of(np.zeros((1, 2))))) == 67
    odds = odds._replace(wrong=np.where(given == 0, 0.1, -6.0).astype(np.float32))
    assert len(choose_rows(given, odds, opinion_of(np.zeros((1, 2))))) == 53


def test_nearly_all_known_sets_must_expect_a_gain():
    """Some known sets say that all changes are wrong; the others, that all are right."""
    given = np.repeat([0, 1], [90, 10])
    log_odds = np.r_[np.full(20, 4.0), np.full(80, -6.0)].astype(np.float32)
    odds = Odds(1 - given, log_odds, np.full(100, np.inf, np.float32))

    def chosen(n_doubting):
        pairs = np.array([[0.0, 0.0]] * (20 - n_doubting) + [[-9.0, 0.0]] * n_doubting)
        return choose_rows(given, odds, opinion_of(pairs))

    assert [len(chosen(n)) for n in (0, 1, 6)] == [20, 20, 0]
    gain = expected_gain(odds, chosen(1), opinion_of(np.array([[0.0, 0.0]] * 19 + [[-9.0, 0.0]])))
    by_most = 0.2 * (2 / (1 + np.exp(-4.0)) - 1)
    assert gain.high == pytest.approx(by_most)
    assert gain.mean == pytest.approx(0.95 * by_most - 0.05 * 0.2, abs=0.001)
    assert gain.low == pytest.approx(-0.2 + 0.025 * 19 * (by_most + 0.2), abs=0.005)


def test_no_row_is_changed_that_is_expected_to_lose_on_average():
    """One known set in eight is certain of a loss, the others see a gain that does not outweigh it."""
    odds = Odds(np.ones(40, np.int64), np.full(40, 0.2, np.float32), np.full(40, np.inf, np.float32))
    pairs = np.array([[0.0, 0.0]] * 35 + [[-9.0, 0.0]] * 5)
    assert len(choose_rows(np.r_[np.zeros(39, np.int64), 1], odds, opinion_of(pairs))) == 0


def test_many_rows_are_chosen_block_by_block(monkeypatch):
    outputs, given, _ = draw()
    whole = judge(outputs, given)
    monkeypatch.setattr("noisyfit.rows.storage._BLOCK", 7)
    np.testing.assert_array_equal(judge(outputs, given).corrected, whole.corrected)
    np.testing.assert_allclose(judge(outputs, given).soft_labels, whole.soft_labels, atol=1e-6)


def test_new_rows_are_judged_like_those_of_the_fit():
    """Asked about rows of the fit, by its only witness, it says what it said of them, but for limits of the choice."""
    outputs, given, _ = draw(2000, rate=0.1)
    judgement = judge(outputs[:1], given)
    soft, corrected = judge_new_rows(outputs[0], given, judgement.bearings)
    np.testing.assert_allclose(soft, judgement.soft_labels, atol=1e-5)
    assert set(np.flatnonzero(judgement.corrected != given)) <= set(np.flatnonzero(corrected != given))
    assert (judge_new_rows(outputs[0], given, judgement.bearings, margin=1.0)[1] == given).all()


def test_what_a_file_keeps_comes_back():
    outputs, given, _ = draw(200)
    judgement = judge(outputs, given)

    def plain(value):
        return tuple(map(plain, value)) if isinstance(value, tuple) else value

    shape = outputs[0].shape
    back = judgement_from(plain(judgement), *shape)
    assert back.expected_gain == judgement.expected_gain
    assert back.expected_gain.low == judgement.expected_gain.low
    np.testing.assert_array_equal(back.bearings.opinion.pairs, judgement.bearings.opinion.pairs)
    assert judgement_from(None, *shape) is None
    small = judgement.bearings._replace(transition_matrix=judgement.bearings.transition_matrix[:1])
    with pytest.raises(ValueError, match="the noise matrix must be f8 of shape"):
        judgement_from(plain(judgement._replace(bearings=small)), *shape)


@pytest.mark.parametrize(("interval", "rounded"), [((0.0049, 0.123), (0.0, 0.13)), ((0.5, 0.5), (0.5, 0.5))])
def test_intervals_are_rounded_outwards(interval, rounded):
    assert outwards(interval) == rounded


def test_rows_are_numbered_within_their_class():
    ranks = noisyfit.judgement.decision._rank_in_class(np.array([2, 0, 2, 2, 0]))
    assert ranks.tolist() == [0, 0, 1, 2, 1]
