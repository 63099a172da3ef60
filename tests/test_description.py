"""What a checkpoint is known by: all code and values that the parameters reach, and neither places nor addresses."""

import copy
import json
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import types
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import special
from skorch.callbacks import Callback
from torch import nn

import noisyfit
from noisyfit.files.description import Describer


def described(value):
    describer = Describer()
    return describer.describe(value), describer.unseen


def made_by(source, name="thing", file="made.py", lines=0):
    """Run source as a module that is not installed, and give what it calls `thing`."""
    scope = {"__name__": "made", "torch": torch, "nn": nn, "np": np, "Callback": Callback}
    exec(compile("\n" * lines + textwrap.dedent(source), file, "exec"), scope)
    return scope[name]


NETWORK = """
SCALE = 2.0
def helper(x):
    return deeper(x)
def deeper(x, *, shift=0.5):
    return x * SCALE + shift
class Base(nn.Module):
    gain = 1.5
    def forward(self, x):
        return self.scaled(self.layer(x))
    def scaled(self, x):
        return helper(x) * self.gain
class thing(Base):
    def __init__(self, n_features, n_classes):
        super().__init__()
        self.layer = nn.Linear(n_features, n_classes)
        self.act = lambda x: [y + 1 for y in x]
"""
OBJECTS = """
class Kind:
    __slots__ = ("a", "b_")
    def __init__(self): self.a, self.b_ = 1, 2
class WithDict:
    def __init__(self): self.factor_, self.inner = 3, Kind()
    def __call__(self, x): return x
    @property
    def half(self): return self.factor_ / 2
    @staticmethod
    def twice(x): return 2 * x
class Reduced:
    def __reduce__(self): return (Reduced, (), {"state": 4})
net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1))
torch.nn.init.ones_(net[0].weight); torch.nn.init.zeros_(net[0].bias)
net.plain = "word"
net.register_buffer("seen", torch.full((2,), 5.0), persistent=False)
def closed(by):
    def inner(x): return x * by
    return inner
raw = np.array([["a", b"c", 6j]], dtype=object)
thing = [WithDict(), Reduced(), net, closed(7), raw, {"x": 8, "y": {"z", "w"}}, torch.zeros(2, 3), np.float32(9)]
"""
OPTIMIZER = """
class thing(torch.optim.SGD):
    def step(self, closure=None):
        return super().step(closure)
"""
REFUSES = """
import threading
class Kind:
    __slots__ = ("a", "__dict__")
    def __init__(self): self.a, self.b = 1, threading.local()
    def __reduce_ex__(self, protocol): raise TypeError
thing = Kind()
"""
CHANGES = [
    (REFUSES.replace("threading.local()", "2"), "self.a, self.b = 1", "self.a, self.b = 0"),
    (REFUSES.replace("threading.local()", "2"), "1, 2", "1, 0"),
    (NETWORK, "SCALE = 2.0", "SCALE = 3.0"),
    (NETWORK, "return deeper(x)", "return deeper(x) - 1"),
    (NETWORK, "shift=0.5", "shift=0.25"),
    (NETWORK, "x * SCALE", "x / SCALE"),
    (NETWORK, "gain = 1.5", "gain = 1.25"),
    (NETWORK, "* self.gain", "- self.gain"),
    (NETWORK, "y + 1", "y + 2"),
    (NETWORK, "self.scaled(self.layer(x))", "self.layer(self.scaled(x))"),
    (NETWORK, "class Base(nn.Module)", "class Base(nn.Sequential)"),
    (OBJECTS, "self.a, self.b_ = 1, 2", "self.a, self.b_ = 0, 2"),
    (OBJECTS, "self.a, self.b_ = 1, 2", "self.a, self.b_ = 1, 0"),
    (OBJECTS, "self.factor_, self.inner = 3", "self.factor_, self.inner = 0"),
    (OBJECTS, "self.factor_ / 2", "self.factor_ / 4"),
    (OBJECTS, "return 2 * x", "return 4 * x"),
    (OBJECTS, '{"state": 4}', '{"state": 0}'),
    (OBJECTS, "nn.Dropout(0.1)", "nn.Dropout(0.2)"),
    (OBJECTS, "nn.Dropout(0.1)", "nn.AlphaDropout(0.1)"),
    (OBJECTS, '"word"', '"other"'),
    (OBJECTS, "5.0), persistent=False", "6.0), persistent=False"),
    (OBJECTS, 'net.plain = "word"', 'net.plain = "word"; net[0].weight.requires_grad_(False)'),
    (OBJECTS, "closed(7)", "closed(0)"),
    (OBJECTS, 'b"c"', 'b"d"'),
    (OBJECTS, "6j", "7j"),
    (OBJECTS, '"x": 8', '"x": 0'),
    (OBJECTS, '"z", "w"', '"z", "v"'),
    (OBJECTS, "torch.zeros(2, 3)", "torch.zeros(3, 2)"),
    (OBJECTS, "torch.zeros(2, 3)", "torch.zeros(2, 3, dtype=torch.int32)"),
    (OBJECTS, "np.float32(9)", "np.float32(8)"),
    (OPTIMIZER, "torch.optim.SGD", "torch.optim.Adam"),
    (OPTIMIZER, "return super().step(closure)", "return None"),
    ("def thing(x):\n    import json\n    return json.dumps", "dumps", "loads"),
    ("def thing(x):\n    try:\n        return x\n    except ValueError:\n        return 1", "ValueError", "TypeError"),
    ("@torch.no_grad()\ndef thing(x):\n    return x", "return x", "return -x"),
    ("@torch.no_grad()\ndef thing(x):\n    return x", "@torch.no_grad()", "@torch.enable_grad()"),
    ("def thing(x): pass\nthing.setting = 1", "= 1", "= 2"),
    ("import functools\nthing = functools.lru_cache(lambda x: x + 1)", "x + 1", "x + 2"),
    ("class Meta(type):\n    a = 1\nclass thing(metaclass=Meta): pass", "a = 1", "a = 2"),
    ("from typing import NamedTuple\nclass T(NamedTuple):\n    a: int = 1\nthing = T()", "= 1", "= 2"),
    ("import enum\nclass E(enum.Enum):\n    A = 1\nthing = E.A", "= 1", "= 2"),
    ("from dataclasses import dataclass\n@dataclass\nclass D:\n    a: int = 1\nthing = D()", "= 1", "= 2"),
    ("thing = []\nfor i in range(60): thing = [thing, 1]\nthing = [thing, 5]", "1]", "2]"),
    ("class thing(Callback):\n    threshold = 1", "= 1", "= 2"),
]


