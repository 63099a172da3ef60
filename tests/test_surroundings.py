"""What the caller has set around a fit: it changes no result, and is there again afterwards."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from noisyfit import JointOptimizationClassifier


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


SURROUNDINGS = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "device": lambda: torch.device("meta"),
    "errstate": lambda: np.errstate(all="raise"),
}
AROUND = pytest.mark.parametrize("around", SURROUNDINGS.values(), ids=SURROUNDINGS)


class Own(nn.Module):
    def __init__(self, n_features, n_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, n_classes))

    def forward(self, x):
        return self.layers(x)


def make(**params):
    return JointOptimizationClassifier(max_epochs=6, random_state=0, device="cpu", **params)


def everything(clf, X, y):
    corrected, soft = clf.correct(X, y)
    return [clf.soft_labels_, clf.transition_matrix_, clf.predict_proba(X), soft, corrected, clf.class_prior_]


@AROUND
@pytest.mark.parametrize(
    "module", [pytest.param(None, id="default"), pytest.param(Own, id="own", marks=pytest.mark.thorough)]
)
def test_what_is_set_around_a_fit_changes_nothing(blobs, around, module, tmp_path):
    X, y, _ = blobs
    expected = everything(make(module=module, retrain_epochs=2).fit(X, y), X, y)
    with around():
        before = torch.get_default_dtype(), torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), np.geterr()
        clf = make(module=module, retrain_epochs=2).fit(X, y)
        found = everything(clf, X, y)
        clf.save(tmp_path / "model")
        loaded = JointOptimizationClassifier.load(tmp_path / "model", module=module)
        of_loaded = everything(loaded, X, y)
        after = torch.get_default_dtype(), torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), np.geterr()
    assert before == after
    for one, other, third in zip(expected, found, of_loaded, strict=True):
        assert one.dtype == other.dtype == third.dtype
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, third)


@AROUND
def test_a_judgement_depends_on_nothing_around_it(blobs, around):
    X, y, y_clean = blobs
    clf = make().fit(X, y)
    checked = {row: y_clean[row] for row in clf.rows_to_check(30).index}
    expected = clf.settle(checked).soft_labels_
    clf.settle({})
    with around():
        again = clf.settle(checked)
    np.testing.assert_array_equal(again.soft_labels_, expected)


def test_inputs_and_networks_that_were_made_in_inference_mode_are_trained(blobs):
    X, y, _ = blobs
    torch.manual_seed(0)
    expected = make(module=Own(5, 3)).fit(X, y).soft_labels_
    with torch.inference_mode():
        torch.manual_seed(0)
        module, inputs = Own(5, 3), torch.from_numpy(X).clone()
        found = make(module=module).fit(inputs, y)
    np.testing.assert_array_equal(found.soft_labels_, expected)
    np.testing.assert_array_equal(make(module=module).fit(inputs, y).soft_labels_, expected)
