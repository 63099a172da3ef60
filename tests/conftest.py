from __future__ import annotations

import os

import matplotlib
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_blobs

from noisyfit import JointOptimizationClassifier
from noisyfit.noise import corrupt_labels, symmetric_noise

import few_trees

matplotlib.use("Agg")
torch.manual_seed(0)  # for networks that are made while tests are collected
# worker processes of a DataLoader or of joblib inherit no other limit
os.environ.setdefault("OMP_NUM_THREADS", "2")


def pytest_configure(config):
    config.pluginmanager.register(few_trees)  # for the doctests of the package, too


@pytest.fixture(autouse=True)
def seeded():
    """Networks made inside a test begin with the same weights in every run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def blobs():
    """Three well separated classes, 90 rows of 5 features, a fifth of the labels wrong: X, y_noisy, y_clean."""
    X, y_clean = make_blobs(90, n_features=5, centers=3, cluster_std=1.0, random_state=0)
    return X.astype(np.float32), corrupt_labels(y_clean, symmetric_noise(3, 0.2), random_state=0), y_clean


@pytest.fixture(scope="session")
def digits():
    """All digits as (n, 64) float64: X, y_noisy, y_clean; 40 % of the labels really changed."""
    X, y_clean = load_digits(return_X_y=True)
    return X, corrupt_labels(y_clean, symmetric_noise(10, 0.4), random_state=0), y_clean


@pytest.fixture
def quick():
    """Constructor of a classifier with one network that fits in a moment."""

    def make(*args, **params):
        defaults = {"max_epochs": 4, "batch_size": 32, "lr": 0.2, "random_state": 0, "device": "cpu"}
        defaults |= {"cross_fit": 0, "gamma": 0.0, "begin": 0.3, "class_prior": "given", "margin": 0.0}
        if not args:
            defaults["module_params"] = {"hidden": (16,), "dropout": 0.0}
        return JointOptimizationClassifier(*args, **(defaults | params))

    return make
