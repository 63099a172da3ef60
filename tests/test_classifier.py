"""The estimator's contract."""

from __future__ import annotations

import inspect
import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import (
    Callback,
    Checkpoint,
    GradientNormClipping,
    LRScheduler,
    PrintLog,
    ProgressBar,
    TrainEndCheckpoint,
)
from torch import nn
from torch.utils.data import TensorDataset

from noisyfit import JointOptimizationClassifier
from noisyfit.metrics import recovery_accuracy
from noisyfit.networks import MLP
from noisyfit.noise import corrupt_labels, symmetric_noise

from inputs import Inputs, memmap


def fitted_arrays(clf):
    return {
        "soft": clf.soft_labels_,
        "corrected": clf.corrected_labels_,
        "T": clf.transition_matrix_,
        "prior": clf.class_prior_,
        "noise_rate": np.array(clf.noise_rate_),
        "history": clf.history_.drop(columns="seconds").to_numpy(),
        **{name: value.cpu().numpy() for name, value in clf.net_.module_.state_dict().items()},
    }


def assert_same_fit(first, second):
    expected = fitted_arrays(second)
    for name, value in fitted_arrays(first).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def same_bits(first, second):
    return (first.soft_labels_ == second.soft_labels_).all()


# what it is for


@pytest.mark.thorough
def test_recovers_digits_with_the_defaults(digits):
    """Three draws of 40 % symmetric noise, the labels really changed."""
    X, _, y = digits
    recovered, accurate = [], []
    for seed in range(3):
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=seed)
        y_noisy = corrupt_labels(y_train, symmetric_noise(10, 0.4), random_state=seed)
        assert recovery_accuracy(y_train, y_noisy) == pytest.approx(0.6, abs=0.03)
        clf = JointOptimizationClassifier(random_state=seed, device="cpu").fit(X_train, y_noisy)
        recovered.append(recovery_accuracy(y_train, clf.corrected_labels_))
        accurate.append(clf.score(X_test, y_test))
    assert np.mean(recovered) >= 0.955
    assert np.mean(accurate) >= 0.95


@pytest.mark.parametrize("max_epochs", [1, 2, 3, 4, 5, 11])
def test_defaults_are_valid_for_every_number_of_epochs(blobs, max_epochs):
    X, y, _ = blobs
    clf = JointOptimizationClassifier(max_epochs=max_epochs, random_state=0, device="cpu").fit(X, y)
    assert clf.n_iter_ == max_epochs
    np.testing.assert_allclose(clf.soft_labels_.sum(1), 1, atol=1e-6)


# fitted attributes


