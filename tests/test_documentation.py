"""What the documentation says is so: defaults, parameters, code blocks, examples."""

from __future__ import annotations

import functools
import inspect
import pkgutil
import re
import runpy
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine

import noisyfit
from noisyfit import displays, exceptions, label_studio, losses, metrics, networks, noise
from noisyfit.verdict import JudgedLabels

ROOT = Path(__file__).parent.parent


def code_blocks(page):
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", text, re.M)
    return [textwrap.dedent(block) for block in blocks]


PAGES_WITH_CODE = sorted(path.name for path in (ROOT / "docs").glob("*.rst") if code_blocks(path.name))


def public_objects():
    yield from (noisyfit.label_report, noisyfit.save_review, noisyfit.apply_decisions, noisyfit.judge_labels)
    yield from public_methods(JudgedLabels)
    for estimator in (noisyfit.JointOptimizationClassifier, noisyfit.LabelCorrector):
        yield estimator
        yield from public_methods(estimator)
    for module in (losses, noise, metrics, displays, networks, exceptions, label_studio):
        for name in module.__all__:
            thing = getattr(module, name)
            yield thing
            if inspect.isclass(thing):
                yield from public_methods(thing)


def public_methods(cls):
    names = [name for name in vars(cls) if not name.startswith("_") and not name.endswith("_request")]
    methods = [getattr(cls, name) for name in names]
    return [method for method in methods if inspect.isfunction(method) or inspect.ismethod(method)]


def documented_parameters(docstring):
    """Names and types of the Parameters section."""
    match = re.search(r"Parameters\n-{5,}\n(.*?)(?:\n\n[A-Z][\w ]+\n-{3,}|\Z)", inspect.cleandoc(docstring), re.S)
    entries = re.findall(r"^((?:\*\*)?\w[\w, ]*) : (.*)$", match[1], re.M) if match else []
    return {name: kind for names, kind in entries for name in names.split(", ")}


@pytest.mark.parametrize("thing", list(public_objects()), ids=lambda thing: thing.__qualname__)
def test_docstrings_name_every_parameter_and_its_default(thing):
    assert thing.__doc__
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return
    parameters = {
        name: p for name, p in inspect.signature(thing).parameters.items() if name not in ("self", "cls", "x")
    }
    documented = documented_parameters(thing.__doc__)
    if not (parameters or documented):
        return
    if inspect.isfunction(thing) and "Parameters" not in thing.__doc__:
        assert thing.__doc__.count("\n") <= 1  # one line says it all
        return
    assert [name.lstrip("*") for name in documented] == list(parameters)
    for name, parameter in parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            default = parameter.default
            shown = f'"{default}"' if isinstance(default, str) else str(default)
            shown = "torch.optim.SGD" if inspect.isclass(default) else shown
            assert documented[name].endswith(f"default={shown}"), name


def test_the_reference_lists_every_public_name():
    listed = re.findall(r"^   ([\w.]+)$", (ROOT / "docs/api.rst").read_text(), re.M)
    names = [name for name in noisyfit.__all__ if not inspect.ismodule(getattr(noisyfit, name))]
    modules = [name for name in noisyfit.__all__ if inspect.ismodule(getattr(noisyfit, name))]
    names += [f"{module}.{name}" for module in modules for name in getattr(noisyfit, module).__all__]
    assert sorted(listed) == sorted(names)


@pytest.mark.parametrize("thing", list(public_objects()), ids=lambda thing: thing.__qualname__)
def test_docstrings_have_an_example(thing):
    """Its own, which runs as a doctest, or for a method one of its class that calls it."""
    if "Examples\n" in inspect.getdoc(thing):
        assert ">>> " in inspect.getdoc(thing)
        return
    assert not inspect.isclass(thing)
    owner = getattr(inspect.getmodule(thing), thing.__qualname__.partition(".")[0])
    if thing.__name__ != "forward":  # torch's: the example calls the module
        assert re.search(rf">>> .*\b{thing.__name__}\b", inspect.getdoc(owner))


@pytest.mark.usefixtures("few_epochs")
def test_every_code_block_of_the_readme_runs(capsys, thorough):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    before, after = map(float, capsys.readouterr().out.split("\n")[0].split())
    assert before < 0.65
    if thorough:  # three epochs do not get there
        assert after > 0.9


def what_the_pages_speak_of(folder):
    """The data that the code blocks of a page take for granted, small."""
    digits, labels = load_digits(return_X_y=True)
    wines, kind = load_wine(return_X_y=True)
    X, y = digits[:90].astype(np.float32), labels[:90]
    X.tofile(folder / "X.bin")
    (folder / "decisions.csv").write_text("row,index,given_label,proposed_label,decision,label\n")
    clf = noisyfit.JointOptimizationClassifier(max_epochs=2, random_state=0).fit(X, y)
    return {
        "JointOptimizationClassifier": noisyfit.JointOptimizationClassifier,
        "MyNetwork": networks.MLP,
        "clf": clf,
        "X": X,
        "y": y,
        "y_noisy": y,
        "X_new": X[:5],
        "y_new": y[:5],
        "images": X.reshape(-1, 1, 8, 8),
        "texts": [f"wine {1000 + i}: {row[0]:.0f} percent, colour {row[9]:.0f}" for i, row in enumerate(wines)],
        "topics": kind,
        "size": np.where(np.arange(len(wines)) % 50, wines[:, 0], np.nan),
        "colour": np.where(wines[:, 9] > 5, "dark", "light"),
        "kind": kind,
    }


@pytest.fixture
def few_epochs(monkeypatch, thorough):
    """Fits take three epochs, whatever a page or an example says; not in `make all`."""
    fit = noisyfit.JointOptimizationClassifier.fit

    @functools.wraps(fit)
    def short_fit(self, *args, **kwargs):
        begin = self.begin if self.begin == "auto" else min(self.begin, 3)
        return fit(self.set_params(max_epochs=3, begin=begin), *args, **kwargs)

    if not thorough:
        monkeypatch.setattr(noisyfit.JointOptimizationClassifier, "fit", short_fit)


@pytest.mark.parametrize("page", PAGES_WITH_CODE)
@pytest.mark.filterwarnings("ignore:All given labels are kept", "ignore:All corrected labels are")
@pytest.mark.usefixtures("few_epochs")
def test_every_code_block_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = what_the_pages_speak_of(tmp_path)
    for block in code_blocks(page):
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.rst")], ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(path):
    """Sphinx checks those between its pages; these are links of Markdown, paths of pictures and named files."""
    text = path.read_text()
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#]+)", text) + re.findall(r"(?:image|:file):+ (\S+)", text)
    for link in links:
        assert (path.parent / link).exists(), link
    for named in re.findall(r"``?((?:benchmarks|examples|tests|docs|noisyfit)/[\w./-]*\w)``?", text):
        assert (ROOT / named).exists(), named


def test_the_map_of_equations_names_what_there_is():
    text = (ROOT / "docs/equations.rst").read_text()
    names = set(re.findall(r"`([a-z_]+(?:\.\w+)+)`", text)) - {"noisyfit.losses"}
    assert len(names) > 20
    for name in names:
        assert pkgutil.resolve_name(f"noisyfit.{name}")


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.usefixtures("few_epochs")
def test_the_demo_runs(tmp_path, monkeypatch):
    """The other examples run when the documentation is built, as its gallery."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / "demo.py"), run_name="__main__")
    plt.close("all")
    assert (tmp_path / "demo_output" / "suspects.png").stat().st_size > 10_000
