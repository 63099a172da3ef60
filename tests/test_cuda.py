"""What must hold on a GPU; skipped where there is none."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.base import clone
from skorch.callbacks import Callback

from noisyfit import JointOptimizationClassifier
from noisyfit.losses import joint_loss, objective_gradient
from noisyfit.machine.devices import use_bfloat16
from noisyfit.nets.augmentation import crop_flip
from noisyfit.noise import corrupt_labels, symmetric_noise
from noisyfit.rows.rows import as_rows

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def fitted(digits):
    X, y, _ = digits
    return JointOptimizationClassifier(max_epochs=20, random_state=0).fit(X, y)


def test_moments_have_arrived_when_they_are_used():
    X = np.random.RandomState(0).randn(3000, 200).astype(np.float32) + 5
    for _ in range(20):
        mean, variance = as_rows(X, torch.device("cuda")).moments()
        np.testing.assert_allclose(mean, X.mean(axis=0, dtype=np.float64), rtol=1e-4)
        np.testing.assert_allclose(variance, X.var(axis=0, dtype=np.float64), rtol=1e-4)


@pytest.fixture(scope="module")
def images():
    """Squares in one of four corners, (n, 1, 8, 8) uint8: X, y_noisy, y_clean."""
    rng = np.random.RandomState(0)
    y_clean = rng.randint(4, size=400)
    X = rng.randint(60, size=(400, 1, 8, 8))
    for image, corner in zip(X, y_clean, strict=True):
        image[0, 4 * (corner // 2) :, 4 * (corner % 2) :][:4, :4] += 150
    return X.astype(np.uint8), corrupt_labels(y_clean, symmetric_noise(4, 0.3), random_state=0), y_clean


def test_finds_the_labels_that_a_cpu_finds(digits, fitted):
    X, y, y_clean = digits
    on_cpu = clone(fitted).set_params(device="cpu").fit(X, y)
    assert torch.device(fitted.net_.device).type == "cuda"
    assert np.mean(fitted.corrected_labels_ == on_cpu.corrected_labels_) > 0.97
    assert np.mean(fitted.corrected_labels_ == y_clean) > 0.93
    assert fitted.noise_rate_ == pytest.approx(on_cpu.noise_rate_, abs=0.02)


def test_the_same_seed_finds_the_same_labels(digits, fitted):
    X, y, _ = digits
    again = clone(fitted).fit(X, y)
    assert np.mean(again.corrected_labels_ == fitted.corrected_labels_) > 0.99
    np.testing.assert_allclose(again.soft_labels_.mean(axis=0), fitted.soft_labels_.mean(axis=0), atol=0.01)


def test_random_states_stay_as_they_were(digits):
    X, y, _ = digits
    cpu, gpu = torch.get_rng_state(), torch.cuda.get_rng_state()
    JointOptimizationClassifier(max_epochs=2).fit(X, y)
    assert torch.equal(torch.get_rng_state(), cpu)
    assert torch.equal(torch.cuda.get_rng_state(), gpu)


def test_a_saved_one_predicts_on_a_cpu(digits, fitted, tmp_path):
    fitted.save(tmp_path / "model")
    moved = JointOptimizationClassifier.load(tmp_path / "model", device="cpu")
    assert str(moved.net_.device) == "cpu"
    np.testing.assert_allclose(moved.predict_proba(digits[0]), fitted.predict_proba(digits[0]), atol=1e-3)


def test_pickle(digits, fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_allclose(again.predict_proba(digits[0]), fitted.predict_proba(digits[0]), atol=1e-5)


def test_images_train_in_bfloat16(images):
    X, y, y_clean = images
    if not use_bfloat16("auto", torch.device("cuda"), X.shape[1:]):
        pytest.skip("needs a GPU that has bfloat16")
    clf = JointOptimizationClassifier(max_epochs=15, random_state=0).fit(X, y)
    assert clf.soft_labels_.dtype == np.float32
    assert np.mean(clf.corrected_labels_ == y_clean) > np.mean(y == y_clean) + 0.1


def test_crops_and_mirrors_on_the_device(images):
    cropped = crop_flip(torch.from_numpy(images[0]).float().cuda())
    assert cropped.device.type == "cuda"
    assert cropped.shape == images[0].shape


@pytest.mark.parametrize("place", ["host", "file"])
def test_labels_may_lie_beside_the_gpu(digits, fitted, place, monkeypatch):
    X, y, _ = digits
    monkeypatch.setattr("noisyfit.algorithm.parts.choose_place", lambda *args: place)
    clf = clone(fitted).fit(X, y)
    assert np.mean(clf.corrected_labels_ == fitted.corrected_labels_) > 0.99


def test_sparse_rows_and_weights(digits):
    X, y, y_clean = digits
    weight = np.ones(len(y))
    weight[:100] = 0
    clf = JointOptimizationClassifier(max_epochs=20, random_state=0)
    clf.fit(scipy.sparse.csr_matrix(X), y, sample_weight=weight)
    assert np.mean(clf.corrected_labels_ == y_clean) > 0.9


class Cut(Callback):
    """Ends a fit, the first time, at an epoch on corrected labels."""

    armed = True

    def on_epoch_begin(self, net, **kwargs):
        if Cut.armed and len(net.history) == 18:
            Cut.armed = False
            raise RuntimeError("cut")


def test_a_fit_that_was_cut_goes_on(digits, fitted, tmp_path):
    X, y, _ = digits
    clf = clone(fitted).set_params(checkpoint=tmp_path, net_params={"callbacks": [("cut", Cut())]})
    with pytest.raises(RuntimeError, match="cut"):
        clf.fit(X, y)
    clf.fit(X, y)
    assert clf.n_iter_ == fitted.n_iter_
    assert np.mean(clf.corrected_labels_ == fitted.corrected_labels_) > 0.99


def test_gradient_is_that_of_the_loss():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 10, generator=generator).cuda()
    labels = torch.rand(64, 10, generator=generator).softmax(dim=1).cuda()
    prior = torch.full((10,), 0.1, device="cuda")
    step = objective_gradient(logits, labels, prior, 1.2, 0.8)
    leaf = logits.double().requires_grad_()
    joint_loss(leaf, labels.double(), prior.double(), 1.2, 0.8).backward()
    assert float((step.gradient.double() - leaf.grad).norm() / leaf.grad.norm()) < 1e-5
