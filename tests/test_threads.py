"""Threads: one for small networks, all for large ones, and what the user has set as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from torch import nn

import noisyfit
from noisyfit import JointOptimizationClassifier
from noisyfit.machine import threads
from noisyfit.machine.surroundings import usual_surroundings
from noisyfit.machine.threads import n_cores, one_blas_thread, one_thread, threads_beside, threads_for
from noisyfit.nets.ensembles import StackedNetworks
from noisyfit.nets.net import JointNet
from noisyfit.nets.work import count_multiplications
from noisyfit.networks import MLP, SmallResNet

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
LARGE = threads._WORTH_THREADS


def numbers():
    """Numbers of threads as this thread sees them."""
    return torch.get_num_threads(), [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]


def of_blas():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture
def four(monkeypatch):
    """A machine of four cores, and nothing set by the user."""
    for name in (*VARIABLES, "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "_usual_numbers", lambda: frozenset({4}))
    before = torch.get_num_threads()
    with threadpool_limits(4):
        torch.set_num_threads(4)
        yield
    torch.set_num_threads(before)


@pytest.fixture
def seen():
    """Numbers of torch's threads that a network of one's own was called with, the last ones last."""
    return []


def telling(seen):
    class Telling(nn.Module):
        def __init__(self, n_features, n_classes):
            super().__init__()
            self.layer = nn.Linear(n_features, n_classes)

        def forward(self, x):
            seen.append((torch.get_num_threads(), of_blas()))
            return self.layer(x)

    return Telling


def make(module, **params):
    return JointOptimizationClassifier(module, max_epochs=2, begin=1, random_state=0, device="cpu", **params)


def test_a_small_network_gets_one_thread_and_a_large_one_all(four):
    before = numbers()
    with one_thread():
        assert torch.get_num_threads() == 1
        with threads_for(LARGE - 1):
            assert torch.get_num_threads() == 1
        with threads_for(LARGE):
            assert numbers() == before
            with one_thread():  # a prediction by a callback
                assert torch.get_num_threads() == 1
                with threads_for(LARGE):
                    assert torch.get_num_threads() == 4
            assert torch.get_num_threads() == 4
        assert torch.get_num_threads() == 1
    assert numbers() == before


def test_products_are_computed_with_one_thread_also_where_torch_was_told_how_many(four):
    """From then on its MKL does not follow OpenMP's number."""
    with usual_surroundings():
        shown = torch.__config__.parallel_info()
    lines = [line for line in shown.splitlines() if "get_max_threads" in line or "at::get_num_threads" in line]
    assert lines
    assert all(line.endswith(": 1") for line in lines)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_changes_no_number(four, blobs, error):
    class Failing(MLP):
        def forward(self, x):
            if self.training:
                raise error("on purpose")
            return super().forward(x)

    X, y, _ = blobs
    before = numbers()
    with pytest.raises(error, match="on purpose"):
        make(Failing).fit(X, y)
    assert numbers() == before


def test_fits_and_predictions_of_small_networks_compute_with_one_thread(four, blobs, seen):
    X, y, _ = blobs
    before = numbers()
    clf = make(telling(seen)).fit(X, y)
    assert {n for n, _ in seen} == {1}
    assert seen[-1][1] == {1}  # BLAS
    seen.clear()
    clf.predict(X)
    assert [n for n, _ in seen] == [1] * len(seen)
    assert seen[-1][1] == {4}
    assert numbers() == before


def test_large_networks_compute_with_all_threads(four, blobs, seen, monkeypatch):
    monkeypatch.setattr(threads, "_WORTH_THREADS", 90 * 5 * 3 - 1)  # one network, one batch of all rows
    X, y, _ = blobs
    before = numbers()
    clf = make(telling(seen), cross_fit=0, gamma=0.0, batch_size=90).fit(X, y)
    assert {n for n, _ in seen[2:]} == {4}  # after the network was tried on a few rows and counted
    seen.clear()
    clf.predict(X)
    assert [n for n, _ in seen] == [4]
    seen.clear()
    clf.predict(X[:80])
    assert [n for n, _ in seen] == [1]
    assert numbers() == before