def test_fitted_attributes(blobs, quick):
    X, y, _ = blobs
    clf = quick(max_epochs=6, retrain_epochs=2).fit(X, y)
    n, c = len(X), 3
    assert clf.soft_labels_.shape == (n, c)
    assert clf.soft_labels_.dtype == np.float32
    np.testing.assert_allclose(clf.soft_labels_.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(clf.corrected_labels_, clf.classes_[clf.soft_labels_.argmax(axis=1)])
    assert clf.corrected_labels_.dtype == y.dtype
    assert clf.correction_refused_ is None
    np.testing.assert_array_equal(clf.classes_, [0, 1, 2])
    assert clf.n_features_in_ == 5
    assert clf.n_iter_ == 6
    np.testing.assert_allclose(clf.class_prior_, np.bincount(y) / n, rtol=1e-6)
    assert clf.transition_matrix_.shape == (c, c)
    np.testing.assert_allclose(clf.transition_matrix_.sum(axis=1), 1)
    assert clf.noise_rate_ == pytest.approx(1 - clf.soft_labels_[np.arange(n), y].mean(), abs=1e-6)
    assert list(clf.history_["step"]) == [1] * 6 + [2] * 2
    assert list(clf.history_["epoch"]) == [1, 2, 3, 4, 5, 6, 1, 2]
    assert list(clf.history_.columns) == [
        "step", "epoch", "loss", "L_c", "L_p", "L_e", "L_o", "labels_changed", "labels_corrected", "seconds",
    ]  # fmt: skip
    assert np.isfinite(clf.history_.to_numpy()).all()
    assert isinstance(clf.net_.module_, MLP)


def test_history_adds_up(blobs, quick):
    X, y, _ = blobs
    clf = quick(alpha=1.1, beta=0.3, max_epochs=5, begin=3).fit(X, y)
    h = clf.history_
    np.testing.assert_allclose(h["loss"], h["L_c"] + 1.1 * h["L_p"] + 0.3 * h["L_e"], rtol=1e-5)
    assert (h["labels_changed"][:2] == 0).all()  # nothing changes before `begin`
    assert (h["labels_corrected"][:2] == 0).all()
    assert h["labels_corrected"].iloc[-1] == pytest.approx((clf.corrected_labels_ != y).mean())


def test_begin_is_counted_from_1_or_a_share(blobs, quick):
    X, y, _ = blobs
    same = [quick(max_epochs=6, begin=begin).fit(X, y) for begin in (2, 0.3, 2 / 6)]
    assert_same_fit(same[0], same[1])
    assert_same_fit(same[0], same[2])
    assert not same_bits(same[0], quick(max_epochs=6, begin=3).fit(X, y))


def test_at_most_n_relabel_labels_change_an_epoch(blobs, quick):
    X, y, _ = blobs
    clf = quick(label_update="hard", n_relabel=3, max_epochs=6, begin=2, lr=0.5).fit(X, y)
    changed = clf.history_["labels_changed"] * len(X)
    assert (changed.round(6) <= 3).all()
    assert changed.iloc[1] == pytest.approx(3)
    assert (clf.corrected_labels_ != y).sum() <= 15


def test_priors(blobs, quick):
    X, y, _ = blobs
    np.testing.assert_allclose(quick(class_prior="uniform").fit(X, y).class_prior_, 1 / 3, rtol=1e-6)
    own = quick(class_prior=[0.2, 0.3, 0.5]).fit(X, y)
    np.testing.assert_allclose(own.class_prior_, [0.2, 0.3, 0.5], rtol=1e-6)
    assert not same_bits(own, quick().fit(X, y))


def test_an_estimated_prior_starts_from_the_given_and_follows_the_labels(blobs, quick):
    X, y, _ = blobs
    weight = np.random.RandomState(0).rand(len(y)) + 0.1
    clf = quick(class_prior="estimated", max_epochs=6, begin=2).fit(X, y, sample_weight=weight)
    expected = np.average(clf.soft_labels_, axis=0, weights=weight.astype(np.float32))
    np.testing.assert_allclose(clf.class_prior_, expected, rtol=1e-5)
    given = quick(class_prior="given", max_epochs=6, begin=2).fit(X, y, sample_weight=weight)
    columns = ["loss", "L_p"]
    before, after = slice(0, 2), slice(2, None)
    np.testing.assert_array_equal(clf.history_[columns][before], given.history_[columns][before])
    assert (clf.history_["L_p"][after] != given.history_["L_p"][after]).all()


def test_a_margin_keeps_given_labels_and_changes_nothing_else(blobs, quick):
    X, y, _ = blobs
    plain, wary = quick(max_epochs=8).fit(X, y), quick(max_epochs=8, margin=0.4).fit(X, y)
    np.testing.assert_array_equal(wary.soft_labels_, plain.soft_labels_)
    rows, predicted = np.arange(len(y)), plain.soft_labels_.argmax(axis=1)
    gap = plain.soft_labels_[rows, predicted] - plain.soft_labels_[rows, y]
    np.testing.assert_array_equal(wary.corrected_labels_, np.where(gap > 0.4, predicted, y))
    assert (wary.corrected_labels_ != plain.corrected_labels_).any()
    report = wary.label_report()
    np.testing.assert_array_equal(report["is_label_issue"], wary.corrected_labels_ != y)
    np.testing.assert_array_equal(report["predicted_label"], predicted)


# inputs


INPUTS = {
    "float64": lambda X, folder: X.astype(np.float64),
    "lists": lambda X, folder: X.astype(float).tolist(),
    "pandas": lambda X, folder: pd.DataFrame(X, columns=list("abcde")),
    "polars": lambda X, folder: pl.DataFrame(X, schema=list("abcde")),
    "tensor": lambda X, folder: torch.from_numpy(X),
    "list of tensors": lambda X, folder: list(torch.from_numpy(X)),
    "list of arrays": lambda X, folder: list(X),
    "memmap": memmap,
    "Fortran order": lambda X, folder: np.asfortranarray(X),
    "object": lambda X, folder: X.astype(object),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_every_input_in_memory_gives_the_same_fit(blobs, quick, kind, tmp_path):
    X, y, _ = blobs
    data = INPUTS[kind](X, tmp_path)
    clf, expected = quick().fit(data, y), quick().fit(X, y)
    assert_same_fit(clf, expected)
    np.testing.assert_array_equal(clf.predict_proba(data), expected.predict_proba(X))


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "csc_matrix", "coo_array"])
def test_sparse_inputs(blobs, quick, kind):
    X, y, _ = blobs
    X = np.where(np.abs(X) < 1, 0, X)
    clf, expected = quick().fit(getattr(sp, kind)(X), y), quick().fit(X, y)
    np.testing.assert_allclose(clf.soft_labels_, expected.soft_labels_, atol=1e-5)  # statistics are summed otherwise
    np.testing.assert_allclose(clf.predict_proba(sp.csr_matrix(X)), clf.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_datasets(blobs, quick, num_workers):
    X, y, _ = blobs
    loading = {"iterator_train__num_workers": num_workers, "iterator_valid__num_workers": num_workers}
    clf = quick(net_params=loading).fit(Inputs(X), y)
    assert_same_fit(clf, quick().fit(X, y))
    np.testing.assert_array_equal(clf.predict(Inputs(X)), clf.predict(X))
    assert clf.n_features_in_ == 5


def test_a_tensor_dataset_of_inputs(blobs, quick):
    X, y, _ = blobs
    dataset = TensorDataset(torch.from_numpy(X))
    clf = quick().fit(dataset, y)
    assert_same_fit(clf, quick().fit(X, y))
    assert clf.predict(dataset).shape == (90,)


def images(n=40, dtype=np.uint8):
    rng = np.random.RandomState(0)
    y = np.arange(n) % 2
    return (rng.randint(0, 100, (n, 3, 8, 8)) + 100 * y[:, None, None, None]).astype(dtype), y


def test_uint8_images_equal_floats_divided_by_255(quick):
    X, y = images()
    params = {"module_params": {"width": 4}, "net_params": {"precision": "float32"}}
    as_bytes, as_floats = quick(**params).fit(X, y), quick(**params).fit(X.astype(np.float32) / 255, y)
    np.testing.assert_allclose(as_bytes.soft_labels_, as_floats.soft_labels_, atol=1e-4)
    for same in (torch.from_numpy(X), list(torch.from_numpy(X)), list(X)):
        np.testing.assert_array_equal(as_bytes.predict_proba(same), as_bytes.predict_proba(X))


@pytest.mark.parametrize(
    "params", [{"augment": "crop_flip"}, {"augment": torch.neg}, {"net_params": {"precision": "bfloat16"}}]
)
def test_augmentation_and_precision(quick, params):
    X, y = images()
    usual = {"module_params": {"width": 4}, "net_params": {"precision": "float32"}}
    plain, changed = (quick(**usual | p).fit(X, y) for p in ({}, params))
    assert not same_bits(plain, changed)
    assert np.isfinite(changed.history_["loss"]).all()
    np.testing.assert_allclose(changed.predict_proba(X).sum(axis=1), 1, atol=1e-5)


def test_augmentation_is_for_training_only(quick):
    X, y = images()
    seen = []
    clf = quick(module_params={"width": 4}, augment=lambda x: seen.append(len(x)) or x, max_epochs=2, batch_size=20)
    clf.fit(X, y).predict(X)
    assert seen == [20] * 4


@pytest.mark.parametrize(
    "names",
    [
        ["ham", "spam", "eggs"],
        [True, False],
        [-1, 0, 5],
        [0.0, 1.0],
        np.array(["ham", "spam", "eggs"], dtype=object),
    ],
    ids=["strings", "bools", "gaps", "floats", "objects"],
)
def test_labels_of_any_kind(blobs, quick, names):
    X, y, _ = blobs
    names = np.asarray(names)
    y = names[y % len(names)]
    clf = quick().fit(X, y)
    np.testing.assert_array_equal(clf.classes_, np.unique(y))
    assert clf.corrected_labels_.dtype == y.dtype
    assert clf.predict(X).dtype == y.dtype
    assert set(clf.label_report()["corrected_label"]) <= set(names)


@pytest.mark.parametrize(
    "as_labels",
    [
        pd.Series,
        lambda y: pd.Series(y).astype(str),
        lambda y: pd.Series(y).astype(str).astype("category"),
        lambda y: pd.Series(y, dtype="Int64"),
        lambda y: pd.Series(y).astype(str).astype("string[pyarrow]"),
        lambda y: pl.Series(y),
        lambda y: pl.Series(y.astype(str)),
        torch.from_numpy,
        list,
    ],
    ids=["Series", "strings", "categories", "nullable", "Arrow strings", "polars", "polars strings", "tensor", "list"],
)
def test_containers_of_labels(blobs, quick, as_labels):
    X, y, _ = blobs
    clf = quick().fit(X, as_labels(y))
    expected = quick().fit(X, y).corrected_labels_
    if clf.corrected_labels_.dtype.kind in "OUT":  # strings
        expected = expected.astype(str)
    np.testing.assert_array_equal(clf.corrected_labels_, expected)
    assert clf.corrected_labels_.dtype.kind != "f"


def test_feature_names_are_kept_and_checked(blobs, quick):
    X, y, _ = blobs
    frame = pd.DataFrame(X, columns=list("abcde"))
    clf = quick().fit(frame, y)
    assert list(clf.feature_names_in_) == list("abcde")
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame[list("edcba")])


