"""Pictures in files: how one is opened, and folders of them, one folder per label."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .._validation import import_extra

__all__ = ["MOST_PIXELS", "PICTURE_ENDINGS", "list_images", "load_images", "open_picture"]

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MOST_PIXELS = 64_000_000  # of one picture; WebP takes 15 bytes each while it is decoded, others up to 8
# whatever a file is called: for EPS, which Pillow would also know, it starts Ghostscript
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


@contextlib.contextmanager
def open_picture(path: str | os.PathLike[str], remedy: str) -> Iterator[Any]:
    """Open a picture for the time of the block, in which it is decoded and made small.

    Raises
    ------
    ValueError
        If the file is not there, is none, or holds no picture that can be decoded; `remedy` ends its message.
    """
    image = import_extra("PIL.Image", "review")
    try:
        if not os.path.isfile(path):  # a pipe would be waited for
            raise OSError("there is no such file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damage that does not matter, or that an error tells of
            with image.open(path, formats=_FORMATS) as picture:
                _check_size(picture.size)
                yield picture
    except image.UnidentifiedImageError as error:
        raise _unreadable(path, f"it is none of {', '.join(_FORMATS)}", remedy) from error
    except Exception as error:  # a damaged file can raise anything in Pillow
        raise _unreadable(path, str(error) or type(error).__name__, remedy) from error


def list_images(folder: Path, follow_links: bool = False) -> tuple[list[Path], list[str | None]]:
    """Give the images of a folder, in the order of their names, and their labels: the folder that each lies in.

    Images that lie in `folder` itself have no label, None. What has a name that begins with a dot is hidden, and left
    out. So are symbolic links, which may lead anywhere, unless `follow_links` is True; how many is told on the standard
    error stream.

    Raises
    ------
    OSError
        If a folder cannot be read.
    ValueError
        If there are fewer than two folders with images, or a name is not in UTF-8.
    """
    links: list[Path] = []
    found = _entries(folder, follow_links, links)
    found += [path for subfolder in found if subfolder.is_dir() for path in _entries(subfolder, follow_links, links)]
    named = [path for path in found if _is_called_picture(path)]
    paths = sorted(path for path in named if path.is_file())
    _tell_left_out(folder, links, [path for path in named if not path.is_file() and not path.is_dir()])
    _check_names(folder, paths)
    labels = [None if path.parent == folder else path.parent.name for path in paths]
    classes = sorted({label for label in labels if label is not None})
    if len(classes) < 2:
        raise ValueError(
            f"{folder} must hold one folder of images per label, at least 2; found {classes or 'none'}. "
            f"Images end in {', '.join(PICTURE_ENDINGS)}."
        )
    return paths, labels


def load_images(paths: list[Path], size: int, quiet: bool = False) -> NDArray[np.uint8]:
    """Decode images in colour, scaled and cut to squares: (n, 3, size, size).

    Raises
    ------
    ValueError
        If a file is no image that can be read.
    """
    ops = import_extra("PIL.ImageOps", "review")
    images = np.empty((len(paths), 3, size, size), dtype=np.uint8)
    for i, path in enumerate(tqdm(paths, desc="images", unit="file", disable=quiet)):
        with open_picture(path, "Save it anew, or take it out of the folder.") as picture:
            picture.draft("RGB", (size, size))  # decode no more of a JPEG than is needed
            ops.exif_transpose(picture, in_place=True)
            square = ops.fit(picture if picture.mode == "RGB" else picture.convert("RGB"), (size, size))
        images[i] = np.asarray(square).transpose(2, 0, 1)
    return images


def _check_size(size: tuple[int, int]) -> None:
    """Raise before a picture is decoded that a tiny file may say to be huge."""
    width, height = size
    if width * height > MOST_PIXELS:
        raise ValueError(f"it has {width:,} x {height:,} pixels, more than the {MOST_PIXELS:,} that are decoded")


def _unreadable(path: str | os.PathLike[str], why: str, remedy: str) -> ValueError:
    return ValueError(f"{os.fspath(path)} is no image that can be read: {why}. {remedy}")


def _entries(folder: Path, follow_links: bool, links: list[Path]) -> list[Path]:
    """Give what lies in a folder and is not hidden; links to pictures that are not followed are put with `links`."""
    found = []
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if follow_links or not path.is_symlink():
            found.append(path)
        elif _is_called_picture(path) or path.is_dir():
            links.append(path)
    return found


def _is_called_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_ENDINGS


def _tell_left_out(folder: Path, links: list[Path], no_files: list[Path]) -> None:
    told = [f"{len(links):,} symbolic links: --follow-links takes them in"] if links else []
    told += [f"{len(no_files):,} names of images that name no file, {no_files[0].name!r} say"] if no_files else []
    if told:
        print(f"noisyfit: left out of {folder}: {'; '.join(told)}", file=sys.stderr)


def _check_names(folder: Path, paths: list[Path]) -> None:
    """Raise for names that are not in UTF-8, which no page, table or report could hold."""
    for path in paths:
        name = str(path.relative_to(folder))
        if name.encode(errors="replace").decode() != name:
            raise ValueError(f"{str(path)!r} must have a name in UTF-8. Rename it, or its folder.")
