"""Checkpoints: a fit that was cut, at any moment and in any way, goes on to the bits it would have had."""

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import stat
import subprocess
import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_backend
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, Freezer, LRScheduler
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import Dataset

from noisyfit import JointOptimizationClassifier
from noisyfit.algorithm.fingerprint import fingerprint
from noisyfit.algorithm.problem import check_problem
from noisyfit.files import checkpoint, states

from fuzzing import n_cases

ATTRIBUTES = ("soft_labels_", "corrected_labels_", "transition_matrix_", "class_prior_")
EPOCHS = 6


class CutError(Exception):
    """Stands for whatever ends a fit."""


class CutAt(Callback):
    """Ends a fit in the middle of an epoch; the epochs of both steps count."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, net, training=False, **kwargs):
        if CutAt.armed_ and CutAt.seen_ == self.epoch:
            raise CutError

    def on_epoch_begin(self, net, **kwargs):
        CutAt.seen_ += 1

    armed_, seen_ = False, 0


class RaisesDecay(Callback):
    """Changes a setting of the optimizer after each epoch."""

    def on_epoch_end(self, net, **kwargs):
        for group in net.optimizer_.param_groups:
            group["weight_decay"] += 0.01


class CountsSteps(torch.optim.SGD):
    """Counts the steps of training in this process."""

    steps = 0

    def step(self, *args, **kwargs):
        CountsSteps.steps += 1
        return super().step(*args, **kwargs)


class RowsOfWorkers(Dataset):
    """Rows with noise that the workers draw."""

    def __init__(self, X):
        self.X = torch.from_numpy(X)

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i] + 0.1 * torch.rand(self.X[i].shape)


SETTINGS = {
    "defaults": {},
    "one network, retrained": {"cross_fit": 0, "retrain_epochs": 4},
    "exponential mean, hard labels": {"window": 0.9, "label_update": "hard", "n_relabel": 5, "cross_fit": 0},
    "running mean, AdamW": {
        "net_params": {"prior_momentum": 0.5, "optimizer": torch.optim.AdamW},
        "lr": 0.01,
        "retrain_epochs": 3,
    },
    "memory in a file": {"begin": 2, "window": 2},
    "momentum, augmentation, no dropout": {
        "module_params": {"hidden": (8,), "dropout": 0.0},
        "net_params": {"optimizer__momentum": 0.9, "optimizer__nesterov": True},
        "augment": torch.clone,
    },
    "schedule of skorch": {
        "net_params": {"callbacks": [("rate", LRScheduler("StepLR", step_size=2, gamma=0.5)), ("cut", CutAt(4))]}
    },
}


@pytest.fixture
def make(tmp_path):
    def make(epoch=0, **params):
        defaults = {"module_params": {"hidden": (8,)}, "max_epochs": EPOCHS, "batch_size": 32, "random_state": 0}
        defaults |= {"device": "cpu"}  # where bits are promised
        defaults |= {"checkpoint": tmp_path / "checkpoints"}
        net_params = params.pop("net_params", {})
        params["net_params"] = net_params if net_params is None else {"callbacks": [("cut", CutAt(epoch))]} | net_params
        return JointOptimizationClassifier(**(defaults | params))

    return make


def cut(clf, *args, **kwargs):
    """Fit until the estimator's callback cuts it."""
    CutAt.armed_, CutAt.seen_ = True, 0
    try:
        with pytest.raises(CutError):
            clf.fit(*args, **kwargs)
    finally:
        CutAt.armed_ = False


