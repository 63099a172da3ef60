"""CIFAR-10 with the human labels of CIFAR-10N, for benchmarks only; it is not part of noisyfit.

The file ``cifar10_jpeg.npz`` holds JPEG images end to end (``train_jpeg`` with ``train_offsets``, likewise
``test_``), ``train_label`` and ``test_label``, and the noisy labels ``human_worse`` and ``human_aggregate``. The
public originals: https://www.cs.toronto.edu/~kriz/cifar.html and http://www.noisylabels.com (CC BY-NC 4.0).
"""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from noisyfit.noise import asymmetric_noise, corrupt_labels, symmetric_noise, uniform_noise

PAPER_PAIRS = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}  # truck to automobile, bird to airplane, deer to horse, cat and dog
LABEL_KINDS = "clean, human_worse, human_aggregate, symmetric_R, uniform_R, asymmetric_R with R in percent"


class Cifar(NamedTuple):
    X: np.ndarray  # (n, 3, 32, 32) uint8
    y_given: np.ndarray
    y_clean: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def load_cifar(folder: str | None, labels: str, subset: int, seed: int) -> Cifar:
    """Load `subset` training images, drawn by `seed` as the noise is, and all test images."""
    path = Path(folder or os.environ.get("NOISYFIT_DATA", "")) / "cifar10_jpeg.npz"
    if not path.is_file():
        sys.exit(f"{path} is not there: give its folder as --data or NOISYFIT_DATA.\n{__doc__}")
    with np.load(path) as data:
        y_clean = data["train_label"].astype(np.int64)
        rows = np.random.RandomState(seed).permutation(len(y_clean))[:subset]
        y_given = data[labels].astype(np.int64) if labels.startswith("human_") else add_noise(y_clean, labels, seed)
        X = decode(data["train_jpeg"], data["train_offsets"], rows)
        X_test = decode(data["test_jpeg"], data["test_offsets"], range(len(data["test_label"])))
        return Cifar(X, y_given[rows], y_clean[rows], X_test, data["test_label"].astype(np.int64))


def add_noise(y_clean: np.ndarray, kind: str, seed: int) -> np.ndarray:
    if kind == "clean":
        return y_clean
    match = re.fullmatch(r"(symmetric|uniform|asymmetric)_(\d+)", kind)
    if match is None:
        sys.exit(f"--labels must be one of {LABEL_KINDS}; got {kind}.")
    rate = int(match[2]) / 100
    matrix = {
        "symmetric": lambda: symmetric_noise(10, rate),
        "uniform": lambda: uniform_noise(10, rate),
        "asymmetric": lambda: asymmetric_noise(10, rate, PAPER_PAIRS),
    }[match[1]]()
    return corrupt_labels(y_clean, matrix, random_state=seed)


def decode(jpeg: np.ndarray, offsets: np.ndarray, rows) -> np.ndarray:
    images = [np.asarray(Image.open(io.BytesIO(jpeg[offsets[i] : offsets[i + 1]].tobytes()))) for i in rows]
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
