"""The whole of step 1, and step 2, against an independent NumPy version: full batch, linear module, no momentum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from noisyfit import JointOptimizationClassifier

N, N_FEATURES, N_CLASSES = 13, 4, 3
WINDOW, BEGIN, MAX_EPOCHS = 4, 2, 9
ALPHA, BETA, LR = 1.2, 0.8, 0.5
PRIOR = np.array([0.5, 0.3, 0.2])


@pytest.fixture
def problem():
    rng = np.random.RandomState(0)
    X = rng.randn(N, N_FEATURES).astype(np.float32)
    y = rng.randint(N_CLASSES, size=N)
    y[:N_CLASSES] = np.arange(N_CLASSES)
    return X, y, rng.rand(N) + 0.2


@pytest.fixture
def module():
    torch.manual_seed(3)
    return nn.Linear(N_FEATURES, N_CLASSES)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def gradient_to_logits(s, labels, v, mean, alpha, beta):
    """dL/dz by the chain rule through the Jacobian of the softmax, row by row."""
    dL_ds = -v[:, None] * labels / s - alpha * v[:, None] * PRIOR / mean - beta * v[:, None] * (np.log(s) + 1)
    return np.stack([(np.diag(p) - np.outer(p, p)) @ d for p, d in zip(s, dL_ds, strict=True)])


def objective(s, labels, v, mean, alpha, beta):
    kl = np.where(labels > 0, labels * np.log(np.where(labels > 0, labels, 1) / s), 0).sum(axis=1)
    return v @ kl + alpha * np.sum(PRIOR * np.log(PRIOR / mean)) - beta * v @ (s * np.log(s)).sum(axis=1)


def hard(average, codes, n_relabel):
    new = average.argmax(axis=1)
    gain = np.log(average[np.arange(N), new]) - np.log(average[np.arange(N), codes])
    order = sorted(np.flatnonzero(new != codes), key=lambda i: (-gain[i], i))[:n_relabel]
    codes = codes.copy()
    codes[order] = new[order]
    return codes


class Reference:
    """Algorithm 1 with plain gradient descent on all rows at once, in float64."""

    def __init__(self, module, X, y, weight=None, soft=True, n_relabel=None, gamma=0.0, momentum=0.0):
        self.W = module.weight.detach().numpy().astype(np.float64)
        self.b = module.bias.detach().numpy().astype(np.float64)
        self.X, self.codes, self.labels = X.astype(np.float64), y.copy(), np.eye(N_CLASSES)[y]
        self.v = np.full(N, 1 / N) if weight is None else weight / weight.sum()
        self.soft, self.n_relabel, self.outputs, self.average = soft, n_relabel, [], self.labels
        self.given, self.gamma, self.T = y, gamma, None
        self.weight = np.ones(N) if weight is None else weight
        self.momentum, self.means = momentum, []

    def train(self, alpha, beta, lr):
        s = softmax(self.X @ self.W.T + self.b)
        self.means.append(self.v @ s)
        powers = self.momentum ** np.arange(len(self.means))[::-1]
        mean = powers / powers.sum() @ self.means if self.momentum else self.means[-1]
        loss = objective(s, self.labels, self.v, mean, alpha, beta)
        g = gradient_to_logits(s, self.labels, self.v, mean, alpha, beta)
        self.W, self.b = self.W - lr * g.T @ self.X, self.b - lr * g.sum(axis=0)
        return s, loss

    def epoch(self, number):
        s, loss = self.train(ALPHA, BETA, LR)
        self.outputs.append(s)
        if number >= BEGIN:
            self.average = np.mean(self.outputs[-WINDOW:], axis=0)
            if self.gamma:
                self.T = self.noise_matrix() if self.T is None else self.T
                self.average = self.average * self.T[:, self.given].T ** self.gamma
                self.average /= self.average.sum(axis=1, keepdims=True)
            self.T = self.noise_matrix()
            self.codes = self.average.argmax(axis=1) if self.soft else hard(self.average, self.codes, self.n_relabel)
            self.labels = self.average if self.soft else np.eye(N_CLASSES)[self.codes]
        return loss

    def noise_matrix(self):
        counts = np.full((N_CLASSES, N_CLASSES), 0.01) + 0.99 * np.eye(N_CLASSES)
        for w, y, given in zip(self.weight, self.average, self.given, strict=True):
            counts[:, given] += w * y
        return counts / counts.sum(axis=1, keepdims=True)


def classifier(module, epochs, **params):
    defaults = {
        "alpha": ALPHA,
        "beta": BETA,
        "class_prior": PRIOR,
        "gamma": 0.0,
        "cross_fit": 0,
        "margin": 0.0,
        "begin": BEGIN,
        "window": WINDOW,
        "lr": LR,
        "batch_size": N,
        "lr_schedule": "constant",
        "net_params": {"max_grad_norm": None},
        "device": "cpu",
        "random_state": 0,
    }
    return JointOptimizationClassifier(module, max_epochs=epochs, **(defaults | params))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("update", [{}, {"label_update": "hard"}, {"label_update": "hard", "n_relabel": 2}])
@pytest.mark.parametrize("gamma", [0.0, 0.4])
@pytest.mark.filterwarnings("ignore:gamma")
def test_step_1_after_every_epoch(problem, module, weighted, update, gamma):
    X, y, weight = problem
    weight = weight if weighted else None
    reference = Reference(module, X, y, weight, soft=not update, n_relabel=update.get("n_relabel"), gamma=gamma)
    losses = [reference.epoch(1)]
    for epoch in range(2, MAX_EPOCHS + 1):
        losses.append(reference.epoch(epoch))
        clf = classifier(module, epoch, gamma=gamma, **update).fit(X, y, sample_weight=weight)
        np.testing.assert_allclose(clf.soft_labels_, reference.average, atol=1e-5)
        np.testing.assert_array_equal(clf.corrected_labels_, reference.codes)
        np.testing.assert_allclose(clf.transition_matrix_, reference.T, atol=1e-5)
        np.testing.assert_allclose(clf.history_["loss"], losses, atol=1e-5)
        expected = softmax(X @ reference.W.T + reference.b)
        np.testing.assert_allclose(clf.predict_proba(X), expected, atol=1e-5)
    assert (reference.codes != y).any()  # or the comparison would say little


@pytest.mark.parametrize("update", [{}, {"label_update": "hard"}])
def test_step_2_starts_anew_on_the_final_labels(problem, module, update):
    X, y, _ = problem
    reference = Reference(module, X, y, soft=not update)
    for epoch in range(1, MAX_EPOCHS + 1):
        reference.epoch(epoch)
    retrained = Reference(module, X, y)
    retrained.labels = reference.labels
    rates = [1, 1, 0.1, 0.1, 0.01, 0.01]
    losses = [retrained.train(0.0, 0.0, 2.0 * rate)[1] for rate in rates]
    net_params = {"max_grad_norm": None, "retrain_lr": 2.0}
    clf = classifier(module, MAX_EPOCHS, retrain_epochs=len(rates), net_params=net_params, **update).fit(X, y)
    np.testing.assert_allclose(clf.history_.query("step == 2")["loss"], losses, atol=1e-5)
    expected = softmax(X @ retrained.W.T + retrained.b)
    np.testing.assert_allclose(clf.predict_proba(X), expected, atol=1e-5)
    np.testing.assert_allclose(clf.soft_labels_, reference.average, atol=1e-5)  # step 2 leaves the labels alone


def test_running_mean_of_the_predictions(problem, module):
    X, y, weight = problem
    reference = Reference(module, X, y, weight, momentum=0.7)
    losses = [reference.epoch(epoch) for epoch in range(1, MAX_EPOCHS + 1)]
    net_params = {"max_grad_norm": None, "prior_momentum": 0.7}
    clf = classifier(module, MAX_EPOCHS, net_params=net_params).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(clf.history_["loss"], losses, atol=1e-5)
    np.testing.assert_allclose(clf.soft_labels_, reference.average, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_cross_fitted_networks_are_fits_without_their_fold(problem, module, weighted, monkeypatch):
    """As long as no label changes, each network is a fit of its own on the rows it does not leave out."""
    X, y, weight = problem
    weight = weight if weighted else np.ones(N)
    folds = np.arange(N) % 3
    monkeypatch.setattr("noisyfit.algorithm.problem.assign_folds", lambda *args: folds)
    references = [Reference(module, X, y, weight * (folds != k)) for k in range(3)]
    outputs, losses = [], []
    for _ in range(MAX_EPOCHS):
        trained = [reference.train(ALPHA, BETA, LR) for reference in references]
        outputs.append(np.stack([trained[folds[i]][0][i] for i in range(N)]))
        totals = [(weight * (folds != k)).sum() for k in range(3)]
        losses.append(np.average([loss for _, loss in trained], weights=totals))
    clf = classifier(module, MAX_EPOCHS, cross_fit=3, begin=MAX_EPOCHS).fit(
        X, y, sample_weight=weight if weighted else None
    )
    np.testing.assert_allclose(clf.soft_labels_, np.mean(outputs[-WINDOW:], axis=0), atol=1e-5)
    np.testing.assert_allclose(clf.history_["loss"], losses, atol=1e-5)
    expected = np.mean([softmax(X @ reference.W.T + reference.b) for reference in references], axis=0)
    np.testing.assert_allclose(clf.predict_proba(X), expected, atol=1e-5)


def test_gradient_clipping_and_decay(problem, module):
    X, y, _ = problem
    limit, epochs = 0.1, 10
    reference = Reference(module, X, y)
    for epoch in range(1, epochs + 1):
        before = reference.W.copy(), reference.b.copy()
        reference.epoch(epoch)
        steps = reference.W - before[0], reference.b - before[1]
        norm = np.sqrt(sum((step**2).sum() for step in steps)) / LR
        factor = min(1, limit / norm) * min(1, (epochs - epoch + 0.5) / (0.3 * epochs))
        reference.W, reference.b = before[0] + factor * steps[0], before[1] + factor * steps[1]
    clf = classifier(module, epochs, net_params={"max_grad_norm": limit}, lr_schedule="decay").fit(X, y)
    np.testing.assert_allclose(clf.soft_labels_, reference.average, atol=1e-5)