# sample weights


def test_rows_of_weight_0_train_nothing_but_get_a_label(blobs, quick):
    X, y, _ = blobs
    weight = np.ones(len(X))
    weight[[3, 40, 77]] = 0
    kept = weight > 0
    wild = X.copy()
    wild[~kept] += 50
    clf, expected = quick().fit(wild, y, sample_weight=weight), quick().fit(X[kept], y[kept])
    np.testing.assert_allclose(clf.predict_proba(X), expected.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(clf.soft_labels_[kept], expected.soft_labels_, atol=1e-5)
    np.testing.assert_allclose(clf.soft_labels_[~kept].sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(clf.transition_matrix_, expected.transition_matrix_, atol=1e-4)


def test_equal_weights_are_no_weights(blobs, quick):
    X, y, _ = blobs
    clf = quick().fit(X, y, sample_weight=np.full(len(X), 3.0))
    np.testing.assert_allclose(clf.soft_labels_, quick().fit(X, y).soft_labels_, atol=1e-5)


def test_in_one_batch_weight_2_is_a_row_given_twice(blobs, quick):
    X, y, _ = blobs
    repeats = np.random.RandomState(0).randint(1, 4, len(X))
    params = {"batch_size": 1000, "lr_schedule": "constant"}
    clf = quick(**params).fit(X, y, sample_weight=repeats)
    expected = quick(**params).fit(np.repeat(X, repeats, axis=0), np.repeat(y, repeats))
    np.testing.assert_allclose(clf.predict_proba(X), expected.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(clf.class_prior_, expected.class_prior_, rtol=1e-6)
    np.testing.assert_allclose(clf.transition_matrix_, expected.transition_matrix_, atol=1e-4)
    np.testing.assert_allclose(clf.history_["L_o"], expected.history_["L_o"], atol=1e-5)


def test_a_class_without_weight_leaves_the_prior(blobs, quick):
    X, y, _ = blobs
    weight = (y != 1).astype(float)
    assert list(quick(class_prior="uniform").fit(X, y, sample_weight=weight).class_prior_) == [0.5, 0, 0.5]
    own = quick(class_prior=[0.2, 0.5, 0.3]).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(own.class_prior_, [0.4, 0, 0.6], rtol=1e-6)


# a good citizen


def test_same_seed_same_bits_other_seed_other_bits(digits, quick):
    X, y, _ = digits
    params = {"max_epochs": 3, "retrain_epochs": 1}
    first, again, other = (quick(**params, random_state=seed).fit(X, y) for seed in (5, 5, 6))
    assert_same_fit(first, again)
    assert not same_bits(first, other)


def test_fits_without_a_seed_differ(blobs, quick):
    X, y, _ = blobs
    assert not same_bits(quick(random_state=None).fit(X, y), quick(random_state=None).fit(X, y))


def test_a_random_state_instance_moves_on(blobs, quick):
    X, y, _ = blobs
    generator = np.random.RandomState(0)
    first, second = quick(random_state=generator).fit(X, y), quick(random_state=generator).fit(X, y)
    assert not same_bits(first, second)
    assert_same_fit(first, quick(random_state=np.random.RandomState(0)).fit(X, y))


def test_a_module_instance_is_not_trained_in_place(blobs, quick):
    X, y, _ = blobs
    module = nn.Linear(5, 3)
    weight = module.weight.detach().clone()
    clf = quick(module, retrain_epochs=1)
    first = clf.fit(X, y).soft_labels_
    assert (module.weight == weight).all()
    np.testing.assert_array_equal(clf.fit(X, y).soft_labels_, first)


@pytest.mark.parametrize("module", [None, nn.Linear(5, 3), lambda n_features, n_classes: nn.Linear(5, 3)])
def test_parameters_are_the_same_after_fit(blobs, quick, module):
    X, y, _ = blobs
    params = {
        "module": module,
        "net_params": {"callbacks": [Recorder()], "optimizer__momentum": 0.9, "optimizer__nesterov": True},
        "class_prior": np.full(3, 1 / 3),
    }
    clf = JointOptimizationClassifier(max_epochs=4, random_state=0, device="cpu", **params)
    before, contents = clf.get_params(), {k: dict(v) for k, v in clf.get_params().items() if isinstance(v, dict)}
    clf.fit(X, y)
    after = clf.get_params()
    assert all(after[name] is before[name] for name in before)
    assert {name: after[name] for name in contents} == contents
    assert len(after["net_params"]["callbacks"]) == 1


def test_clone_of_a_fitted_one_equals_a_fresh_fit(blobs, digits, quick):
    X, y, _ = blobs
    fitted = quick().fit(digits[0], digits[1])
    assert_same_fit(clone(fitted).fit(X, y), quick().fit(X, y))
    assert_same_fit(fitted.fit(X, y), quick().fit(X, y))  # and so does fitting again


def test_the_caller_s_world_is_as_it_was(blobs, quick):
    X, y, _ = blobs
    X, y, weight = X.copy(), y.copy(), np.ones(len(y))
    copies = X.copy(), y.copy(), weight.copy()
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state().clone()
    threads = torch.get_num_threads(), torch.get_num_interop_threads()
    modes = torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(), torch.get_default_dtype()
    quick(random_state=None).fit(X, y, sample_weight=weight).predict(X)
    clf = quick().fit(Inputs(X), y)
    clf.predict(Inputs(X))
    for array, copy in zip((X, y, weight), copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert (torch.get_rng_state() == states[2]).all()
    assert (torch.get_num_threads(), torch.get_num_interop_threads()) == threads
    assert (torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(), torch.get_default_dtype()) == modes


def test_read_only_inputs(blobs, quick):
    X, y, _ = (array.copy() for array in blobs)
    X.flags.writeable = y.flags.writeable = False
    quick().fit(X, y).predict(X)


@pytest.mark.parametrize("as_input", [np.array, torch.tensor])
def test_a_network_that_works_in_place_leaves_the_caller_s_array(blobs, quick, as_input):
    X, y, _ = blobs
    data = as_input(X)
    clf = quick(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 3))).fit(data, y)
    np.testing.assert_array_equal(np.asarray(data), X)
    many = as_input(np.tile(X, (100, 1)))  # more than are predicted in one batch
    clf.predict(many)
    np.testing.assert_array_equal(np.asarray(many), np.tile(X, (100, 1)))


def test_a_network_that_works_in_place_at_times(blobs, quick):
    class Limited(nn.Linear):
        def forward(self, x):
            return super().forward(x.clamp_(max=50) if (x > 50).any() else x)

    X, y, _ = blobs
    clf = quick(Limited(5, 3)).fit(X, y)
    many = np.tile(X, (100, 1))
    many[-1] = 100
    with torch.inference_mode():
        clf.predict(many)
    assert (many[-1] == 100).all()


@pytest.mark.parametrize("cross_fit", [0, 3])
@pytest.mark.parametrize("window", [2, 0.9])
def test_outputs_may_lie_in_a_file(blobs, quick, monkeypatch, window, cross_fit):
    X, y, _ = blobs
    params = {"window": window, "cross_fit": cross_fit, "gamma": "damped"}
    fits = [quick(**params).fit(X, y)]
    for place in ("host", "device", "file"):
        monkeypatch.setattr("noisyfit.algorithm.parts.choose_place", lambda *args, place=place: place)
        fits.append(quick(**params).fit(X, y))
    for clf in fits[1:]:
        np.testing.assert_array_equal(clf.soft_labels_, fits[0].soft_labels_)
        np.testing.assert_array_equal(clf.predict_proba(X), fits[0].predict_proba(X))


def test_fits_in_threads_give_the_same_bits_and_leave_the_global_state(blobs, quick):
    X, y, _ = blobs
    module = nn.Sequential(nn.Linear(5, 16), nn.Dropout(), nn.Linear(16, 3))
    expected, state = quick(module).fit(X, y), torch.get_rng_state().clone()
    with ThreadPoolExecutor(2) as pool:
        for clf in pool.map(lambda _: quick(module).fit(X, y), range(6)):
            np.testing.assert_array_equal(clf.soft_labels_, expected.soft_labels_)
    assert (torch.get_rng_state() == state).all()


def test_a_pickle_holds_the_fit_and_nothing_else(digits, quick):
    X, y, _ = digits
    # the memory of 10 epochs of outputs weighs 720 kB, momentum as much as the weights: 154 kB
    params = {"net_params": {"optimizer__momentum": 0.9}, "module_params": {"hidden": (512,)}}
    clf = quick(max_epochs=12, **params).fit(X, y)
    stored = pickle.dumps(clf)
    loaded = pickle.loads(stored)
    assert_same_fit(loaded, clf)
    np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    pd.testing.assert_frame_equal(loaded.label_report(), clf.label_report())
    assert loaded.net_.optimizer_ is None
    assert len(loaded.net_.history) == 0
    assert loaded._training_labels_.changes is None
    weights = sum(value.numel() * 4 for value in clf.net_.module_.state_dict().values())
    labels = clf.soft_labels_.nbytes + clf.corrected_labels_.nbytes + 2 * 8 * len(y)
    assert len(stored) < weights + labels + 40_000


class Boom(Callback):
    def __init__(self, error, at_epoch=2):
        self.error, self.at_epoch, self.epochs = error, at_epoch, 0

    def on_epoch_end(self, net, **kwargs):
        self.epochs += 1
        if self.epochs == self.at_epoch:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("boom")])