def assert_same_fit(clf, expected, X):
    for name in ATTRIBUTES:
        np.testing.assert_array_equal(getattr(clf, name), getattr(expected, name), strict=True)
    assert clf.history_.drop(columns="seconds").equals(expected.history_.drop(columns="seconds"))
    assert clf.classes_.dtype == expected.classes_.dtype
    if X is not None:
        np.testing.assert_array_equal(clf.predict_proba(X), expected.predict_proba(X))


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("params", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("epoch", [1, 4, EPOCHS + 1, EPOCHS + 2])
def test_a_fit_that_was_cut_goes_on_to_the_same_bits(blobs, make, monkeypatch, params, epoch):
    X, y, _ = blobs
    if params is SETTINGS["memory in a file"]:
        monkeypatch.setattr("noisyfit.algorithm.parts.choose_place", lambda *args: "file")
    if epoch > EPOCHS and not params.get("retrain_epochs"):
        pytest.skip("there is no such epoch")
    cut(make(epoch, **params), X, y)
    epochs_seen = CutAt.seen_
    resumed = make(epoch, **params).fit(X, y)
    assert CutAt.seen_ - epochs_seen == EPOCHS + params.get("retrain_epochs", 0) - (epochs_seen - 1)
    assert_same_fit(resumed, make(epoch, **params, checkpoint=None).fit(X, y), X)


def test_random_draws_of_a_datasets_workers_are_resumed(blobs, make):
    X, y, _ = blobs
    workers = {f"iterator_train__{name}": value for name, value in {"num_workers": 2, "timeout": 60}.items()}
    params = {"cross_fit": 0, "net_params": {"callbacks": [("cut", CutAt(3))], **workers}}
    cut(make(**params), RowsOfWorkers(X), y)
    resumed = make(**params).fit(RowsOfWorkers(X), y)
    shutil.rmtree(resumed.checkpoint)
    assert_same_fit(resumed, make(**params).fit(RowsOfWorkers(X), y), None)


def test_a_fresh_seed_is_kept_and_a_finished_fit_returns_its_result(blobs, make):
    X, y, _ = blobs
    cut(make(4, random_state=None), X, y)
    first = make(4, random_state=None).fit(X, y)
    assert files(first.checkpoint) == ["result.safetensors"]
    CutAt.seen_ = 0
    again = make(4, random_state=None).fit(X, y)
    assert CutAt.seen_ == 0  # nothing was trained
    assert_same_fit(again, first, X)
    assert again.summary() == first.summary()
    assert again._training_labels_.changes is not None  # as displays want them


@contextlib.contextmanager
def counted_steps(tell):
    """Tell of each step of training in this process, by a byte."""
    hook = register_optimizer_step_post_hook(lambda *_: tell(b"."))
    try:
        yield
    finally:
        hook.remove()


def kill_at_random(fit, rng, longest):
    """Run a fit in a process of its own, and kill it after a random time, if it is not done by then."""
    process = multiprocessing.get_context("fork").Process(target=fit)
    process.start()
    process.join(rng.uniform(0.0, longest))
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        return True
    assert process.exitcode == 0
    return False


def test_a_killed_process_repeats_no_more_than_an_epoch(blobs, make, tmp_path):
    """SIGKILL at random moments; `benchmarks/reliability.py kills` does the same 50 times and more."""
    X, y, _ = blobs
    params = {"net_params": None, "retrain_epochs": 3}
    steps = []
    with counted_steps(steps.append):
        expected = make(**params, checkpoint=None).fit(X, y)
    n_steps, steps_an_epoch = len(steps), -(-len(y) // 32)
    assert n_steps == (EPOCHS + 3) * steps_an_epoch
    counts, rng, kills = tmp_path / "steps", random.Random(0), 0

    def fit():
        with counts.open("ab", buffering=0) as log, counted_steps(log.write):  # also where the process is killed
            make(**params).fit(X, y)

    start = time.perf_counter()
    multiprocessing.get_context("fork").Process(target=make(**params, checkpoint=None).fit, args=(X, y)).run()
    longest = 2 * (time.perf_counter() - start)
    while kill_at_random(fit, rng, longest):
        kills += 1
        assert kills < 100
    # each fit that goes on takes a step without gradients, to learn what the optimizer keeps
    assert n_steps <= counts.stat().st_size <= n_steps + kills * (steps_an_epoch + 1)
    assert_same_fit(make(**params).fit(X, y), expected, X)


@pytest.mark.parametrize("kind", ["second witness, checks and groups", "images"])
def test_a_fit_of_any_kind_that_was_killed_goes_on_to_the_same_bits(blobs, make, kind):
    """Those of two processes are in test_ranks.py."""
    X, y, y_clean = blobs
    params = {"max_epochs": 3, "net_params": None, "cross_fit": 2, "witness": ExtraTreesClassifier(5)}
    more = {"groups": np.arange(90) // 2, "checked": {i: y_clean[i] for i in range(9)}}
    if kind == "images":
        X, more = np.random.RandomState(0).rand(90, 1, 8, 8).astype(np.float32), {}
        params |= {"module_params": {"width": 2}, "witness": "auto", "augment": "crop_flip"}
    expected = make(**params, checkpoint=None).fit(X, y, **more)
    left = iter(range(7))  # steps: two epochs of three are whole then

    def step(_):
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    def fit():
        with counted_steps(step):
            make(**params).fit(X, y, **more)

    process = multiprocessing.get_context("fork").Process(target=fit)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert files(make().checkpoint)[-1] == "step1-epoch000002.safetensors"
    assert_same_fit(make(**params).fit(X, y, **more), expected, X)


def test_images_go_on_to_the_same_bits_where_weights_lie_channels_last(make):
    """What an optimizer keeps for a weight lies in memory as the weight does."""
    rng = np.random.RandomState(0)
    X, y = rng.randint(255, size=(40, 3, 8, 8)).astype(np.uint8), np.arange(40) % 3
    params = {"module_params": {"width": 16}, "cross_fit": 0, "gamma": 0.0, "max_epochs": 3}
    params |= {"net_params": {"optimizer__momentum": 0.9}, "lr": 0.05}
    cut(make(3, **params), X, y)
    resumed = make(3, **params).fit(X, y)
    assert resumed.net_.channels_last
    assert_same_fit(resumed, make(3, **params, checkpoint=None).fit(X, y), X)


@pytest.mark.parametrize(
    "policy",
    [
        torch.optim.lr_scheduler.CosineAnnealingWarmRestarts,
        torch.optim.lr_scheduler.CyclicLR,
        torch.optim.lr_scheduler.ReduceLROnPlateau,
        torch.optim.lr_scheduler.PolynomialLR,
    ],
)
def test_schedules_and_what_callbacks_change_go_on(blobs, make, policy):
    X, y, _ = blobs
    settings = {
        "CosineAnnealingWarmRestarts": {"T_0": 2},
        "CyclicLR": {"base_lr": 0.0, "max_lr": 0.2, "step_size_up": 2, "cycle_momentum": True},
        "PolynomialLR": {"total_iters": 2},
        "ReduceLROnPlateau": {"patience": 0, "threshold": 1.0, "factor": 0.5},
    }[policy.__name__]
    params = {"cross_fit": 0, "gamma": 0.0}
    params["net_params"] = {
        "callbacks": [("rate", LRScheduler(policy, **settings)), ("decay", RaisesDecay()), ("cut", CutAt(4))],
        "optimizer__momentum": 0.5,
    }
    cut(make(**params), X, y)
    assert_same_fit(make(**params).fit(X, y), make(**params, checkpoint=None).fit(X, y), X)


@pytest.mark.parametrize("name", ["ASGD", "Adafactor", "Adagrad", "Adam", "NAdam", "RAdam", "RMSprop"])
def test_each_optimizer_goes_on(blobs, make, name):
    X, y, _ = blobs
    params = {"cross_fit": 0, "gamma": 0.0, "lr": 0.01, "max_epochs": 3}
    params["net_params"] = {"optimizer": getattr(torch.optim, name)}
    cut(make(3, **params), X, y)
    assert_same_fit(make(3, **params).fit(X, y), make(3, **params, checkpoint=None).fit(X, y), X)


class KeepsLater(torch.optim.Optimizer):
    """Keeps what torch's own optimizers never do: nothing at first, and numbers below zero."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                before = state.get("before")
                state["before"] = weight.grad.clone() if "dot" in state else None
                state["dot"] = state.get("dot", torch.zeros(())) - (weight.grad**2).sum()
                weight.sub_(weight.grad if before is None else (weight.grad + before) / 2, alpha=group["lr"])


class RemembersEpochs(torch.optim.lr_scheduler.LRScheduler):
    def __init__(self, optimizer, last_epoch=-1):
        self.seen, self.best = [], None
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        self.seen, self.best = [*self.seen, self.last_epoch], 1.0
        return [group["lr"] * 0.9 for group in self.optimizer.param_groups]


def test_optimizers_schedules_and_frozen_weights_of_ones_own_go_on(blobs, make):
    X, y, _ = blobs
    params = {"cross_fit": 0, "gamma": 0.0, "max_epochs": 6}
    callbacks = [("rate", LRScheduler(RemembersEpochs)), ("freeze", Freezer("*0.weight", at=3)), ("cut", CutAt(5))]
    params |= {"net_params": {"callbacks": callbacks, "optimizer": KeepsLater}, "lr": 0.1}
    cut(make(**params), X, y)
    assert_same_fit(make(**params).fit(X, y), make(**params, checkpoint=None).fit(X, y), X)


def test_a_folder_that_others_have_made_in_that_of_a_fit_stays(blobs, make):
    X, y, _ = blobs
    cut(make(3), X, y)
    (last, *_) = make(3).checkpoint.rglob("*.safetensors")
    (last.parent / ".ipynb_checkpoints").mkdir()
    assert_same_fit(make(3).fit(X, y), make(3, checkpoint=None).fit(X, y), X)


def within(tree, *path):
    """Give the part of a state that the keys lead to."""
    for key in path:
        tree = tree[key]
    return tree


def change_last_state(clf, change):
    """Let a function change the last state that a fit has written; its digest is right again."""
    last = max(clf.checkpoint.rglob("*.safetensors"))
    kind = "result" if last.name.startswith("result") else "checkpoint"
    state = states.read_state(last, kind)
    change(state)
    states.write_state(last, kind, state)


OPTIMIZERS = {
    "SGD": {"net_params": {"optimizer__momentum": 0.9}},
    "Adam": {"net_params": {"optimizer": torch.optim.Adam}, "lr": 0.01},
    "AdamW": {"net_params": {"optimizer": torch.optim.AdamW}, "lr": 0.01},
    "NAdam": {"net_params": {"optimizer": torch.optim.NAdam}, "lr": 0.01},
}
BUFFERS = {
    "of one number": lambda buffer: torch.zeros(1),
    "of none": lambda buffer: buffer.new_zeros(10**9, 0),
    "transposed": lambda buffer: torch.zeros(buffer.shape[::-1]),
    "float64": lambda buffer: buffer.double(),
    "text": lambda buffer: "zeros",
    "none": lambda buffer: None,
}


@pytest.mark.parametrize(("share", "n_written"), [(1e-9, 1), (1e9, EPOCHS + 1)])
def test_states_that_take_long_are_written_now_and_then(blobs, make, monkeypatch, share, n_written):
    X, y, _ = blobs
    written, write = [], checkpoint.write_state
    monkeypatch.setattr(checkpoint, "_SHORT", 0.0)
    monkeypatch.setattr(checkpoint, "_LARGEST_SHARE", share)
    monkeypatch.setattr(checkpoint, "write_state", lambda path, *args: (written.append(path.name), write(path, *args)))
    fitted = make().fit(X, y)
    assert len([name for name in written if name.startswith("step")]) == n_written
    assert_same_fit(fitted, make(checkpoint=None).fit(X, y), X)


@pytest.mark.parametrize("buffer", BUFFERS.values(), ids=BUFFERS)
@pytest.mark.parametrize("params", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_what_an_optimizer_keeps_must_fit_its_weights(blobs, make, params, buffer):
    """Fused kernels would write past the end of what is too small: the process would end."""
    X, y, _ = blobs
    params = {"cross_fit": 0, "gamma": 0.0, "module_params": {"hidden": (500,)}, **params}
    cut(make(3, **params), X, y)

    def change(state):
        kept = within(state, "parts", "state", "net", "optimizer", "state")
        for buffers in kept.values():
            buffers.update({name: buffer(value) for name, value in buffers.items() if value.ndim == 2})

    change_last_state(make(3, **params), change)
    with pytest.raises(
        ValueError, match=r"step1-epoch000002\.safetensors does not fit this fit: what the optimizer keeps"
    ):
        make(3, **params).fit(X, y)


@pytest.mark.parametrize(
    ("params", "left"), [(OPTIMIZERS["SGD"], [0]), ({"net_params": {"optimizer": torch.optim.Adagrad}}, [])]
)
def test_an_optimizer_may_lack_the_state_of_some_weights(blobs, make, params, left):
    """Where it begins with one for each, a state without is none of its own."""
    X, y, _ = blobs
    params = {"cross_fit": 0, "gamma": 0.0, **params}
    cut(make(3, **params), X, y)

    def change(state):
        optimizer = within(state, "parts", "state", "net", "optimizer")
        optimizer["state"] = {weight: kept for weight, kept in optimizer["state"].items() if weight in left}

    change_last_state(make(3, **params), change)
    with contextlib.nullcontext() if left else pytest.raises(ValueError, match="keeps something for each weight"):
        make(3, **params).fit(X, y)


def test_flags_that_choose_kernels_are_those_of_the_fit(blobs, make):
    X, y, _ = blobs
    params = {"cross_fit": 0, "gamma": 0.0, **OPTIMIZERS["Adam"]}
    cut(make(3, **params), X, y)

    def change(state):
        (group,) = within(state, "parts", "state", "net", "optimizer", "param_groups")
        group.update(fused=None, foreach=True, amsgrad=True, params=list(reversed(group["params"])))

    change_last_state(make(3, **params), change)
    assert_same_fit(make(3, **params).fit(X, y), make(3, **params, checkpoint=None).fit(X, y), X)


STATE = ("parts", "state")
NET, LABELS, OUTPUTS, NOISE = ((*STATE, name) for name in ("net", "labels", "outputs", "noise"))


def replaced(place, change):
    """Give a function that changes one of the things in a tuple."""
    return lambda things: tuple(change(thing) if i == place else thing for i, thing in enumerate(things))


HOSTILE_PARTS = {
    "a class too many": (LABELS, replaced(0, lambda codes: codes + 2)),
    "a row too few": (LABELS, replaced(0, lambda codes: codes[1:])),
    "labels of floats": (LABELS, replaced(0, torch.Tensor.float)),
    "labels of NaN": (LABELS, replaced(1, lambda _: torch.full((90, 3), torch.nan))),
    "labels of another kind": (LABELS, replaced(3, lambda _: 2)),
    "changes of rows beyond": ((*STATE, "changes"), lambda _: ((torch.tensor([90]), torch.tensor([0])),)),
    "changes to classes beyond": ((*STATE, "changes"), lambda _: ((torch.tensor([0]), torch.tensor([3])),)),
    "outputs of another shape": ((*OUTPUTS, "ring"), lambda ring: ring[:, :1]),
    "outputs of nothing": ((*OUTPUTS, "ring"), torch.zeros_like),
    "epochs of outputs": ((*OUTPUTS, "epochs"), lambda _: -1),
    "no outputs": (OUTPUTS, lambda _: None),
    "T of another shape": (NOISE, replaced(0, lambda matrix: matrix[:2])),
    "T of zeros": (NOISE, replaced(0, torch.zeros_like)),
    "counts below zero": (NOISE, replaced(1, torch.neg)),
    "a prior of one class": ((*STATE, "class_prior"), lambda prior: prior[:1]),
    "a judgement": ((*STATE, "judgement"), lambda _: (1, 2, 3)),
    "when to begin": ((*STATE, "waiting"), replaced(1, lambda _: "soon")),
    "rows of the history": ((*STATE, "history"), lambda epochs: epochs + epochs),
    "a phase that there is not": ((*STATE, "phase"), lambda _: "done"),
    "the phase of another step": ((*STATE, "phase"), lambda _: "retraining"),
    "a count of epochs": ((*STATE, "epoch"), lambda epoch: epoch - 1),
    "no state": (STATE, lambda _: None),
    "labels that are judged": ((*STATE, "phase"), lambda _: "judged"),
    "labels as given that have moved": ((*STATE, "phase"), lambda _: "given"),
    "moved labels without a change": ((*STATE, "changes"), lambda _: ()),
    "moved labels without outputs": (OUTPUTS, lambda _: {"epochs": 0, "ring": None}),
    "soft labels of hard ones": (LABELS, replaced(3, lambda _: True)),
    "waiting for longer than it runs": ((*STATE, "waiting"), replaced(1, lambda _: 99)),
    "a history of a third step": ((*STATE, "history"), lambda rows: tuple({**row, "step": 3} for row in rows)),
    "weights of another shape": ((*NET, "weights", "4.bias"), lambda bias: bias[:1]),
    "weights by other names": ((*NET, "weights"), lambda _: {}),
    "a history without losses": ((*NET, "history"), lambda history: [{} for _ in history]),
    "no weights' state": ((*NET, "optimizer", "state"), lambda _: {99: {}}),
    "momentum": ((*NET, "optimizer", "param_groups", 0, "momentum"), lambda _: 2.0),
    "no groups": ((*NET, "optimizer", "param_groups"), lambda _: []),
    "random numbers": (("parts", "random", 0, 0), lambda state: state[:100]),
    "random numbers beyond the end": (("parts", "random", 0, 0), lambda state: overrun(state)),
    "no random numbers": (("parts", "random"), lambda _: []),
    "another epoch": (("epoch",), lambda _: 5),
    "another step": (("step",), lambda _: 2),
    "a seed": (("seed",), lambda _: -1),
    "a seed of another fit": (("seed",), lambda seed: seed + 1),
    "no parts": (("parts",), lambda _: None),
}


def overrun(state):
    """Let a Mersenne Twister count more numbers than it has."""
    state = state.clone()
    state[8:12], state[16:24] = (
        torch.tensor([624], dtype=kind).view(torch.uint8) for kind in (torch.int32, torch.int64)
    )
    return state


@pytest.mark.parametrize(("path", "change"), HOSTILE_PARTS.values(), ids=HOSTILE_PARTS)
def test_a_state_that_does_not_fit_is_refused(blobs, make, path, change):
    X, y, _ = blobs
    params = {"cross_fit": 0, "gamma": 0.0, "begin": 1, "net_params": {"optimizer__momentum": 0.5}}
    cut(make(3, **params), X, y)

    def change_part(state):
        *outer, last = path
        within(state, *outer)[last] = change(within(state, *path))

    change_last_state(make(3, **params), change_part)
    remedy = r"Delete this file to go on from step1-epoch000001\.safetensors\."
    with pytest.raises(
        ValueError, match=rf"step1-epoch000002\.safetensors (does not fit this fit|is not a file of noisyfit).*{remedy}"
    ):
        make(3, **params).fit(X, y)


def test_a_finished_fit_takes_names_from_the_caller(blobs, make):
    """The fingerprint does not know them: the same numbers may be another table's."""
    X, y, _ = blobs

    def named(prefix):
        return pd.DataFrame(X, columns=list(f"{prefix}bcde"), index=[f"{prefix}{i}" for i in range(len(X))])

    params = {"net_params": None}
    make(**params).fit(named("a"), y)
    other = make(**params).fit(named("z"), y)
    assert other.feature_names_in_.tolist() == ["z", "b", "c", "d", "e"]
    assert other.label_report().index[0] == "z0"
    assert other.rows_to_check(1).index[0][0] == "z"
    nameless = make(**params).fit(X, y)
    assert files(nameless.checkpoint) == ["result.safetensors"]
    assert nameless.label_report().index.equals(pd.RangeIndex(len(X)))
    assert not hasattr(nameless, "feature_names_in_")


def test_a_result_of_other_rows_is_refused(blobs, make):
    X, y, _ = blobs
    clf = make(net_params=None).fit(X, y)

    def change(state):
        arrays = state["fit"]["arrays"]
        arrays["soft_labels_"] = arrays["soft_labels_"][1:]

    change_last_state(clf, change)
    with pytest.raises(ValueError, match=r"result\.safetensors does not fit this fit: soft_labels_ .* to begin anew"):
        make(net_params=None).fit(X, y)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_state_is_refused_and_the_one_before_it_serves(blobs, make, damage):
    X, y, _ = blobs
    cut(make(5), X, y)
    before, last = sorted(make().checkpoint.rglob("step*"))
    content = last.read_bytes()
    middle = len(content) // 2
    changed = bytes([content[middle] ^ 16])
    last.write_bytes(content[:middle] if damage == "truncated" else content[:middle] + changed + content[middle + 1 :])
    clf = make(5)
    with pytest.raises(ValueError, match=rf"{last.name} .*damaged.* Delete this file to go on from {before.name}"):
        clf.fit(X, y)
    assert not hasattr(clf, "classes_")
    last.unlink()
    assert_same_fit(make(5).fit(X, y), make(5, checkpoint=None).fit(X, y), X)


def test_a_damaged_result_is_refused(blobs, make):
    X, y, _ = blobs
    clf = make().fit(X, y)
    (result,) = clf.checkpoint.rglob("result*")
    result.write_bytes(result.read_bytes()[:-1])
    with pytest.raises(ValueError, match="Delete this file to begin anew"):
        make().fit(X, y)
    result.unlink()
    assert_same_fit(make().fit(X, y), clf, X)


def test_a_full_disk_leaves_the_last_state(blobs, make, monkeypatch):
    X, y, _ = blobs
    written = []

    def runs_out(tensors, path, metadata):
        if len(written) == 3:
            raise states.SafetensorError("I/O error: No space left on device (os error 28)")
        written.append(path)
        save_file(tensors, path, metadata=metadata)

    save_file = states.save_file
    clf = make()
    with monkeypatch.context() as patch:
        patch.setattr(states, "save_file", runs_out)
        with pytest.raises(OSError, match="No space left on device"):
            clf.fit(X, y)
    assert not hasattr(clf, "classes_")
    assert files(clf.checkpoint) == ["step1-epoch000001.safetensors", "step1-epoch000002.safetensors"]
    assert_same_fit(make().fit(X, y), make(checkpoint=None).fit(X, y), X)


SHORT = {"cross_fit": 0, "max_epochs": 3}


@pytest.mark.parametrize("at", [0, 2, 4])
def test_another_fit_of_the_same_name_may_finish_while_a_state_is_written(blobs, make, monkeypatch, at):
    """State 0 is written before the first epoch, the last one is the result."""
    X, y, _ = blobs
    expected = make(**SHORT, checkpoint=None).fit(X, y)
    others, written = [], []

    def replace_while_another_fits(new, path):
        if len(written) == at and not others:
            others.append(make(**SHORT))
            others[0].fit(X, y)
        written.append(path)
        replace(new, path)

    replace = os.replace
    monkeypatch.setattr(os, "replace", replace_while_another_fits)
    clf = make(**SHORT).fit(X, y)
    assert files(clf.checkpoint) == ["result.safetensors"]
    assert_same_fit(others[0], expected, X)
    assert_same_fit(clf, expected, X)


def test_a_state_may_vanish_before_it_is_read(blobs, make, monkeypatch):
    X, y, _ = blobs
    cut(make(3, **SHORT), X, y)
    others, read_state = [], checkpoint.read_state

    def read_after_another_fit(path, kind):
        if not others:
            others.append(make(3, **SHORT))
            others[0].fit(X, y)
        return read_state(path, kind)

    monkeypatch.setattr(checkpoint, "read_state", read_after_another_fit)
    assert_same_fit(make(3, **SHORT).fit(X, y), make(3, **SHORT, checkpoint=None).fit(X, y), X)


def test_two_processes_run_the_same_fit_at_once(blobs, make):
    X, y, _ = blobs
    expected = make(**SHORT, checkpoint=None).fit(X, y)
    for _ in range(n_cases(300)):

        def fit():
            assert_same_fit(make(**SHORT).fit(X, y), expected, X)

        processes = [multiprocessing.get_context("fork").Process(target=fit) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0]
        assert files(make().checkpoint) == ["result.safetensors"]
        shutil.rmtree(make().checkpoint)


def test_what_killed_processes_left_half_written_is_removed_at_the_end(blobs, make):
    X, y, _ = blobs
    cut(make(3, **SHORT), X, y)
    (folder,) = make().checkpoint.iterdir()
    (folder / ".step1-epoch000004.safetensors.0123").touch()
    (folder / ".tmpIu8s").touch()  # of safetensors
    make(3, **SHORT).fit(X, y)
    assert files(folder) == ["result.safetensors"]


def test_states_are_as_readable_as_other_files_and_stay_so(blobs, make, monkeypatch):
    X, y, _ = blobs
    monkeypatch.setattr(os, "umask", None)  # which is all threads' own
    clf = make(**SHORT).fit(X, y)
    (result,) = clf.checkpoint.rglob("result*")
    (clf.checkpoint / "other").touch()
    assert result.stat().st_mode == (clf.checkpoint / "other").stat().st_mode
    for mode in (0o600, 0o640, 0o664):
        clf.save(clf.checkpoint / "other")
        (clf.checkpoint / "other").chmod(mode)
        clf.save(clf.checkpoint / "other")
        assert stat.S_IMODE((clf.checkpoint / "other").stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="takes a file system of its own")
def test_a_disk_that_is_really_full(blobs, make, tmp_path):
    X, y, _ = blobs
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        (disk / "other").write_bytes(bytes(30_000))
        with pytest.raises(OSError, match="No space left on device"):
            make(checkpoint=disk / "checkpoints").fit(X, y)
        (disk / "other").unlink()
        with contextlib.suppress(OSError):
            make(checkpoint=disk / "checkpoints").fit(X, y)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_that_cannot_be_written_is_told_before_training(blobs, make, tmp_path):
    X, y, _ = blobs
    (tmp_path / "file").touch()
    CutAt.seen_ = 0
    with pytest.raises(OSError, match="`checkpoint` must be a folder that can be written to.*Not a directory"):
        make(checkpoint=tmp_path / "file").fit(X, y)
    for wrong in (1, True, b"folder"):
        with pytest.raises(TypeError, match="The 'checkpoint' parameter .* must be an instance of 'str'"):
            make(checkpoint=wrong).fit(X, y)
    assert CutAt.seen_ == 0


def test_what_a_state_cannot_hold_is_told_before_training(blobs, make):
    X, y, _ = blobs

    class Odd(torch.optim.SGD):
        def state_dict(self):
            return {**super().state_dict(), "odd": object()}

    CutAt.seen_ = 0
    with pytest.raises(TypeError, match="cannot hold <object"):
        make(net_params={"optimizer": Odd}).fit(X, y)
    assert CutAt.seen_ == 0


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_searches_share_a_folder(blobs, make, backend):
    X, y, _ = blobs
    grid = {"alpha": [0.5, 1.0], "beta": [0.1, 0.4]}
    params = {"max_epochs": 2, "net_params": None, "cross_fit": 0}
    expected = GridSearchCV(make(**params, checkpoint=None), grid, cv=2).fit(X, y)
    for _ in range(2):  # the second one finds all fits finished
        with parallel_backend(backend, n_jobs=2):
            search = GridSearchCV(make(**params), grid, cv=2).fit(X, y)
        np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
        assert_same_fit(search.best_estimator_, expected.best_estimator_, X)
    assert files(make().checkpoint) == ["result.safetensors"] * (4 * 2 + 1)


class Scale:
    """Augmentation with a setting."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return x * self.factor


def name_of(blobs, X=None, y=None, weight=None, groups=None, checked=None, seed=0, **params):
    clf = JointOptimizationClassifier(**params)
    X, y = blobs[0] if X is None else X, blobs[1] if y is None else y
    problem = check_problem(clf, X, y, weight, groups, checked, seed)
    return fingerprint(clf.get_params(deep=False), seed, problem, groups)


def test_fingerprints_tell_fits_apart(blobs):
    X, y, _ = blobs
    network = nn.Linear(5, 3)
    other = nn.Linear(5, 3)
    moved = X.copy()
    moved[7, 3] = np.nextafter(moved[7, 3], np.float32(9))
    flipped = y.copy()
    flipped[0] = (flipped[0] + 1) % 3
    groups = np.arange(90) // 2
    names = [
        name_of(blobs),
        name_of(blobs, X=moved),
        name_of(blobs, y=flipped),
        name_of(blobs, y=y.astype(str)),
        name_of(blobs, weight=np.ones(90)),
        name_of(blobs, weight=np.full(90, 2.0)),
        name_of(blobs, groups=groups),
        name_of(blobs, checked={4: 0}),
        name_of(blobs, checked={4: 1}),
        name_of(blobs, checked={5: 1}),
        name_of(blobs, checked={5: None}),
        name_of(blobs, seed=1),
        name_of(blobs, alpha=0.7),
        name_of(blobs, module=network),
        name_of(blobs, module=other),
        name_of(blobs, module=nn.Linear, module_params={"in_features": 5, "out_features": 3}),
        name_of(blobs, augment=lambda x: x),
        name_of(blobs, augment=lambda x: x * 2),
        name_of(blobs, augment=lambda x: x * 3),
        name_of(blobs, augment=Scale(2)),
        name_of(blobs, augment=Scale(3)),
        name_of(blobs, augment=Scale(2).__call__),
        name_of(blobs, augment=partial(torch.mul, other=2)),
        name_of(blobs, augment=partial(torch.mul, other=3)),
        name_of(blobs, net_params={"optimizer": torch.optim.Adam}),
        name_of(blobs, net_params={"callbacks": [CutAt(1)]}),
        name_of(blobs, net_params={"callbacks": [CutAt(2)]}),
    ]
    assert len(set(names)) == len(names)


def test_fingerprints_are_the_same_for_the_same_fit(blobs, tmp_path):
    X = blobs[0]
    memmap = np.memmap(tmp_path / "X", dtype=np.float32, mode="w+", shape=X.shape)
    memmap[:] = X
    assert name_of(blobs) == name_of(blobs, X=memmap) == name_of(blobs, X=np.asfortranarray(X.astype(np.float64)))
    assert name_of(blobs) == name_of(blobs, verbose=1, checkpoint="here")
    assert name_of(blobs, augment=partial(torch.mul, other=2)) == name_of(blobs, augment=partial(torch.mul, other=2))
    assert name_of(blobs, net_params={"callbacks": [CutAt(1)]}) == name_of(blobs, net_params={"callbacks": [CutAt(1)]})


def test_a_dataset_is_known_by_its_code_and_attributes(blobs):
    X = blobs[0]
    assert name_of(blobs, X=RowsOfWorkers(X)) == name_of(blobs, X=RowsOfWorkers(X.copy()))
    assert name_of(blobs, X=RowsOfWorkers(X)) != name_of(blobs, X=RowsOfWorkers(X + 1))


def test_a_witness_is_known_by_its_parameters(blobs):
    X, y, _ = blobs
    names = [name_of(blobs, witness=trees) for trees in (ExtraTreesClassifier(5), ExtraTreesClassifier(6))]
    assert names[0] != names[1]
    assert name_of(blobs, witness=ExtraTreesClassifier(5).fit(X, y)) == names[0]


def test_the_folder_is_not_touched_without_a_checkpoint(blobs, make, tmp_path):
    make(checkpoint=None).fit(*blobs[:2])
    assert list(tmp_path.iterdir()) == []
    assert isinstance(checkpoint.open_checkpoint(tmp_path, "name").result(), type(None))
