"""What goes wrong while a fit runs: each fault has an outcome that users can rely on.

After any error the estimator is as it was before the fit, global random states too, and a checkpoint goes on from the
last whole epoch.
"""

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback
from torch import nn
from torch.utils.data import Dataset

import noisyfit
from noisyfit import JointOptimizationClassifier
from noisyfit.exceptions import LabelCollapseWarning, TrainingDivergedError
from noisyfit.machine import random_state


class Faulty(nn.Module):
    """A linear network that does something else in one training batch; 90 rows make 3 batches an epoch."""

    def __init__(self, n_features, n_classes, fault="", batch=20):
        super().__init__()
        self.linear = nn.Linear(n_features, n_classes)
        self.fault, self.batch, self.seen = fault, batch, 0

    def forward(self, x):
        logits = self.linear(x)
        self.seen += self.training
        if not self.fault or not self.training or self.seen != self.batch:
            return logits
        if self.fault == "nan":
            return logits * float("nan")
        if self.fault == "memory":
            return logits + torch.empty(2**55)
        if self.fault == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
            return logits
        raise ArithmeticError("the network's own error")


@pytest.fixture(autouse=True)
def _hears_ctrl_c():
    """Also where a shell started the tests in the background, and with that told them to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def make(quick):
    def make(fault="", **params):
        defaults = {"module_params": {"fault": fault}, "max_epochs": 10, "lr": 0.05}
        return quick(Faulty, **(defaults | params))

    return make


def fitted_attributes(clf):
    """Give the objects that a fit has set, by their identity."""
    return {name: id(value) for name, value in vars(clf).items() if name.endswith("_")}


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("nan", TrainingDivergedError, "not finite at epoch 7.*Lower `lr`"),
        ("raises", ArithmeticError, "^the network's own error$"),
        ("memory", RuntimeError, "allocate memory"),
        ("interrupt", KeyboardInterrupt, None),
    ],
)
def test_an_error_leaves_everything_as_it_was_and_a_checkpoint_goes_on(blobs, make, tmp_path, fault, error, message):
    X, y, _ = blobs
    fitted = make(max_epochs=2).fit(X, y)
    fitted.set_params(max_epochs=10, module_params={"fault": fault}, checkpoint=tmp_path)
    before = fitted_attributes(fitted)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()
    with pytest.raises(error, match=message) as caught:
        fitted.fit(X, y)
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist())
    assert fitted_attributes(fitted) == before
    if fault == "memory":
        assert "Lower `batch_size`" in caught.value.__notes__[0]
    fresh = make(fault)
    with pytest.raises(error):
        fresh.fit(X, y)
    assert fitted_attributes(fresh) == {}
    last = sorted(path.name for path in tmp_path.rglob("step*"))[-1]
    assert last == "step1-epoch000006.safetensors"  # the seventh failed
    resumed = fitted.fit(X, y)  # the new network has seen no batch: 12 are left
    np.testing.assert_array_equal(resumed.soft_labels_, make().fit(X, y).soft_labels_)


class KillsWorker(Dataset):
    """Rows whose worker dies at one of them."""

    def __init__(self, X):
        self.X = torch.from_numpy(X)
        self.main_process = os.getpid()

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        if i == 50 and os.getpid() != self.main_process and torch.utils.data.get_worker_info().id == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.X[i]


def test_a_killed_worker_ends_the_fit_with_an_error(blobs, make):
    X, y, _ = blobs
    clf = make(net_params={"iterator_train__num_workers": 2, "iterator_train__timeout": 30})
    children = set(psutil.Process().children())
    with pytest.raises(RuntimeError, match="worker"):
        clf.fit(KillsWorker(X), y)
    assert not hasattr(clf, "classes_")
    _, alive = psutil.wait_procs(set(psutil.Process().children()) - children, timeout=10)
    assert alive == []


def test_a_class_that_vanishes_stays_a_class(blobs, quick):
    X, y, _ = blobs
    y = np.where(np.arange(90) == np.flatnonzero(y == 0)[0], 3, y)  # one label of a class that there is not
    clf = quick(max_epochs=20, lr=0.5).fit(X, y)
    assert clf.classes_.tolist() == [0, 1, 2, 3]
    assert 3 not in clf.corrected_labels_
    assert clf.predict_proba(X).shape == clf.soft_labels_.shape == (90, 4)
    assert np.isfinite(clf.transition_matrix_).all()
    assert len(clf.label_report()) == 90
    assert set(clf.predict(X)) <= {0, 1, 2}


def test_labels_that_collapse_are_warned_of(blobs, quick):
    X, y, _ = blobs
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf = quick(alpha=0.0, beta=5.0, lr=5.0, max_epochs=20).fit(X, y)
    assert len(set(clf.corrected_labels_)) == 1
    assert [w for w in caught if w.category is LabelCollapseWarning and "All corrected labels are" in str(w.message)]


def without_rights(folder, fit):
    """Make a folder read-only and fit, as a user to whom that means something."""
    os.chmod(folder, 0o555)
    if os.geteuid() == 0:
        os.setuid(65534)
    try:
        fit()
    except PermissionError as error:
        sys.exit(0 if "`checkpoint` must be a folder that can be written to" in str(error) else 1)
    sys.exit(2)


def test_a_read_only_folder_is_told_before_training(blobs, make, tmp_path):
    X, y, _ = blobs
    clf = make("raises", checkpoint=tmp_path / "states")

    def fit():
        clf.fit(X, y)

    process = multiprocessing.get_context("fork").Process(target=without_rights, args=(tmp_path, fit))
    process.start()
    process.join(60)
    os.chmod(tmp_path, 0o755)
    assert process.exitcode == 0


@pytest.mark.parametrize("least", [0.0, random_state._SLICE])
def test_fits_in_several_threads_give_what_each_gives_alone(blobs, quick, monkeypatch, least):
    X, y, _ = blobs
    monkeypatch.setattr(random_state, "_SLICE", least)  # 0: another one's turn after every batch

    def soft_labels(seed):
        return quick(random_state=seed, module_params={"hidden": (16,), "dropout": 0.3}).fit(X, y).soft_labels_

    alone = [soft_labels(seed) for seed in range(6)]
    state = torch.random.get_rng_state()
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(soft_labels, range(6)))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    assert torch.equal(state, torch.random.get_rng_state())


class DrawsAtStart(nn.Linear):
    """A network of one's own."""

    def __init__(self, n_features, n_classes):
        super().__init__(n_features, n_classes)


