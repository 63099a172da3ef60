from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import noisyfit


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