def test_an_interrupted_fit_leaves_nothing_half_fitted(blobs, quick, error):
    X, y, _ = blobs
    clf = quick(net_params={"callbacks": [Boom(error)]})
    with pytest.raises(type(error)):
        clf.fit(X, y)
    assert not [name for name in vars(clf) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        clf.predict(X)


def test_an_interrupted_second_fit_leaves_the_first(blobs, digits, quick):
    X, y, _ = blobs
    clf = quick().fit(X, y)
    expected = clf.predict_proba(X)
    clf.set_params(net_params={"callbacks": [Boom(KeyboardInterrupt())]})
    with pytest.raises(KeyboardInterrupt):
        clf.fit(digits[0], digits[1])
    np.testing.assert_array_equal(clf.predict_proba(X), expected)
    assert clf.n_features_in_ == 5


@pytest.mark.parametrize("method", ["predict", "predict_proba", "label_report"])
def test_not_fitted(quick, method):
    with pytest.raises(NotFittedError):
        getattr(quick(), method)(*([[[0.0]]] if method != "label_report" else []))


# in scikit-learn's and skorch's company


def test_pipeline_search_and_cross_validation(blobs, quick):
    X, y, _ = blobs
    pipeline = make_pipeline(StandardScaler(), quick(max_epochs=10))
    grid = {"jointoptimizationclassifier__alpha": [0.5, 1.0], "jointoptimizationclassifier__lr": [0.1, 0.2]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert search.best_score_ > 0.5
    assert cross_val_predict(quick(), X, y, method="predict_proba", cv=3).shape == (90, 3)
    parallel = cross_val_score(quick(), X, y, cv=2, n_jobs=2)
    np.testing.assert_allclose(parallel, cross_val_score(quick(), X, y, cv=2))


def test_sample_weight_is_routed(blobs, quick):
    X, y, _ = blobs
    weight = (np.arange(len(y)) % 3 > 0).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, quick().set_fit_request(sample_weight=True))
        routed = pipeline.fit(X, y, sample_weight=weight)[-1]
    expected = quick().fit(StandardScaler().fit_transform(X), y, sample_weight=weight)
    assert_same_fit(routed, expected)


class Recorder(Callback):
    def __init__(self):
        self.events = []

    def on_train_begin(self, net, **kwargs):
        self.events.append("train")

    def on_epoch_end(self, net, **kwargs):
        self.events.append("epoch")
        assert net.history[-1]["train_loss"] > 0

    def on_batch_end(self, net, batch=None, training=None, loss=None, y_pred=None, **kwargs):
        assert training
        assert y_pred.shape == (len(batch[0]), 3)
        self.events.append("batch")

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.events.append("gradient")
        assert all(p.grad is not None for _, p in named_parameters)


def test_skorch_callbacks_hear_every_event(blobs, quick):
    X, y, _ = blobs
    recorder = Recorder()
    clf = quick(max_epochs=2, retrain_epochs=1, batch_size=45, net_params={"callbacks": [recorder]}).fit(X, y)
    epoch = ["gradient", "batch"] * 2 + ["epoch"]
    assert recorder.events == ["train", *epoch, *epoch, "train", *epoch]
    assert_same_fit(clf, quick(max_epochs=2, retrain_epochs=1, batch_size=45).fit(X, y))  # listening changes nothing


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: ProgressBar(),
        lambda folder: PrintLog(),
        lambda folder: Checkpoint(monitor="train_loss_best", dirname=folder),
        lambda folder: TrainEndCheckpoint(dirname=folder),
        lambda folder: GradientNormClipping(0.1),
        lambda folder: LRScheduler("ExponentialLR", gamma=0.9, step_every="batch"),
    ],
    ids=["ProgressBar", "PrintLog", "Checkpoint", "TrainEndCheckpoint", "GradientNormClipping", "LRScheduler"],
)
def test_skorch_s_own_callbacks_work(blobs, quick, make, tmp_path, capsys):
    X, y, _ = blobs
    clf = quick(retrain_epochs=1, net_params={"callbacks": [make(tmp_path)]}).fit(X, y)
    assert clf.predict(X).shape == (90,)