class EndsWhenAsked(Callback):
    """Ends a fit after it was asked to, or when a minute is over."""

    def __init__(self):
        self.under_way, self.asked, self.in_time = threading.Event(), threading.Event(), True

    def on_batch_end(self, net, **kwargs):
        if not self.under_way.is_set():
            self.begun = time.monotonic()
            self.under_way.set()
        self.in_time = time.monotonic() - self.begun < 60
        if self.asked.is_set() or not self.in_time:
            raise ArithmeticError


@contextlib.contextmanager
def a_long_fit_in_another_thread(quick, X, y):
    callback = EndsWhenAsked()
    with ThreadPoolExecutor(1) as pool:
        fit = pool.submit(quick(max_epochs=1_000_000, net_params={"callbacks": [callback]}).fit, X, y)
        callback.under_way.wait()
        try:
            yield
        finally:
            callback.asked.set()
            with pytest.raises(ArithmeticError):
                fit.result()
    assert callback.in_time


def test_nothing_waits_for_a_fit_in_another_thread(blobs, quick, tmp_path):
    X, y, _ = blobs
    fitted = JointOptimizationClassifier(DrawsAtStart, max_epochs=2, random_state=0, device="cpu").fit(X, y)
    fitted.save(tmp_path / "own")
    alone = quick(max_epochs=1).fit(X, y)
    alone.save(tmp_path / "ours")
    with a_long_fit_in_another_thread(quick, X, y):
        JointOptimizationClassifier.load(tmp_path / "ours")
        JointOptimizationClassifier.load(tmp_path / "own", module=DrawsAtStart)
        fitted.predict(X)
        fitted.correct(X, y)
        fitted.settle({0: y[0]})
        np.testing.assert_array_equal(clone(alone).fit(X, y).soft_labels_, alone.soft_labels_)


