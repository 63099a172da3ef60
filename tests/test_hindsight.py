"""What networks that have learned a label still say of its row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from noisyfit import JointOptimizationClassifier
from noisyfit.hindsight import forget_given_, pool_
from noisyfit.training import Trainer

N, N_CLASSES = 4000, 5


def draw(seed=0):
    """Outputs of two networks that err apart from each other; the second adds 2 to the logit of the given class."""
    rng = np.random.RandomState(seed)
    y = rng.randint(N_CLASSES, size=N)
    given = np.where(rng.rand(N) < 0.4, rng.randint(N_CLASSES, size=N), y)
    first, second = (torch.from_numpy(1.5 * rng.randn(N, N_CLASSES) + 2.0 * np.eye(N_CLASSES)[y]) for _ in range(2))
    learned = second + 2.0 * torch.from_numpy(np.eye(N_CLASSES)[given])
    return y, torch.from_numpy(given), first.softmax(1).float(), second.softmax(1).float(), learned.softmax(1).float()


def test_what_was_learned_by_heart_is_forgotten():
    _, given, unseen, fresh, learned = draw()
    before = learned.clone()
    forgotten = forget_given_(learned, unseen, given)
    rows = torch.arange(N)
    assert before[rows, given].mean() > unseen[rows, given].mean() + 0.1
    assert float(forgotten[rows, given].mean()) == pytest.approx(float(unseen[rows, given].mean()), abs=1e-4)
    torch.testing.assert_close(forgotten.sum(dim=1), torch.ones(N))
    torch.testing.assert_close(forgotten, fresh, atol=0.03, rtol=0)


def test_pooled_outputs_know_more():
    """As much as if the second network had not seen the given labels either."""
    y, given, unseen, fresh, learned = draw()

    def right(proba):
        return (proba.argmax(dim=1).numpy() == y).mean()

    alone, both = right(unseen), right(unseen.log() + fresh.log())
    pooled = right(pool_(unseen, learned, given))
    assert both > alone + 0.1
    assert pooled == pytest.approx(both, abs=0.02)


def test_networks_that_agree_less_are_taken_as_they_are():
    _, given, unseen, fresh, _ = draw()
    unsure = fresh.lerp(torch.full_like(fresh, 1 / N_CLASSES), 0.5)
    torch.testing.assert_close(forget_given_(unsure.clone(), unseen, given), unsure)


def test_rows_without_weight_were_learned_by_nobody():
    _, given, unseen, fresh, learned = draw()
    weight = torch.ones(N)
    weight[::2] = 0
    learned[::2], unseen[::2] = fresh[::2], 0.2
    forgotten = forget_given_(learned, unseen, given, weight)
    torch.testing.assert_close(forgotten[::2], fresh[::2])
    torch.testing.assert_close(forgotten[1::2], fresh[1::2], atol=0.05, rtol=0)


def test_what_was_learned_to_the_last_digit_is_forgotten_as_far_as_needed():
    """Outputs that round to 1 still differ in how little they leave to the others."""
    _, given, unseen, fresh, _ = draw()
    by_heart = (fresh.double().log() + 18.0 * torch.eye(N_CLASSES, dtype=torch.float64)[given]).softmax(1).float()
    rows = torch.arange(N)
    assert (by_heart[rows, given] == 1).float().mean() > 0.3
    forgotten = forget_given_(by_heart, unseen, given)
    torch.testing.assert_close(forgotten, fresh, atol=0.03, rtol=0)


def test_certain_outputs_stay_numbers():
    given = torch.tensor([0, 1, 0])
    sure = torch.eye(2)[[0, 1, 1]]
    pooled = pool_(torch.full((3, 2), 0.5), sure, given)
    assert torch.isfinite(pooled).all()
    torch.testing.assert_close(pooled.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("cross_fit", [2, 3])
@pytest.mark.parametrize(("begin", "pooled"), [(1.0, True), (11, False)])
def test_only_networks_that_know_no_label_but_the_given_one_are_asked(monkeypatch, blobs, cross_fit, begin, pooled):
    X, _, y_noisy = blobs
    asked = []

    def ask(unseen, learned, given, sample_weight=None):
        asked.append((unseen.clone(), learned.clone()))
        return pool_(unseen, learned, given, sample_weight)

    monkeypatch.setattr("noisyfit.correction.pool_", ask)
    params = {"begin": begin, "cross_fit": cross_fit, "device": "cpu", "random_state": 0}
    clf = JointOptimizationClassifier(max_epochs=12, **params).fit(X, y_noisy)
    assert len(asked) == pooled
    if pooled:
        unseen, learned = asked[0]
        given = torch.from_numpy(np.searchsorted(clf.classes_, y_noisy))
        rows = torch.arange(len(given))
        assert learned[rows, given].mean() > unseen[rows, given].mean()
        torch.testing.assert_close(learned.sum(dim=1), torch.ones(len(given)))


@pytest.mark.parametrize("cross_fit", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_those_who_learned_a_row_are_all_networks_but_the_one_that_leaves_it_out(monkeypatch, blobs, cross_fit, dtype):
    X, _, y_noisy = blobs
    asked, ask = [], Trainer.outputs_of_learners

    def record(trainer):
        asked.append((trainer.folds.clone(), ask(trainer).clone()))
        return asked[-1][1].clone()

    monkeypatch.setattr(Trainer, "outputs_of_learners", record)
    torch.set_default_dtype(dtype)  # of the caller's own work
    try:
        params = {"begin": 1.0, "cross_fit": cross_fit, "batch_size": 32, "device": "cpu", "random_state": 0}
        clf = JointOptimizationClassifier(max_epochs=5, **params).fit(X, y_noisy)
    finally:
        torch.set_default_dtype(torch.float32)
    (folds, learned), *others = asked
    assert not others
    with torch.no_grad():
        each = clf.net_.module_.eval()(torch.from_numpy(X)).softmax(dim=-1)
    assert (each[0] - each[1]).abs().max() > 0.002
    expected = [torch.stack([each[k, i] for k in range(cross_fit) if k != folds[i]]).mean(dim=0) for i in range(len(X))]
    torch.testing.assert_close(learned, torch.stack(expected).float())