def test_a_learning_rate_that_a_callback_sets_is_kept(blobs, quick):
    rates = []

    class Rates(Callback):
        def on_batch_end(self, net, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    schedule = LRScheduler("ExponentialLR", gamma=0.1)
    params = {"lr": 1.0, "lr_schedule": "constant", "batch_size": 90, "net_params": {"callbacks": [schedule, Rates()]}}
    quick(**params).fit(blobs[0], blobs[1])
    np.testing.assert_allclose(rates, [1, 0.1, 0.01, 0.001])


def test_other_optimizers_and_skorch_parameters(blobs, quick):
    X, y, _ = blobs
    adam = quick(lr=0.01, net_params={"optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.1}).fit(X, y)
    assert adam.score(X, y) > 0.5
    momentum = {"optimizer__momentum": 0.9}
    nesterov = quick(net_params=momentum | {"optimizer__nesterov": True}).fit(X, y)
    assert not same_bits(nesterov, quick(net_params=momentum).fit(X, y))


# the paper's protocol


def test_paper_params_are_keywords_of_the_estimator():
    for noise in ("symmetric", "asymmetric"):
        params = JointOptimizationClassifier.paper_params(noise, rate=0.4)
        assert set(params) <= set(inspect.signature(JointOptimizationClassifier).parameters)
        assert JointOptimizationClassifier(**params).get_params()["window"] == 10


def test_paper_params_of_the_released_settings():
    symmetric = JointOptimizationClassifier.paper_params("symmetric", rate=0.7)
    assert (symmetric["lr"], symmetric["alpha"], symmetric["beta"]) == (0.08, 1.2, 0.8)
    asymmetric = JointOptimizationClassifier.paper_params("asymmetric", rate=0.4)
    assert (asymmetric["lr"], asymmetric["alpha"], asymmetric["beta"]) == (0.03, 0.8, 0.4)
    assert (symmetric["begin"], symmetric["max_epochs"], symmetric["retrain_epochs"]) == (70, 200, 120)


def test_paper_params_run(quick):
    X, y = images(n=12)
    params = JointOptimizationClassifier.paper_params("symmetric", rate=0.5)
    clf = JointOptimizationClassifier(
        **params | {"max_epochs": 2, "begin": 1, "retrain_epochs": 1}, device="cpu", random_state=0
    )
    assert clf.fit(X, y).soft_labels_.shape == (12, 2)


@pytest.mark.parametrize(("noise", "rate"), [("pair", 0.4), ("symmetric", 40)])
def test_paper_params_check_their_arguments(noise, rate):
    with pytest.raises(ValueError, match="`noise` must be|`rate` must be"):
        JointOptimizationClassifier.paper_params(noise, rate)