@pytest.mark.parametrize("name", VARIABLES[:2])
def test_what_the_environment_says_holds(four, blobs, seen, monkeypatch, name):
    monkeypatch.setenv(name, "4")
    X, y, _ = blobs
    make(telling(seen)).fit(X, y).predict(X)
    assert {n for n, _ in seen} == {4}
    assert seen[-1][1] == {4}


def test_a_number_for_the_blas_is_about_the_blas_alone(four, blobs, seen, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
    X, y, _ = blobs
    make(telling(seen)).fit(X, y)
    assert seen[-1] == (1, {4})


def test_what_torch_was_told_holds(four, blobs, seen):
    torch.set_num_threads(3)
    X, y, _ = blobs
    before = numbers()
    make(telling(seen)).fit(X, y).predict(X)
    assert {n for n, _ in seen} == {3}
    assert numbers() == before


@pytest.mark.parametrize("n_threads", [2, 3])
def test_an_enclosing_limit_holds(four, blobs, seen, n_threads):
    X, y, _ = blobs
    with threadpool_limits(n_threads):
        before = numbers()
        make(telling(seen)).fit(X, y).predict(X)
        assert numbers() == before
    assert {(n, *blas) for n, blas in seen} == {(n_threads, n_threads)}


def test_a_number_that_a_callback_sets_stays(four):
    with one_thread():
        torch.set_num_threads(2)
    assert torch.get_num_threads() == 2


def test_other_threads_keep_their_numbers(four):
    """Also one that asks torch for the first time while a fit is under way."""
    inside, done, found = threading.Event(), threading.Event(), {}

    def fit():
        with usual_surroundings():
            found["fit"] = torch.get_num_threads()
            inside.set()
            done.wait(60)
        found["after"] = torch.get_num_threads()

    thread = threading.Thread(target=fit)
    thread.start()
    inside.wait(60)
    new = threading.Thread(target=lambda: found.update(new=torch.get_num_threads()))
    new.start()
    new.join()
    found["other"] = torch.get_num_threads()
    done.set()
    thread.join()
    assert found == {"fit": 1, "new": 4, "other": 4, "after": 4}


def test_the_last_of_several_fits_puts_the_blas_back(four):
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    assert of_blas() == {1}
    first.__exit__(None, None, None)
    assert of_blas() == {1}
    second.__exit__(None, None, None)
    assert of_blas() == {4}


def test_a_number_that_somebody_sets_for_the_blas_meanwhile_stays(four):
    with one_blas_thread():
        limits = threadpool_limits(3, user_api="blas")
    assert of_blas() == {3}
    limits.restore_original_limits()


def test_a_blas_that_a_user_has_limited_stays(four):
    with threadpool_limits(2, user_api="blas"), one_blas_thread():
        assert of_blas() == {2}


def test_many_fits_and_predictions_at_a_time_leave_all_as_it_was(four, blobs):
    X, y, _ = blobs
    before, found = numbers(), []

    def work():
        for _ in range(3):
            make(None).fit(X, y).predict(X)
        found.append(torch.get_num_threads())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [4] * 4
    assert numbers() == before


def test_a_model_beside_the_training_has_the_cores_that_are_left(four, monkeypatch):
    monkeypatch.setattr(threads, "n_cores", lambda: 4)
    with threads_beside(1):
        assert torch.get_num_threads() == 3
    with threads_beside(4):
        assert torch.get_num_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    with threads_beside(1):
        assert torch.get_num_threads() == 4


def test_the_numbers_that_libraries_begin_with_are_known():
    """Of a machine as it is: real cores or hyperthreads, all of those that this process may use."""
    code = "import torch; from noisyfit.machine import threads; "
    code += "print(torch.get_num_threads() in threads._usual_numbers(), threads.n_cores())"
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = str(Path(noisyfit.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == ["True", str(n_cores())]


_DIGEST = """
import hashlib
import numpy as np, torch
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_info
from noisyfit import JointOptimizationClassifier
from noisyfit.nets.net import JointNet
X, y = load_digits(return_X_y=True)
before = torch.get_num_threads(), threadpool_info()
clf = JointOptimizationClassifier(max_epochs=3, begin=1, random_state=0, device="cpu").fit(X[:600], y[:600])
assert (torch.get_num_threads(), threadpool_info()) == before
digest = hashlib.blake2b(clf.soft_labels_.tobytes() + clf.predict_proba(X[:100]).tobytes())
print(digest.hexdigest())
"""


def test_bits_of_small_networks_do_not_depend_on_the_number_of_cores():
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = str(Path(noisyfit.__file__).parents[1])
    found = set()
    for variables in ({}, {"OMP_NUM_THREADS": "1"}):
        command = [sys.executable, "-W", "ignore", "-c", _DIGEST]
        done = subprocess.run(command, capture_output=True, text=True, env=environment | variables, check=True)
        found.add(done.stdout)
    assert len(found) == 1
    assert len(found.pop().strip()) == 128


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent = nn.LSTM(4, 8, batch_first=True)
        self.words = nn.Embedding(1000, 4)

    def forward(self, x):
        return self.recurrent(self.words(x))[0]


@pytest.mark.parametrize(
    ("network", "x", "expected"),
    [
        (nn.Linear(5, 3), torch.zeros(7, 5), 7 * 5 * 3),
        (MLP(5, 3, hidden=(8, 6)), torch.zeros(7, 5), 7 * (5 * 8 + 8 * 6 + 6 * 3)),
        (StackedNetworks([MLP(5, 3, hidden=(8,)) for _ in range(2)]), torch.zeros(7, 5), 2 * 7 * (5 * 8 + 8 * 3)),
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), torch.zeros(7, 4, 10, 9), 7 * 10 * 9 * 6 * 2 * 9),
        (nn.Conv1d(4, 6, 3), torch.zeros(7, 4, 10), 7 * 8 * 6 * 4 * 3),
        (Attention(), torch.zeros(2, 5, dtype=torch.int64), 2 * 5 * 4 * (4 * 8 + 8 * 8)),
        (nn.Flatten(), torch.zeros(7, 5), 0),
    ],
)
def test_multiplications_are_counted(network, x, expected):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert count_multiplications(network, lambda: network(x)) == expected
    assert not any(layer._forward_hooks for layer in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_scripted_networks_are_taken_for_large():
    network = torch.jit.script(nn.Sequential(nn.Linear(5, 3)))
    assert count_multiplications(network, lambda: network(torch.zeros(2, 5))) == np.inf


def test_the_default_network_of_a_table_is_small_and_that_of_images_is_large():
    x, image = torch.zeros(1, 100), torch.zeros(1, 3, 32, 32)
    stacked, residual = StackedNetworks([MLP(100, 10) for _ in range(3)]), SmallResNet(3, 10)
    assert 128 * count_multiplications(stacked, lambda: stacked(x)) < LARGE
    assert 32 * count_multiplications(residual.eval(), lambda: residual(image)) >= LARGE


class NeedsNumbers(nn.Module):
    """A network that zeros are no input of, and that draws in evaluation, too."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.layer = nn.Linear(n_features, n_classes)

    def forward(self, x):
        if not x.any():
            raise ValueError("no numbers")
        return self.layer(nn.functional.dropout(x, 0.3))


class Draws(NeedsNumbers):
    def forward(self, x):
        return self.layer(nn.functional.dropout(x, 0.3))


@pytest.mark.parametrize("network", [NeedsNumbers, Draws])
def test_counting_changes_no_result_and_asks_nothing_of_a_network(blobs, quick, monkeypatch, network):
    X, y, _ = blobs
    clf = quick(network).fit(X, y)
    monkeypatch.setattr(JointNet, "_count_multiplications", lambda *args: 0.0)
    np.testing.assert_array_equal(quick(network).fit(X, y).soft_labels_, clf.soft_labels_)
