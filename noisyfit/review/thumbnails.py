"""Small pictures as data URIs. They need pillow, which ``pip install 'noisyfit[review]'`` brings."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validation import import_extra
from ..files.images import open_picture

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
            picture = _as_bytes(picture, low, scale)
        if channels_first:
            picture = picture.transpose(1, 2, 0)
        if picture.ndim == 3 and picture.shape[2] == 1:
            picture = picture[:, :, 0]
        uris.append(_as_data_uri(image.fromarray(np.ascontiguousarray(picture))))
    return uris


def file_thumbnails(paths: list[str]) -> list[str]:
    """Give the pictures in files."""
    try:
        return [_file_thumbnail(path) for path in paths]
    except ValueError as error:
        raise ValueError(f"`X` must name files that hold a picture, but {error}") from error


def _file_thumbnail(path: str) -> str:
    image, operations = import_extra("PIL.Image", "review"), import_extra("PIL.ImageOps", "review")
    with open_picture(path, "Mend that path or file, or pass X=None.") as picture:
        if picture.mode.startswith("I;"):
            picture = picture.convert("I")  # which can be made small
        picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        operations.exif_transpose(picture, in_place=True)
        if picture.mode in "IF":  # more than 8 bits
            picture = image.fromarray(_stretched(np.asarray(picture)))
        return _as_data_uri(picture)


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
    finite = picture[np.isfinite(picture)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return _as_bytes(picture, low, _scale(low, high))


def _as_bytes(picture: NDArray[Any], low: float, scale: float) -> NDArray[np.uint8]:
    return np.nan_to_num((picture.astype(np.float64) - low) * scale).clip(0, 255).round().astype(np.uint8)


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
    picture.info.clear()  # a colour profile or a comment may be larger than the picture
    kind = "png" if max(picture.size) <= _LONGEST_EXACT_SIDE else "jpeg"
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
