"""Files that somebody has made to do harm: each is read, or refused by a ValueError, at little cost, and nothing else.

Real files are taken apart, something in them is changed, and they are written with a digest that is right. A process
of its own reads them, so that one that dies, hangs or takes memory is found out.
"""

import contextlib
import copy
import json
import multiprocessing
import os
import random
import resource
import sys
import time
import traceback
import warnings
import zoneinfo
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from skorch.callbacks import Callback, LRScheduler
from torch import nn

from noisyfit import JointOptimizationClassifier, judge_labels
from noisyfit.command.verdict_file import KeptRows, read_verdict, write_verdict
from noisyfit.files import states
from noisyfit.files.states import read_state, write_state

from fuzzing import IS_SAME, n_cases

N_ROWS = 24
MOST_SECONDS, MOST_MEMORY = 2.0, 500 << 20  # of the processor, and bytes
BYTES_A_SECOND = 40e6  # to copy, to digest and to look at, on a busy machine
HANGS = 120  # seconds by the clock
ALARMING = (
    "exec", "compile", "import", "os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess", "pickle.find_class",
    "socket", "ctypes", "marshal",
)  # fmt: skip


class CutError(Exception):
    """Stands for whatever ends a fit."""


class Cut(Callback):
    """Ends a fit in the middle of an epoch."""

    epoch = 0

    def on_batch_end(self, net, **kwargs):
        if Cut.epoch == len(net.history):
            raise CutError


class Doubled(nn.Module):
    """A network of one's own."""

    def __init__(self, n_features, n_classes, hidden=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, hidden), nn.Linear(hidden, n_classes))

    def forward(self, x):
        return self.layers(x) * 2


SMALL = {"module_params": {"hidden": (3,)}, "max_epochs": 3, "batch_size": 12, "random_state": 0, "device": "cpu"}
ALONE = {"cross_fit": 0, "gamma": 0.0, "begin": 1, "net_params": {"callbacks": [("cut", Cut())]}}


def alone(**net_params):
    """Add settings to those of one network."""
    return ALONE | {"net_params": ALONE["net_params"] | net_params}


RATE = LRScheduler(torch.optim.lr_scheduler.CosineAnnealingWarmRestarts, T_0=2)
FITS = {
    "SGD": alone(optimizer__momentum=0.9, optimizer__nesterov=True),
    "Adam": alone(optimizer=torch.optim.Adam, prior_momentum=0.5) | {"lr": 0.01, "window": 0.9},
    "AdamW": alone(optimizer=torch.optim.AdamW) | {"lr": 0.01, "cross_fit": 2, "gamma": "damped", "witness": None},
    "NAdam": alone(optimizer=torch.optim.NAdam) | {"lr": 0.01},
    "scheduled": ALONE | {"net_params": {"callbacks": [("rate", RATE), ("cut", Cut())]}},
    "retrained": {"retrain_epochs": 2, **ALONE, "cross_fit": 2, "gamma": "damped", "witness": None},
}
MODELS = {
    "judged": {"witness": None},
    "alone": {"cross_fit": 0, "module_params": {"width": 2}},
    "own": {"module": Doubled, "module_params": {"hidden": 5}, "witness": None},
}


def rows(name):
    """Give rows and labels for the fits of a name."""
    draws = np.random.RandomState(0)
    y = np.arange(N_ROWS) % 3
    if name == "alone":
        return draws.randint(255, size=(N_ROWS, 1, 8, 8)).astype(np.uint8), y
    index = (
        pd.date_range("2026-01-01", periods=N_ROWS, tz="Europe/Berlin") if name == "own" else map(str, range(N_ROWS))
    )
    X = pd.DataFrame(draws.randn(N_ROWS, 2) + y[:, np.newaxis], columns=["a", "b"], index=pd.Index(index))
    return X, np.array(["one", "two", "three"])[y]


