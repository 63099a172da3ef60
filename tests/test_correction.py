"""What becomes of the labels when training has ended."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import noisyfit.correction
from noisyfit.calibration import calibrate
from noisyfit.correction import conclude, damp_evidence, evidence_weight, look_first, weigh_evidence_
from noisyfit.labels import LabelStore, label_rule
from noisyfit.noise import NoiseMatrix, asymmetric_noise, corrupt_labels, symmetric_noise, temper

N, N_CLASSES = 2000, 4


def concluded(given, proba):
    """Conclude from outputs that did not change while training."""
    given = torch.from_numpy(given)
    labels = LabelStore(given, N_CLASSES, 1, label_rule("soft", None), soft=True)
    labels.record(torch.arange(len(given)), proba)
    labels.close_epoch()
    outputs = labels.average_outputs()
    first = look_first(outputs, given, None, torch.Generator())
    labels.step(outputs)
    noise = NoiseMatrix(given, N_CLASSES)
    noise.step(labels.soft_labels)
    evidence = conclude(labels, noise, first, torch.Generator())
    return evidence, labels, noise


def outputs_that_miss(y, share, seed=0):
    """Sure outputs, a share of them for another class."""
    rng = np.random.RandomState(seed)
    said = np.where(rng.rand(N) < share, (y + rng.randint(1, N_CLASSES, N)) % N_CLASSES, y)
    return 0.992 * torch.eye(N_CLASSES)[said] + 0.002


Y = np.random.RandomState(1).randint(N_CLASSES, size=N)


@pytest.mark.parametrize("share", [0.0, 0.004, 0.008])
def test_a_few_unusual_rows_are_no_wrong_labels(share):
    evidence, labels, noise = concluded(Y, outputs_that_miss(Y, share))
    np.testing.assert_array_equal(labels.soft_labels.argmax(dim=1), Y)
    assert evidence.doubt > 0.9
    assert noise.wrong_share() < 0.002
    quality = labels.soft_labels[torch.arange(N), torch.from_numpy(Y)]
    unusual = outputs_that_miss(Y, share).argmax(dim=1) != torch.from_numpy(Y)
    assert not unusual.any() or quality[unusual].max() < quality[~unusual].min()  # still the first to look at


def test_a_few_unusual_rows_among_very_many_are_no_wrong_labels():
    outputs, given = outputs_that_miss(Y, 0.008).repeat(25, 1), np.tile(Y, 25)
    first = look_first(outputs, torch.from_numpy(given), None, torch.Generator())
    assert first.anchors.contradiction(3.0) > 0.5  # outputs that are all equally sure
    evidence, labels, _ = concluded(given, outputs)
    assert evidence.doubt > 0.9
    np.testing.assert_array_equal(labels.soft_labels.argmax(dim=1), given)


def test_the_first_look_expects_to_miss_as_many_rows_as_outputs_that_know_how_sure_they_are():
    rng = np.random.RandomState(0)
    outputs = torch.from_numpy(1.5 * rng.randn(4 * N, N_CLASSES)).softmax(dim=1).float()
    given = torch.from_numpy((rng.random_sample((4 * N, 1)) > outputs.numpy().cumsum(axis=1)).sum(axis=1))
    weight = torch.from_numpy(rng.randint(3, size=4 * N)).float()
    missed = float((weight * (outputs.argmax(dim=1) != given)).sum() / weight.sum())
    for temperature in (1.0, 1 / 2.1):  # the last are too sure
        first = look_first(temper(outputs, temperature), given, weight, torch.Generator())
        assert first.missed == pytest.approx(missed, abs=0.03)
        assert first.doubt() > 0.9  # hard classes, and nothing wrong


@pytest.mark.parametrize("rate", [0.03, 0.05, 0.2, 0.4])
def test_many_contradictions_are_wrong_labels(rate):
    given = corrupt_labels(Y, symmetric_noise(N_CLASSES, rate), random_state=0)
    evidence, labels, noise = concluded(given, outputs_that_miss(Y, 0.005))
    assert evidence.refused is None
    assert evidence.doubt < 0.05
    assert (labels.soft_labels.argmax(dim=1).numpy() == Y).mean() > 0.99
    assert noise.wrong_share() == pytest.approx((given != Y).mean(), abs=0.03)


def test_labels_confused_by_class_are_told_from_hard_classes():
    """Of networks that half believe the given labels, so that likelihood takes them for overlap of the classes."""
    rng = np.random.RandomState(0)
    outputs = torch.from_numpy(3.5 * rng.randn(3 * N, N_CLASSES)).softmax(dim=1).float()
    y = (rng.random_sample((3 * N, 1)) > outputs.numpy().cumsum(axis=1)).sum(axis=1).clip(max=N_CLASSES - 1)
    hard, labels, _ = concluded(y, outputs)
    assert hard.doubt > 0.9
    np.testing.assert_array_equal(labels.soft_labels.argmax(dim=1), y)
    matrix = asymmetric_noise(N_CLASSES, 0.4, {0: 1, 2: 3})
    given = corrupt_labels(y, matrix, random_state=0)
    confused, labels, _ = concluded(given, outputs.lerp(outputs @ torch.from_numpy(matrix).float(), 0.5))
    assert confused.doubt < 0.2
    assert (given == y).mean() < 0.82 < 0.9 < (labels.soft_labels.argmax(dim=1).numpy() == y).mean()


def test_final_labels_are_weighed_by_the_damped_evidence(monkeypatch):
    says_nothing = torch.full((N_CLASSES, N_CLASSES), 1 / N_CLASSES, dtype=torch.float64)
    given = corrupt_labels(Y, symmetric_noise(N_CLASSES, 0.4), random_state=0)
    outputs = outputs_that_miss(Y, 0.1)
    _, weighed, _ = concluded(given, outputs)
    monkeypatch.setattr(
        "noisyfit.correction.damp_evidence", lambda found, trained: (trained.with_matrix(says_nothing), 1.0)
    )
    evidence, labels, _ = concluded(given, outputs)
    assert evidence.doubt < 0.001
    torch.testing.assert_close(labels.soft_labels, temper(outputs, evidence.temperature), atol=1e-3, rtol=0)
    assert not torch.allclose(weighed.soft_labels, labels.soft_labels, atol=4e-3)


@pytest.mark.parametrize(("rate", "agrees", "refused"), [(0.0, True, False), (0.2, True, True), (0.0, False, True)])
def test_only_a_change_is_refused_or_that_there_is_nothing_to_learn(monkeypatch, rate, agrees, refused):
    judge, reason = noisyfit.correction.judge_unseen, "the labels say so"
    monkeypatch.setattr("noisyfit.correction.judge_unseen", lambda *args: judge(*args)._replace(agrees=agrees))
    monkeypatch.setattr("noisyfit.correction.reason_to_refuse", lambda *args: reason)
    given = corrupt_labels(Y, symmetric_noise(N_CLASSES, rate), random_state=0)
    evidence, _, _ = concluded(given, outputs_that_miss(Y, 0.005))
    assert evidence.refused == (reason if refused else None)


def test_a_weight_that_is_given_is_that_of_the_objective_and_one_that_is_found_favours_no_class():
    folds, given = torch.zeros(4, dtype=torch.int64), torch.arange(4)
    noise, s = NoiseMatrix(given, N_CLASSES), torch.full((4, N_CLASSES), 1 / N_CLASSES, dtype=torch.float64)
    noise.step(torch.tensor(np.random.RandomState(0).dirichlet(np.ones(N_CLASSES), 4)))
    evidence = noise.matrix ** evidence_weight("auto", folds, noise)
    assert 0 < evidence_weight("auto", folds, noise) < 1
    found = weigh_evidence_(s.clone(), "auto", folds, noise)
    channel = evidence / evidence.sum(dim=1, keepdim=True)
    torch.testing.assert_close(found, (channel / channel.sum(dim=0)).T)
    stated = weigh_evidence_(s.clone(), evidence_weight("auto", folds, noise), folds, noise)
    torch.testing.assert_close(stated, (evidence / evidence.sum(dim=0)).T)
    assert not torch.allclose(found, stated, atol=0.01)
    torch.testing.assert_close(weigh_evidence_(s.clone(), "auto", None, noise), s)  # one network has seen its labels


def test_labels_that_err_where_outputs_are_unsure():
    """Likelihood takes them for overlap of the classes and finds hardly any label wrong."""
    rng = np.random.RandomState(0)
    second, unsure = (Y + rng.randint(1, N_CLASSES, N)) % N_CLASSES, rng.rand(N) < 0.6
    given = np.where(unsure & (rng.rand(N) < 0.45), second, Y)  # 27 % wrong
    true, other = torch.eye(N_CLASSES)[Y], torch.eye(N_CLASSES)[second]
    sure, torn = 0.96 * true + 0.01, 0.53 * true + 0.43 * other + 0.01
    outputs = torch.where(torch.from_numpy(unsure)[:, None], torn, sure)
    given = torch.from_numpy(given)
    likely = calibrate(outputs, given, None, torch.Generator())
    assert likely.most_likely < 1  # which damps little
    right, found = [], []
    for calibration in (None, likely, likely._replace(most_likely=1.0)):
        noise, weight = damp_evidence(calibration, trusting(outputs, given)) if calibration else (likely.noise, 1.0)
        labels = noise.posterior_(outputs.clone(), weight, normalised=True)
        right.append((labels.argmax(dim=1).numpy() == Y).mean())
        found.append(1 - float(labels[torch.arange(N), given].mean()))
    assert found[0] < 0.001 < 0.01 < found[1] < 0.05 < found[2] < 0.27
    assert right[0] < (given.numpy() == Y).mean() + 0.01
    assert right[0] <= right[1] <= right[2]


def trusting(outputs, given):
    """The noise matrix of a training in which the labels are what the outputs say."""
    noise = NoiseMatrix(given, N_CLASSES)
    noise.step(outputs)
    return noise


def test_sharp_outputs_leave_the_noise_matrix_as_it_is():
    given = torch.from_numpy(corrupt_labels(Y, symmetric_noise(N_CLASSES, 0.3), random_state=0))
    outputs = outputs_that_miss(Y, 0.0)
    likely = calibrate(outputs, given, None, torch.Generator())._replace(most_likely=1.0)
    damped, weight = damp_evidence(likely, trusting(outputs, given))
    np.testing.assert_allclose(damped.matrix, likely.noise.matrix, atol=0.01)
    assert weight == pytest.approx(1 - 0.6 * 0.3, abs=0.02)


def test_outputs_that_are_too_sure_or_not_sure_enough_count_less():
    given = torch.from_numpy(corrupt_labels(Y, symmetric_noise(N_CLASSES, 0.3), random_state=0))
    likely = calibrate(outputs_that_miss(Y, 0.0), given, None, torch.Generator())
    trained = NoiseMatrix(given, N_CLASSES)
    trained.step(outputs_that_miss(Y, 0.3))
    shares, weights = [], []
    for temperature in (0.5, 1.0, 2.0):
        damped, weight = damp_evidence(likely._replace(most_likely=temperature), trained)
        shares.append(float(((damped.matrix - likely.noise.matrix) / (trained.matrix - likely.noise.matrix)).mean()))
        weights.append(weight)
    np.testing.assert_allclose(shares, [0.3, 0.6, 0.15])
    assert 0.5 < weights[1] < weights[0] < weights[2] < 1


def test_the_weight_of_given_labels():
    noise, folds = NoiseMatrix(torch.arange(10) % 2, 2), torch.arange(10) % 3
    assert evidence_weight("auto", folds, noise) == 1.0
    called_wrong = torch.eye(2)[torch.tensor([1, 1, 1, 1, 0, 1, 0, 1, 0, 1])]
    noise.step(called_wrong)  # two of ten
    assert evidence_weight("auto", folds, noise) == pytest.approx(0.8)
    noise.step(1 - torch.eye(2)[torch.arange(10) % 2])  # all of them
    assert evidence_weight("auto", folds, noise) == 0.5
    assert evidence_weight("auto", None, noise) == 0.0  # one network confirms itself
    assert evidence_weight(0.3, folds, noise) == evidence_weight(0.3, None, noise) == 0.3