@pytest.mark.parametrize(("source", "old", "new"), CHANGES, ids=[f"{old} -> {new}" for _, old, new in CHANGES])
def test_a_change_of_code_or_state_is_seen_and_nothing_else(source, old, new):
    assert source.count(old) == 1
    before = described(made_by(source))
    assert before == described(made_by(source, file="elsewhere/made.py", lines=7))
    assert before[0] != described(made_by(source.replace(old, new)))[0]
    assert before[1] == []


def test_use_leaves_no_trace_in_classes_and_callbacks():
    optimizer = made_by(OPTIMIZER)
    plain = made_by("class thing(torch.optim.SGD): pass")
    before = described([optimizer, plain])
    for kind in (optimizer, plain):
        kind([nn.Parameter(torch.zeros(1))], lr=0.1)  # torch wraps the class's step
    assert described([optimizer, plain]) == before
    callback = made_by("class thing(Callback):\n    seen_ = 0")()
    before = described(callback)
    callback.best_ = type(callback).seen_ = 3
    assert described(callback) == before


@pytest.mark.parametrize("use", [lambda thing: thing.__reduce_ex__(4), copy.deepcopy, described])
def test_a_copy_leaves_no_trace_in_the_class(use):
    kind = made_by("class thing:\n    a = 1")
    before = described(kind)
    use(kind())
    assert described(kind) == before


def test_flags_joined_leave_no_trace():
    kind = made_by("import enum\nclass thing(enum.Flag):\n    A = 1\n    B = 2")
    before = described(kind)
    assert kind.A | kind.B
    assert described(kind) == before


def test_hooks_are_seen_and_not_their_numbers():
    def described_with(hook):
        network = nn.Identity()
        network.register_forward_hook(hook)
        network.own_hooks = [1]
        return described(network)

    first, *others = (lambda *_: None, lambda *_: None, lambda *_: 1)
    assert described_with(first) == described_with(others[0]) != described_with(others[1])


