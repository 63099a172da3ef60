"""Folders of images, one folder per label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ._validation import import_extra

__all__ = ["list_images", "load_images"]

_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def list_images(folder: Path) -> tuple[list[Path], list[str | None]]:
    """Give the images of a folder, in the order of their names, and their labels: the folder that each lies in.

    Images that lie in `folder` itself have no label, None.

    Raises
    ------
    ValueError
        If there are fewer than two folders with images.
    """
    paths = sorted(path for pattern in ("*", "*/*") for path in folder.glob(pattern) if _is_image(path))
    labels = [None if path.parent == folder else path.parent.name for path in paths]
    found = sorted({label for label in labels if label is not None})
    if len(found) < 2:
        raise ValueError(
            f"{folder} must hold one folder of images per label, at least 2; found {found or 'none'}. "
            f"Images end in {', '.join(_ENDINGS)}."
        )
    return paths, labels


def load_images(paths: list[Path], size: int, quiet: bool = False) -> NDArray[np.uint8]:
    """Decode images in colour, scaled and cut to squares: (n, 3, size, size).

    Raises
    ------
    ValueError
        If a file is no image that can be read.
    """
    image, ops = import_extra("PIL.Image", "review"), import_extra("PIL.ImageOps", "review")
    images = np.empty((len(paths), 3, size, size), dtype=np.uint8)
    for i, path in enumerate(tqdm(paths, desc="images", unit="file", disable=quiet)):
        images[i] = _load(path, size, image, ops)
    return images


def _load(path: Path, size: int, image: Any, ops: Any) -> NDArray[np.uint8]:
    try:
        with image.open(path) as opened:
            opened.draft("RGB", (size, size))  # decode no more of a JPEG than is needed
            square = ops.fit(ops.exif_transpose(opened).convert("RGB"), (size, size))
    except (OSError, ValueError, SyntaxError, image.DecompressionBombError) as error:
        raise ValueError(f"{path} is no image that can be read: {error}") from error
    pixels: NDArray[np.uint8] = np.asarray(square).transpose(2, 0, 1)
    return pixels


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _ENDINGS and path.is_file() and not path.name.startswith(".")