def write_real_files(folder):
    """Write a file of each kind; give for each what it is, its fit's name and its path."""
    files = []
    for name, params in MODELS.items():
        clf = JointOptimizationClassifier(**SMALL | params).fit(*rows(name))
        if clf._inquiry_ is not None:
            asked = clf.rows_to_check(20)
            clf.settle(dict(zip(asked.index, asked["given_label"], strict=True)))
        clf.save(folder / name)
        files.append(("model", name, folder / name))
    files.append(("model", "iris", Path(__file__).parent / "data" / "iris-0.1.0.safetensors"))
    for name, params in FITS.items():
        clf = JointOptimizationClassifier(**SMALL | params, checkpoint=folder / f"checkpoint {name}")
        Cut.epoch = 2
        with contextlib.suppress(CutError):
            clf.fit(*rows(name))
        Cut.epoch = 0
        files += [("resumed", name, path) for path in sorted(clf.checkpoint.rglob("step*"))[-1:]]
        if name in ("AdamW", "SGD"):
            clf.set_params(checkpoint=folder / f"result {name}").fit(*rows(name))
            files += [("resumed", name, path) for path in clf.checkpoint.rglob("result*")]
    _, y = rows("judged")
    verdict = judge_labels(y, np.full((N_ROWS, 3), 1 / 3), groups=np.arange(N_ROWS) // 2)
    names = np.array([str(i) for i in range(N_ROWS)])
    write_verdict(folder / "verdict", verdict, KeptRows(np.arange(N_ROWS), N_ROWS, "label", names))
    return [*files, ("verdict", "judged", folder / "verdict")]


def read(kind, name, path):
    """Do with a file what it is for."""
    if kind == "verdict":
        read_verdict(path).verdict.label_report()
        return
    X, y = rows(name)
    if kind == "model":
        own = {"module": Doubled} if name == "own" else {}
        clf = JointOptimizationClassifier.load(path, **own)
        if name == "iris":
            X = np.zeros((2, 4))
        clf.predict(X)
    else:
        clf = JointOptimizationClassifier(**SMALL | FITS[name], checkpoint=path.parent.parent).fit(X, y)
    clf.label_report()
    clf.summary()


# what is changed


def nodes(tree, path=()):
    """Give the places in a tree, each as the keys that lead there."""
    yield path
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from nodes(value, (*path, key))
    elif isinstance(tree, (list, tuple)):
        for i, value in enumerate(tree):
            yield from nodes(value, (*path, i))


def found(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def replaced(tree, path, new):
    """Give a tree with something else in a place."""
    if not path:
        return new
    key, *rest = path
    if isinstance(tree, dict):
        return {**tree, key: replaced(tree[key], rest, new)}
    items = list(tree)
    items[key] = replaced(items[key], rest, new)
    return type(tree)(items)


def nested(depth):
    tree = 0
    for _ in range(depth):
        tree = [tree]
    return tree


NUMBERS = [0, 1, -1, 2, 3, 25, 1000, 2**31, 10**12, 2**63 - 1, 2**64, 10**30, 10**400]
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-320, 1e300, float("nan"), float("inf"), -float("inf")]
TEXTS = [
    "", "x", "os.system", "../../etc/passwd", "/etc/passwd", "dateutil//etc/passwd", "dateutil/Europe/Berlin",
    "Europe/Berlin", "UTC+25:00", "UTC-03:30", "one", "list", "stacked", "range", "values", "typed", "levels", "code",
    "value", "device", "torch.optim", "__import__", "cuda:9", "meta", "float64", "load", "onnx", "U" * 10**5, "soft",
]  # fmt: skip
OTHERS = [None, True, False, [], (), {}, [0] * 3000, {"a": 1}, ("code", "os.system"), (0, 10**12, 1)]


def shaken_array(array, draws):
    """Give an array or tensor of another shape, dtype or content."""
    shapes = [(0,), (1,), (), (10**9, 0), (2, 2), (N_ROWS,), (N_ROWS, 3), (1, *array.shape), (*array.shape, 1)]
    dtypes = ["f4", "f8", "i8", "i1", "u1", "b1", "f2", "i4"]
    what = draws.randrange(8)
    numbers = np.asarray(array) if not isinstance(array, torch.Tensor) else array.detach().numpy()
    if numbers.dtype.kind not in "biuf":
        what = draws.choice([0, 1, 5])
    if what == 0:
        new = numbers[: len(numbers) // 2] if numbers.ndim else np.stack([numbers] * 2)
    elif what == 1:
        new = np.concatenate([numbers, numbers]) if numbers.ndim else numbers.reshape(1)
    elif what == 2:
        new = np.zeros(draws.choice(shapes), numbers.dtype)
    elif what == 3:
        with np.errstate(all="ignore"):
            new = numbers.astype(draws.choice(dtypes))
    elif what == 4:
        new = numbers.T
    elif what == 5:
        return draws.choice(OTHERS + NUMBERS)
    else:
        new = numbers.copy()
        value = draws.choice([*FLOATS[:4], 1e30, *FLOATS[-3:]] if new.dtype.kind == "f" else [-1, 0, 1, 2, 23, 24, 100])
        flat = new.reshape(-1)
        with np.errstate(all="ignore"):
            if what == 6 and len(flat):
                flat[draws.randrange(len(flat))] = np.array(value).astype(new.dtype)
            else:
                flat[:] = np.array(value).astype(new.dtype)
    return torch.from_numpy(np.array(new)) if isinstance(array, torch.Tensor) else new


def shaken(tree, draws, others):
    """Give a tree with something changed in one place."""
    depth = draws.randrange(1, 9)
    path = ()
    while len(path) < depth:
        holder = found(tree, path)
        if not isinstance(holder, (dict, list, tuple)) or not holder:
            break
        path = (*path, draws.choice(list(holder) if isinstance(holder, dict) else range(len(holder))))
    here = found(tree, path)
    what = draws.random()
    if what < 0.06:
        return replaced(tree, path, found(tree, draws.choice(list(nodes(tree)))))
    if what < 0.12:
        other = draws.choice(others)
        return replaced(tree, path, found(other, draws.choice(list(nodes(other)))))
    if what < 0.14:
        return replaced(tree, path, nested(draws.choice([20, 400, 3000])))
    if what < 0.2 and path and isinstance(found(tree, path[:-1]), dict):
        left = {key: value for key, value in found(tree, path[:-1]).items() if key != path[-1]}
        return replaced(tree, path[:-1], left)
    if what < 0.25 and isinstance(here, dict):
        key = draws.choice([*NUMBERS, *FLOATS, *TEXTS, None])
        return replaced(tree, path, {**here, key: draws.choice([*list(here.values()), 0, torch.zeros(3)])})
    return replaced(tree, path, shaken_leaf(here, draws))


def shaken_leaf(here, draws):
    """Give something in place of a part of a tree."""
    if isinstance(here, (np.ndarray, torch.Tensor)):
        return shaken_array(here, draws)
    if isinstance(here, (list, tuple)) and here and draws.random() < 0.7:
        items = draws.choice([here[:-1], [*here, here[-1]], list(here) * 200, here[::-1], here[:1] * 50])
        return draws.choice([list, tuple, type(here)])(items)
    near = FLOATS if isinstance(here, float) else TEXTS if isinstance(here, str) else NUMBERS
    if isinstance(here, (int, float)) and draws.random() < 0.2:
        return here + draws.choice([-1, 1])
    return draws.choice(near if draws.random() < 0.7 else NUMBERS + FLOATS + TEXTS + OTHERS)


def shaken_description(path, draws):
    """Change the JSON text itself: what `write_state` would never write."""
    with safe_open(str(path), framework="pt") as file:
        entry = file.metadata()["noisyfit"]
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    description = json.loads(entry.partition(" ")[2])
    for _ in range(draws.choice([1, 1, 2, 4])):
        places = list(nodes(description["state"]))
        place, other = draws.choice(places), draws.choice(places)
        new = (
            found(description["state"], other) if draws.random() < 0.4 else draws.choice(NUMBERS[:-1] + TEXTS + OTHERS)
        )
        new = draws.choice(["M8", "U4", "f8", "b1", "i8", "m8", *tensors]) if draws.random() < 0.3 else new
        description["state"] = replaced(description["state"], place, copy.deepcopy(new))
    if tensors and draws.random() < 0.3:
        name = draws.choice(sorted(tensors))
        new = shaken_array(tensors[name], draws)
        tensors[name] = new if isinstance(new, torch.Tensor) else torch.zeros(1)
    text = json.dumps(description)
    kept = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    save_file(kept, str(path), metadata={"noisyfit": f"{states._digest(text, kept)} {text}"})


def flipped(content, draws):
    """Flip some bits of a file, or cut it off."""
    content = bytearray(content)
    for _ in range(draws.choice([1, 1, 8, 100])):
        content[draws.randrange(min(len(content), draws.choice([8, 2000, 10**9])))] ^= 1 << draws.randrange(8)
    return bytes(content[: draws.choice([len(content), len(content), draws.randrange(len(content))])])


class Workshop:
    """Makes files out of real ones, a case a number, and reads them."""

    def __init__(self, files):
        self.files = [(kind, name, path, path.read_bytes()) for kind, name, path in files]
        self.states = [read_state(path, self.kind_in(kind, path)) for kind, _, path in files]

    @staticmethod
    def kind_in(kind, path):
        return {"resumed": "result" if path.name.startswith("result") else "checkpoint"}.get(kind, kind)

    def make(self, case, folder):
        """Write the file of a case; give what it is, the name of its fit, and its path."""
        draws = random.Random(case)
        number = draws.randrange(len(self.files))
        kind, name, original, content = self.files[number]
        path = folder / original.parent.parent.name / original.parent.name / original.name
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.iterdir():
            left.unlink()
        way = draws.random()
        if way < 0.06:
            path.write_bytes(flipped(content, draws))
        elif way < 0.25:
            path.write_bytes(content)
            with contextlib.suppress(TypeError, ValueError, RuntimeError):  # nothing that a file can hold
                shaken_description(path, draws)
        else:
            path.write_bytes(content)
            state = self.states[number]
            with contextlib.suppress(TypeError, ValueError, RuntimeError):  # nothing that a file can hold
                for _ in range(draws.choice([1, 1, 1, 2, 4])):
                    state = shaken(state, draws, self.states)
                write_state(path, self.kind_in(kind, path), state)
        return kind, name, path


def outcome_of(workshop, case, folder, seen):
    """Read the file of a case; give what came of it, seconds of the processor, and bytes of memory."""
    kind, name, path = workshop.make(case, folder)
    what, size = f"{kind} {name}", path.stat().st_size
    before, highest = psutil.Process().memory_info().rss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen.clear()
    seen.append(None)
    start = time.process_time()
    try:
        read(kind, name, path)
        result = "read"
    except (ValueError, UserWarning) as error:
        result = "refused" if not isinstance(error, UnicodeError) else repr(error)
    except BaseException as error:  # what it was is told by the test
        result = f"{error!r}\n{''.join(traceback.format_exception(error)[-4:])}"
    seconds = max(0.0, time.process_time() - start - size / BYTES_A_SECOND)  # beyond what its mere length takes
    events, seen[:] = seen[1:], []
    now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = now * 1024 - before - size if now > highest else 0
    return what, result, seconds, memory, events


def work(files, folder, connection):
    """Read the files of the cases that come, until the process dies."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    limit = psutil.Process().memory_info().vms + (8 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    workshop, seen = Workshop(files), []
    repr(torch.zeros(1)), "x".encode("utf-32-be"), "x".encode("utf-32-le")  # what messages and NumPy import late
    for kind, name, path, content in workshop.files:  # what reading imports, it has imported now
        copied = folder / path.parent.parent.name / path.parent.name / path.name
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(content)
        read(kind, name, copied)
    allowed = [
        str(folder),
        *zoneinfo.TZPATH,
        *(path for path in sys.path if path.endswith("site-packages")),
        "/dev",
        "/proc",
    ]

    def hook(event, args):
        elsewhere = event == "open" and not str(args[0]).startswith(tuple(allowed))
        if seen and (elsewhere or event.startswith(ALARMING)):
            seen.append((event, str(args)[:200]))

    sys.addaudithook(hook)
    while True:
        case = connection.recv()
        connection.send(outcome_of(workshop, case, folder, seen))


def outcomes(files, folder, cases):
    """Give each case with what came of it; a process that died or hangs is replaced."""
    context, process = multiprocessing.get_context("fork"), None
    for case in cases:
        if process is None:
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(files, folder, theirs), daemon=True)
            process.start()
            theirs.close()
        try:
            ours.send(case)
            if not ours.poll(HANGS):
                process.kill()
            yield case, ours.recv()
        except (EOFError, OSError):
            process.join()
            yield case, ("", f"the process ended with {process.exitcode}", 0.0, 0, [])
            process = None
    if process is not None:
        process.kill()
        process.join()


def test_every_file_is_read_or_refused(tmp_path):
    """Nothing dies, hangs, takes much time or memory, runs code or opens another file."""
    files = write_real_files(tmp_path)
    n = n_cases(20_000)
    first = random.SystemRandom().randrange(10**9) if not IS_SAME else 0
    bad, n_read, slowest, largest = [], 0, 0.0, 0
    for case, (what, result, seconds, memory, events) in outcomes(files, tmp_path / "made", range(first, first + n)):
        n_read += result == "read"
        slowest, largest = max(slowest, seconds), max(largest, memory)
        if result not in ("read", "refused") or seconds > MOST_SECONDS or memory > MOST_MEMORY or events:
            bad.append(f"case {case}, {what}: {result}, {seconds:.1f} s, {memory >> 20} MB, {events}")
            print(bad[-1], flush=True)
        if not IS_SAME and (case - first) % 500 == 499:
            print(f"{case - first + 1} of {n} files: {n_read} read, {len(bad)} bad", flush=True)
    print(f"{n} files: {n_read} read, slowest {slowest:.2f} s, largest {largest >> 20} MB, {len(bad)} bad")
    assert not bad, "\n".join(bad[:20])
    assert 0 < n_read < n


if __name__ == "__main__":
    pytest.main([__file__, "-s"])