def test_a_class_in_a_module_of_ones_own(tmp_path, monkeypatch):
    """Also what a function imports while it runs, and what it names of a module."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("")
    source = "import mine.b\ndef thing(x):\n    from mine import a\n    return a.f(x) + mine.b.f(x)\n"
    seen = []
    for a, b, other in [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)]:
        for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
            del sys.modules[name]
        (tmp_path / "mine" / "a.py").write_text(f"def f(x):\n    return {a} * x\n# {'-' * a}")
        (tmp_path / "mine" / "b.py").write_text(f"OTHER = {other}\ndef f(x):\n    return {b} * x\n# {'-' * 2 * b}")
        for cached in tmp_path.rglob("*.pyc"):
            cached.unlink()
        thing = made_by(source)
        seen.append(described(thing))
        assert seen[-1] == described(thing)
    assert len({text for text, _ in seen}) == 3
    assert seen[0] == seen[3]  # OTHER is not named


SCRIPT = """
def thing(self):
    import script
    from folder.inner import deep
    return script.f(self) + deep.f(self)
"""
FILES = {
    "script.py": "import sys, other\ndef f(x): return 1 + x, '\\d'\nsys.exit('it was run')\n",
    "other.py": "import json\nFACTOR = 1\n",
    "folder/inner/deep.py": "from . import near, deep\ndef f(x): return near.SCALE * x\n",
    "folder/inner/near.py": "SCALE = 1\n",
}


@pytest.fixture
def described_from_files(tmp_path, monkeypatch):
    """Describe what imports files, of which one is changed."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("noisyfit.files.description._READ_FROM_FILES", set())
    modules = {name.partition("/")[0].removesuffix(".py") for name in FILES}

    def forget():
        for name in [name for name in sys.modules if name.partition(".")[0] in modules]:
            del sys.modules[name]

    def write(file, text):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)

    def described_with(name="other.py", old="FACTOR", new="FACTOR"):
        assert old in FILES[name]
        for file, text in FILES.items():
            write(file, text.replace(old, new) if file == name else text)
        forget()
        said = described(made_by(SCRIPT))
        assert modules.isdisjoint(sys.modules)
        return said

    for file, text in FILES.items():
        write(file, text)
    yield described_with
    forget()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("script.py", "1 + x", "2 + x"),
        ("other.py", "FACTOR = 1", "FACTOR = 2"),
        ("folder/inner/deep.py", "* x", "/ x"),
        ("folder/inner/near.py", "= 1", "= 2"),
    ],
)
def test_what_a_function_imports_is_read_and_not_run(described_from_files, name, old, new):
    before = described_from_files()
    assert before[1] == []
    assert before[0] != described_from_files(name, old, new)[0]
    assert before == described_from_files(name, FILES[name], f"# a comment\n{FILES[name]}")


def test_that_a_fit_imports_a_module_is_no_change(described_from_files):
    before = described_from_files()
    import folder.inner.deep  # of the fixture

    assert folder.inner.deep.near.SCALE == 1
    assert described(made_by(SCRIPT)) == before


def test_what_is_named_of_a_module_is_seen_though_another_function_had_it_read(described_from_files):
    described_from_files()
    import folder.inner.deep

    thing = made_by("import folder.inner.deep\ndef thing(x):\n    return folder.inner.deep.f(x)")
    before = described(thing)
    folder.inner.deep.f = lambda x: x
    assert described(thing) != before


def test_a_module_in_memory_is_described_as_it_is(described_from_files):
    import other  # before it is described

    thing = made_by("def thing(x):\n    import other\n    return other.FACTOR * x")
    before = described(thing)
    other.FACTOR = 3
    assert described(thing) != before


def test_a_module_that_cannot_be_read_is_told(described_from_files):
    assert described_from_files("other.py", "FACTOR", "this is no Python")[1] == ["the code of other"]


def test_imports_in_code_of_many_names_are_found(described_from_files):
    """Python writes numbers above 255 in two steps."""
    described_from_files()
    many = "".join(f"    n{i} = lo{i}.a{i}, {i}.5\n" for i in range(300))
    source = f"def thing():\n{many}    from other import FACTOR as wanted\n    return wanted\n"
    before = described(made_by(source))
    assert before != described_from_files("other.py", "= 1", "= 2")
    assert before != described(made_by(source))


@pytest.mark.parametrize(
    ("make", "unseen"),
    [
        (lambda file: file, "an object of _io.TextIOWrapper"),
        (lambda file: (i for i in [1]), "an object of builtins.generator"),
        (lambda file: lambda: file, "an object of _io.TextIOWrapper"),
        (lambda file: np.frompyfunc(lambda x: x, 1, 1), "an object of numpy.ufunc"),
        (lambda file: made_by(REFUSES), "an object of _thread._local"),
        (lambda file: nested(500), "what is nested deeper than 100 levels"),
    ],
)
def test_what_cannot_be_seen_is_told(make, unseen):
    with open(os.devnull) as file:
        thing = make(file)
        assert described(thing) == described(thing)
        assert described(thing)[1] == [unseen]


