"""How benchmarks show and keep their figures."""

from __future__ import annotations

import json
import math
import platform
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import skorch
import torch

import noisyfit

RESULTS = Path(__file__).parent / "results"


def mean_and_spread(values: list[float]) -> str:
    """Give mean and standard deviation, to four digits."""
    spread = np.std(values, ddof=1) if len(values) > 1 else np.nan
    return f"{np.mean(values):.4f} ({spread:.4f})"


def write_json(name: str, content: dict[str, Any]) -> None:
    """Write a result with the machine and the versions it was measured on."""
    machine = {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "noisyfit": noisyfit.__version__,
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "skorch": skorch.__version__,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(_without_nan({"machine": machine, **content}), indent=2, allow_nan=False) + "\n")
    print(f"written to {path}")


def _without_nan(value: Any) -> Any:
    """Give None for NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
