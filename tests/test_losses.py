"""The objective's terms against closed forms, an independent NumPy version and numerical gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from noisyfit.losses import (
    RunningMean,
    class_prior_divergence,
    joint_loss,
    kl_classification_loss,
    objective_gradient,
    objective_terms,
    prediction_entropy,
    sum_of_terms,
)

N_BATCH, N_CLASSES = 7, 4
ALPHA, BETA = 1.2, 0.8


def numpy_terms(logits, labels, prior, weight=None):
    """L_c, L_p and L_e in float64, written from the equations."""
    z = np.asarray(logits, dtype=np.float64)
    s = np.exp(z - z.max(1, keepdims=True))
    s /= s.sum(1, keepdims=True)
    v = np.full(len(z), 1.0) if weight is None else np.asarray(weight, dtype=np.float64)
    v = v / v.sum()
    kl = np.array(
        [sum(y * math.log(y / q) for y, q in zip(*row, strict=True) if y > 0) for row in zip(labels, s, strict=True)]
    )
    mean = v @ s
    divergence = sum(p * math.log(p / m) for p, m in zip(prior, mean, strict=True) if p > 0)
    entropy = -np.array([sum(q * math.log(q) for q in row if q > 0) for row in s])
    return np.array([v @ kl, divergence, v @ entropy])


@pytest.fixture
def batch():
    rng = np.random.RandomState(0)
    logits = torch.tensor(rng.randn(N_BATCH, N_CLASSES) * 3, dtype=torch.float64, requires_grad=True)
    labels = rng.dirichlet(np.ones(N_CLASSES), N_BATCH)
    labels[0] = np.eye(N_CLASSES)[2]  # one hard label among the soft ones
    return logits, torch.tensor(labels), torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)


def test_terms_equal_the_equations(batch):
    logits, labels, prior = batch
    expected = numpy_terms(logits.detach(), labels.numpy(), prior.numpy())
    terms = [kl_classification_loss(logits, labels), class_prior_divergence(logits, prior), prediction_entropy(logits)]
    np.testing.assert_allclose([t.item() for t in terms], expected, rtol=1e-12)
    total = joint_loss(logits, labels, prior, ALPHA, BETA)
    np.testing.assert_allclose(total.item(), expected @ [1, ALPHA, BETA], rtol=1e-12)


@pytest.mark.parametrize("number", [float, np.float64])
def test_small_numbers_on_the_cpu_give_the_loss_of_double_precision(batch, number):
    outcomes = []
    for dtype in (torch.float32, torch.float64):
        logits, labels, prior = (tensor.detach().to(dtype) for tensor in batch)
        logits.requires_grad_()
        loss = joint_loss(logits, labels, prior, number(1.2), number(0.8))
        loss.backward()
        assert loss.dtype == logits.grad.dtype == dtype
        outcomes.append((loss.double(), logits.grad.double()))
    torch.testing.assert_close(*outcomes, rtol=1e-5, atol=1e-7)


def test_closed_forms():
    uniform, one_hot = torch.zeros(3, N_CLASSES), torch.eye(N_CLASSES)[:3]
    prior = torch.full((N_CLASSES,), 1 / N_CLASSES)
    assert kl_classification_loss(uniform, one_hot).item() == pytest.approx(math.log(N_CLASSES))
    assert prediction_entropy(uniform).item() == pytest.approx(math.log(N_CLASSES))
    assert class_prior_divergence(uniform, prior).item() == pytest.approx(0, abs=1e-6)
    # all mass of the prior on one class: log(1 / s_bar)
    assert class_prior_divergence(uniform, torch.eye(N_CLASSES)[1]).item() == pytest.approx(math.log(N_CLASSES))


def test_perfect_predictions_have_no_classification_loss(batch):
    logits, _, _ = batch
    assert kl_classification_loss(logits, logits.detach().softmax(1)).item() == pytest.approx(0, abs=1e-12)


def test_without_the_other_terms_one_hot_labels_give_cross_entropy(batch):
    logits, _, prior = batch
    target = torch.arange(N_BATCH) % N_CLASSES
    one_hot = torch.nn.functional.one_hot(target, N_CLASSES).double()
    expected = torch.nn.functional.cross_entropy(logits, target)
    torch.testing.assert_close(joint_loss(logits, one_hot, prior, 0.0, 0.0), expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_fused_objective_equals_the_sum_of_the_terms(batch, weighted):
    logits, labels, prior = batch
    if weighted:  # integer weights: a weighted mean is the mean over repeated rows
        repeats = torch.tensor([1, 3, 2, 1, 1, 2, 4])
        weight, rows = repeats.double(), torch.repeat_interleave(torch.arange(N_BATCH), repeats)
    else:
        weight, rows = None, torch.arange(N_BATCH)
    z, y = logits[rows], labels[rows]
    expected = kl_classification_loss(z, y) + ALPHA * class_prior_divergence(z, prior) + BETA * prediction_entropy(z)
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    step = objective_gradient(logits, labels, prior, ALPHA, BETA, weight)
    terms = torch.stack(objective_terms(step, labels, prior, weight))
    torch.testing.assert_close(terms @ torch.tensor([1.0, ALPHA, BETA]).double(), expected)
    torch.testing.assert_close(step.gradient, expected_gradient)
    torch.testing.assert_close(step.proba, logits.softmax(1).detach())
    np.testing.assert_allclose(terms, numpy_terms(logits.detach(), labels.numpy(), prior.numpy(), weight), rtol=1e-10)


class WeightedLoss(torch.autograd.Function):
    """The weighted loss, with the gradient that is given for it."""

    @staticmethod
    def forward(ctx, logits, labels, prior):
        weight = torch.arange(1.0, N_BATCH + 1)
        step = objective_gradient(logits, labels, prior, ALPHA, BETA, weight)
        ctx.save_for_backward(step.gradient)
        divergence, imbalance, entropy = objective_terms(step, labels, prior, weight)
        return divergence + ALPHA * imbalance + BETA * entropy

    @staticmethod
    def backward(ctx, grad_loss):
        return grad_loss * ctx.saved_tensors[0], None, None


CASES = {
    "kl": lambda z, y, p: kl_classification_loss(z, y),
    "prior": lambda z, y, p: class_prior_divergence(z, p),
    "entropy": lambda z, y, p: prediction_entropy(z),
    "joint": lambda z, y, p: joint_loss(z, y, p, ALPHA, BETA),
    "joint, weighted": WeightedLoss.apply,
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_numerical_ones(case, batch):
    logits, labels, prior = batch
    assert torch.autograd.gradcheck(lambda z: CASES[case](z, labels, prior), (logits,))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_at_probabilities_zero_and_one(case, dtype):
    # probabilities that underflow to exactly 0 and 1, for right and for wrong labels; the last class for no row
    logits = torch.full((N_BATCH, N_CLASSES), -2000.0, dtype=dtype)
    logits[torch.arange(N_BATCH), torch.arange(N_BATCH) % (N_CLASSES - 1)] = 0.0
    logits.requires_grad_()
    labels = torch.eye(N_CLASSES, dtype=dtype)[torch.arange(N_BATCH) % N_CLASSES]
    prior = torch.full((N_CLASSES,), 1 / N_CLASSES, dtype=dtype)
    loss = CASES[case](logits, labels, prior)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_prior_divergence_is_exact_where_probabilities_underflow():
    logits = torch.tensor([[0.0, -3000.0], [0.0, -3000.0]], requires_grad=True)
    loss = class_prior_divergence(logits, torch.tensor([0.5, 0.5]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(0.5) + 1500, rel=1e-6)
    assert logits.grad[:, 1].sum().item() == pytest.approx(-0.5, rel=1e-4)  # the dead class is still pulled up


def test_class_of_no_share_is_left_out():
    logits = torch.zeros(2, 3, requires_grad=True)
    loss = joint_loss(logits, torch.eye(3)[:2], torch.tensor([0.5, 0.5, 0.0]), 1.0, 0.0)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3) + math.log(1.5), rel=1e-6)


def test_labels_and_prior_get_no_gradient(batch):
    logits, labels, prior = batch
    labels.requires_grad_(), prior.requires_grad_()
    joint_loss(logits, labels, prior, ALPHA, BETA).backward()
    assert labels.grad is None
    assert prior.grad is None


def test_networks_side_by_side_have_a_loss_each(batch):
    logits, labels, prior = batch
    weight = torch.stack([torch.arange(1.0, N_BATCH + 1), torch.tensor([0.0, 1, 0, 1, 1, 0, 1])]).double()
    stacked = torch.stack([logits, 2 * logits]).detach()
    together = objective_gradient(stacked, labels, prior, ALPHA, BETA, weight)
    terms = objective_terms(together, labels, prior, weight)
    for i in range(2):
        alone = objective_gradient(stacked[i], labels, prior, ALPHA, BETA, weight[i])
        torch.testing.assert_close([term[i] for term in terms], [*objective_terms(alone, labels, prior, weight[i])])
        for of_both, of_one in zip(together, alone, strict=True):
            torch.testing.assert_close(of_both[i], of_one)
    assert (together.gradient[1][weight[1] == 0] == 0).all()  # a row that a network leaves out gives it no gradient


@pytest.mark.parametrize("earlier", [None, RunningMean(torch.zeros(2, N_CLASSES).double() - 2, 0.9)])
def test_a_network_that_leaves_out_the_whole_batch_gets_no_gradient(batch, earlier):
    logits, labels, prior = batch
    stacked = torch.stack([logits] * 2)
    weight = torch.stack([torch.ones(N_BATCH), torch.zeros(N_BATCH)]).double()
    step = objective_gradient(stacked, labels, prior, ALPHA, BETA, weight, earlier)
    assert all(torch.isfinite(term).all() for term in objective_terms(step, labels, prior, weight))
    assert step.gradient[0].abs().sum() > 0
    assert (step.gradient[1] == 0).all()


def test_running_mean_of_the_predictions(batch):
    logits, labels, prior = batch
    earlier, share = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64), 0.9
    step = objective_gradient(logits, labels, prior, ALPHA, BETA, None, RunningMean(earlier.log(), share))
    s = logits.softmax(dim=1)
    mean = share * earlier + (1 - share) * s.detach().mean(dim=0)
    torch.testing.assert_close(step.log_mean, mean.log())
    torch.testing.assert_close(objective_terms(step, labels, prior)[1], (prior * (prior / mean).log()).sum())
    # p / s_bar of all data so far, d s_bar of this batch
    slope = -(prior / mean * s.mean(dim=0)).sum()
    expected = kl_classification_loss(logits, labels) + ALPHA * slope + BETA * prediction_entropy(logits)
    torch.testing.assert_close(step.gradient, torch.autograd.grad(expected, logits)[0])


def test_terms_of_several_batches_add_up(batch):
    logits, labels, prior = batch
    stacked = torch.stack([logits, 2 * logits]).detach()
    weight = torch.stack([torch.arange(1.0, N_BATCH + 1), torch.tensor([0.0, 1, 0, 1, 1, 0, 1])]).double()
    steps, expected = [], torch.zeros(4).double()
    for rows in (slice(0, 3), slice(3, N_BATCH)):
        step = objective_gradient(stacked[:, rows], labels[rows], prior, ALPHA, BETA, weight[:, rows])
        terms = torch.stack(objective_terms(step, labels[rows], prior, weight[:, rows]))
        totals = weight[:, rows].sum(dim=1)
        expected += torch.cat([(terms * totals).sum(dim=1), totals.sum()[None]])
        steps.append((step, totals))
    together = sum_of_terms(
        torch.cat([step.log_proba for step, _ in steps], dim=1),
        labels,
        weight,
        torch.stack([step.log_mean for step, _ in steps]),
        torch.stack([totals for _, totals in steps]),
        prior,
    )
    torch.testing.assert_close(together, expected)


def test_labels_and_prior_of_other_types():
    logits, numbers = torch.randn(5, 3, requires_grad=True), torch.arange(5) % 3
    labels, prior = torch.nn.functional.one_hot(numbers, 3), torch.full((3,), 1 / 3)
    expected = joint_loss(logits, labels.float(), prior, ALPHA, BETA)
    for y, p in ((labels, prior), (labels.bool(), prior), (labels.double(), prior), (labels.float(), prior.double())):
        torch.testing.assert_close(joint_loss(logits, y, p, ALPHA, BETA), expected, check_dtype=False)
        torch.testing.assert_close(
            kl_classification_loss(logits, y), kl_classification_loss(logits, labels.float()), check_dtype=False
        )
    half = logits.detach().bfloat16().requires_grad_()
    joint_loss(half, labels.float(), prior, ALPHA, BETA).backward()
    (gradient,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(half.grad.float(), gradient, atol=0.01, rtol=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: kl_classification_loss(z, torch.zeros(2, dtype=torch.long)), "`labels` must have the shape"),
        (lambda z: class_prior_divergence(z, torch.ones(2)), "`class_prior` must have one entry per class"),
        (lambda z: prediction_entropy(z[0]), "`logits` must have shape"),
        (lambda z: joint_loss(z[:0], z[:0], torch.ones(3), 1.0, 1.0), "`logits` must have shape"),
    ],
)
def test_wrong_shapes(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 3))