def test_a_fit_that_is_interrupted_while_it_waits_its_turn_leaves_no_trace(blobs, quick):
    X, y, _ = blobs
    alone = quick().fit(X, y)
    state = torch.random.get_rng_state()
    with a_long_fit_in_another_thread(quick, X, y):
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            quick(max_epochs=1_000_000).fit(X, y)
    assert torch.equal(state, torch.random.get_rng_state())
    np.testing.assert_array_equal(clone(alone).fit(X, y).soft_labels_, alone.soft_labels_)


@pytest.mark.parametrize("moment", ["acquire", "release"])
def test_a_fit_that_is_interrupted_at_its_lock_leaves_it_to_others(quick, blobs, monkeypatch, moment):
    X, y, _ = blobs
    lock, dtype = random_state._RNG_LOCK, torch.get_default_dtype()

    class Interrupted:
        armed = True

        def acquire(self):
            lock.acquire()
            self.interrupt_at("acquire")

        def release(self):
            self.interrupt_at("release")
            lock.release()

        def interrupt_at(self, now):
            if now == moment and self.armed:
                self.armed = False
                raise KeyboardInterrupt

    monkeypatch.setattr(random_state, "_RNG_LOCK", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        quick(max_epochs=1).fit(X, y)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lock.acquire, timeout=5).result()
        pool.submit(lock.release).result()
    assert torch.get_default_dtype() == dtype


@pytest.mark.parametrize("n_cores", [1, 64])
def test_a_witness_of_networks_has_its_turn(blobs, quick, monkeypatch, n_cores):
    X, y, _ = blobs
    monkeypatch.setattr(noisyfit.judgement.witness, "n_cores", lambda: n_cores)
    witness = quick(max_epochs=1)
    fits = [
        JointOptimizationClassifier(witness=witness, max_epochs=2, random_state=0, device="cpu").fit(X, y)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(fits[0].soft_labels_, fits[1].soft_labels_)


_FORKS = """
import os, sys, threading, time, multiprocessing
import numpy as np
from sklearn.datasets import load_digits
from noisyfit import JointOptimizationClassifier
from noisyfit.machine import random_state

X, y = load_digits(return_X_y=True)
clf = JointOptimizationClassifier(max_epochs=2, random_state=0)

def fit_and_predict():
    sys.exit(0 if len(JointOptimizationClassifier(max_epochs=2, random_state=0).fit(X, y).predict(X)) == len(X) else 1)

def child(target):
    process = multiprocessing.get_context("fork").Process(target=target)
    process.start()
    process.join(60)
    if process.exitcode is None:
        process.kill()
    return process.exitcode

clf.fit(X, y)  # the parent's threads have worked by now
codes = [child(fit_and_predict), child(lambda: sys.exit(len(clf.predict(X)) != len(X)))]
thread = threading.Thread(target=JointOptimizationClassifier(max_epochs=100, random_state=0).fit, args=(X, y))
thread.daemon = True
thread.start()
time.sleep(0.5)  # it holds the lock on the random state

def fit_and_tell():
    try:
        fit_and_predict()
    except RuntimeError as error:
        sys.exit(7 if "forked while another thread was fitting" in str(error) else 1)

codes += [child(fit_and_tell) for _ in range(5)]
print(codes, flush=True)
os._exit(0)
"""


@pytest.mark.thorough
def test_forked_processes_fit_and_predict():
    """Also after the parent has used its threads, which do not survive a fork; forked during a fit they refuse."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(Path(noisyfit.__file__).parents[1])}
    command = [sys.executable, "-c", _FORKS]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=400, check=True)
    assert done.stdout.strip() == "[0, 0, 7, 7, 7, 7, 7]", done.stderr


def test_ctrl_c_from_the_terminal_ends_a_fit_at_once(digits, quick):
    X, y, _ = digits
    clf = quick(max_epochs=100_000)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, y)
    assert not hasattr(clf, "classes_")
