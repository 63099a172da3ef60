from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

import noisyfit

ROOT = Path(__file__).parent.parent


def test_import_needs_no_plotting_library_and_brings_the_public_modules():
    program = (
        "import sys; sys.modules['matplotlib'] = None; import noisyfit; "
        "print(*[getattr(noisyfit, name).__name__ for name in noisyfit.__all__])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "noisyfit.losses" in result.stdout
    assert result.stderr == ""


def test_types_are_published():
    assert (Path(noisyfit.__file__).parent / "py.typed").is_file()


def test_the_oldest_versions_that_are_tested_are_the_lower_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts, bounds = project["dependencies"] + extras["test"], {}
    for requirement in map(Requirement, texts):
        if requirement.name == "noisyfit":
            texts.extend(line for extra in sorted(requirement.extras) for line in extras[extra])
        else:
            (bound,) = requirement.specifier
            assert bound.operator == ">="
            bounds[requirement.name.lower()] = Version(bound.version)
    bounds["torch"] = pins("constraints.txt")["torch"]  # older builds than that are not installed anywhere
    tested = pins("constraints-oldest.txt")
    assert bounds == {name: tested.get(name) for name in bounds}


def pins(file):
    lines = (line.split("==") for line in (ROOT / file).read_text().splitlines() if "==" in line)
    return {name.lower(): Version(version) for name, version in lines}
