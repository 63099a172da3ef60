"""Small pictures as data URIs. They need pillow, which ``pip install 'noisyfit[review]'`` brings."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validation import import_extra

_LONGEST_SIDE = 96
_LONGEST_EXACT_SIDE = 48  # the page enlarges such pictures so much that the artefacts of JPEG would show


def array_thumbnails(X: Any, rows: NDArray[np.int64]) -> list[str]:
    """Give the `rows` of an array of images, (n, channels, height, width) or (n, height, width[, channels])."""
    image = import_extra("PIL.Image", "review")
    channels_first = _channels_first(tuple(X.shape))
    low, high = _range_of_values(X, rows)
    scale = _scale(low, high)
    uris = []
    for row in rows:
        picture = np.asarray(X[int(row)])
        if picture.dtype != np.uint8:
            picture = np.nan_to_num((picture.astype(np.float64) - low) * scale).clip(0, 255).round().astype(np.uint8)
        if channels_first:
            picture = picture.transpose(1, 2, 0)
        if picture.ndim == 3 and picture.shape[2] == 1:
            picture = picture[:, :, 0]
        uris.append(_as_data_uri(image.fromarray(np.ascontiguousarray(picture))))
    return uris


def file_thumbnails(paths: list[str]) -> list[str]:
    """Give the pictures in files."""
    image, operations = import_extra("PIL.Image", "review"), import_extra("PIL.ImageOps", "review")
    uris = []
    for path in paths:
        try:
            with image.open(path) as picture:
                if picture.mode[0] in "IF":  # more than 8 bits
                    picture = image.fromarray(_stretched(np.asarray(picture)))
                picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
                uris.append(_as_data_uri(operations.exif_transpose(picture)))
        except OSError as error:
            raise ValueError(
                f"`X` must name files that hold a picture, got {path!r}: {error}. Mend that path, or pass X=None."
            ) from error
    return uris


def _channels_first(shape: tuple[int, ...]) -> bool:
    if 0 in shape:
        raise ValueError(f"`X` must hold images of at least one pixel, got shape {shape}. Pass None to show none.")
    if len(shape) == 4 and shape[1] in (1, 3):
        return True
    if len(shape) == 4 and shape[3] not in (1, 3, 4):
        raise ValueError(
            f"`X` must hold images of 1 or 3 channels, (n, channels, height, width) or (n, height, width, channels); "
            f"got shape {shape}. Choose the channels to show."
        )
    return False


def _range_of_values(X: Any, rows: NDArray[np.int64]) -> tuple[float, float]:
    """Give what is to be black and white: 0 and 1 where all shown values lie between them, else their extremes."""
    low, high = 0.0, 1.0
    for row in rows:
        picture = np.asarray(X[int(row)])
        if picture.dtype.kind not in "buif":
            raise TypeError(f"`X` must hold images of numbers, got dtype {picture.dtype}. Convert it to uint8.")
        if picture.dtype == np.uint8:
            return 0.0, 255.0
        finite = picture[np.isfinite(picture)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return low, high


def _stretched(picture: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = float(picture.min()), float(picture.max())
    return ((picture.astype(np.float64) - low) * _scale(low, high)).round().astype(np.uint8)


def _scale(low: float, high: float) -> float:
    return 255 / (high - low) if high > low else 0.0


def _as_data_uri(picture: Any) -> str:
    image = import_extra("PIL.Image", "review")
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = image.alpha_composite(image.new("RGBA", picture.size, "white"), picture)
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    kind = "png" if max(picture.size) <= _LONGEST_EXACT_SIDE else "jpeg"
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