def test_code_of_an_extension_of_ones_own_is_told(monkeypatch):
    module = types.ModuleType("own_extension")
    module.__file__ = "/home/me/own_extension.so"
    monkeypatch.setitem(sys.modules, "own_extension", module)

    class Function(types.SimpleNamespace):
        __objclass__ = module

    describer = Describer()
    describer._of_c(Function(__name__="f", __qualname__="f", __module__="own_extension"))
    assert describer.unseen == ["the code of own_extension.f"]


def nested(depth):
    thing = []
    for _ in range(depth):
        thing = [thing]
    return thing


def ordinary():
    """What people pass, and what it is made of."""
    loop = []
    loop.append(loop)
    return [
        [torch.relu, nn.functional.dropout, len, [].append, str.upper, np.exp, np.mean, nn.LSTM(2, 3), nn.GRU],
        [torch.float32, torch.device("cpu"), torch.Generator(), np.random.RandomState(0), np.random.default_rng(0)],
        [threading.Lock(), threading.RLock(), Path("a"), slice(1), range(3), ..., 1j, b"x", float("nan"), loop],
        [nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))],
        [re.compile("a+", re.IGNORECASE), int | str, {1: 2}.keys(), {1: 2}.values(), {1: 2}.items(), special.expit],
        [logging.getLogger("noisyfit.mine"), logging.Logger("mine"), logging.StreamHandler()],
        [torch.strided, torch.finfo(torch.float32), torch.iinfo(torch.int8)],
        [torch.eye(2).to_sparse(), torch.zeros(0), torch.ones(2, dtype=torch.bfloat16), torch.zeros(2, device="meta")],
    ]


def test_ordinary_things_are_seen():
    assert described(ordinary())[1] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (re.compile("a"), re.compile("b")),
        (re.compile("a"), re.compile("a", re.IGNORECASE)),
        (int | str, int | float),
        ({1: 2}.keys(), {2: 2}.keys()),
        (np.exp, np.log),
        (special.expit, special.logit),
        (torch.finfo(torch.float32), torch.finfo(torch.float64)),
    ],
)
def test_ordinary_things_are_told_apart(one, other):
    assert described(one) != described(other)


def test_a_set_takes_no_longer_where_much_is_known():
    describer, times = Describer(), []
    much, words = [[[]] for _ in range(20_000)], {str(number) for number in range(2000)}
    for thing in (much, words):
        start = time.perf_counter()
        describer.describe(thing)
        times.append(time.perf_counter() - start)
    assert times[1] < times[0]


def test_a_describer_is_gone_with_the_last_name_of_it():
    """And with it what it holds of users: networks and arrays, which may be large."""
    describer = Describer()
    describer.describe(ordinary())
    gone = weakref.ref(describer)
    del describer
    assert gone() is None


def test_an_open_file_in_a_callback_is_warned_of(blobs, quick, tmp_path):
    class Writes(Callback):
        def __init__(self, file):
            self.file = file

    with open(tmp_path / "log", "w") as file:
        clf = quick(checkpoint=tmp_path / "states", max_epochs=1, net_params={"callbacks": [Writes(file)]})
        with pytest.warns(UserWarning, match="a change inside of an object of _io.TextIOWrapper") as caught:
            clf.fit(*blobs[:2])
    assert caught[0].filename == __file__


_SAYS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import test_description
print(json.dumps(test_description.said_of_all()))
"""


def said_of_all():
    sets = {"b": {"x", "yy", "zzz", ("t", 1), frozenset("abc"), len}}
    return [described(thing) for thing in [sets, *(made_by(source) for source, _, _ in CHANGES)]]


def test_another_process_says_the_same():
    """With other hashes and addresses."""
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(noisyfit.__file__).parents[1])}
    command = [sys.executable, "-c", _SAYS, Path(__file__).parent]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert json.loads(said) == json.loads(json.dumps(said_of_all()))


def test_a_network_whose_code_was_edited_begins_anew(blobs, quick, tmp_path):
    """Of the same name and with the same parameters, as in a script that was changed after a fit."""
    networks = [made_by(NETWORK.replace("x * SCALE", change)) for change in ("x * SCALE", "x * -SCALE")]
    found = [quick(network, checkpoint=tmp_path).fit(*blobs[:2]) for network in networks]
    assert len(list(tmp_path.iterdir())) == 2
    np.testing.assert_array_equal(found[1].soft_labels_, quick(networks[1]).fit(*blobs[:2]).soft_labels_)
