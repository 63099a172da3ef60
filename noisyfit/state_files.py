"""Files that hold data and nothing else: safetensors with a JSON description, never pickle.

A state is a tree of dicts, lists, tuples, numbers, strings, None, arrays and tensors. Numbers of all arrays lie in one
safetensors file, everything else in the JSON text of its metadata, which also names the format, what the file is, and
a digest of it all. Reading one can raise an error, but imports and runs nothing that the file names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ._files import replaced_whole

__all__ = ["FORMAT", "can_pack", "read_state", "write_state"]

FORMAT = 1
_SIMPLE = (type(None), bool, int, float, str)
_OF_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")  # NumPy's kinds
_OF_TIMES = ("m8", "M8")
_UNITS = ("generic", "Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as")
_LARGEST_TEXTS = 1 << 30  # bytes of an array of strings: its width is the file's word


def write_state(path: Path, kind: str, state: dict[str, Any]) -> None:
    """Write a state whole, or leave what was there.

    Raises a TypeError for what a state cannot hold, an OSError where there is no room or no permission.
    """
    packer = _Packer()
    text = json.dumps({"format": FORMAT, "kind": kind, "state": packer.pack(state)})
    # one entry: safetensors writes several in any order, and the same state is to give the same bytes
    metadata = {"noisyfit": f"{_digest(text, packer.tensors)} {text}"}
    with replaced_whole(path) as new:
        try:
            save_file(packer.tensors, str(new), metadata=metadata)
        except SafetensorError as error:
            raise OSError(f"{path} could not be written: {error}. Is there room on the disk?") from error


def read_state(path: Path, kind: str) -> dict[str, Any]:
    """Read a state back.

    Raises a FileNotFoundError without a file, and a ValueError for one that is damaged, of another kind or format.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder. Name the file.")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there.")
    try:
        with safe_open(str(path), framework="pt") as file:
            entry = (file.metadata() or {}).get("noisyfit")
            tensors = {} if entry is None else {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RuntimeError, AttributeError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} is not a file of noisyfit, or it is damaged: {error}.") from error
    if entry is None:
        raise ValueError(f"{path} is a safetensors file, but not one of noisyfit.")
    digest, _, text = entry.partition(" ")
    description = _parsed(path, text)
    _check_description(path, description, kind)
    if digest != _digest(text, tensors):
        raise ValueError(f"{path} is damaged: what it holds does not match its digest.")
    try:
        state = _Unpacker(tensors).unpack(description["state"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, MemoryError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(state, dict):
        raise _unreadable(path, TypeError("no dict"))
    return state


def can_pack(value: Any) -> bool:
    """Say whether a state can hold a value."""
    try:
        _Packer().pack(value)
    except (TypeError, RecursionError):
        return False
    return True


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error


def _check_description(path: Path, description: Any, kind: str) -> None:
    if not isinstance(description, dict) or not isinstance(description.get("format"), int):
        raise _unreadable(path, KeyError("format"))
    if description["format"] != FORMAT:
        raise ValueError(
            f"{path} is of format {description['format']}, this version of noisyfit reads format {FORMAT}. "
            "Read it with the version that wrote it, or a later one."
        )
    if description.get("kind") != kind or "state" not in description:
        raise ValueError(f"{path} holds a {str(description.get('kind'))[:40]}, not a {kind}.")


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is damaged: its description cannot be read ({type(error).__name__}: {error}).")


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name} {tensor.dtype} {list(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class _Packer:
    """Turns a state into what JSON can say, and tensors."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._addresses: set[int] = set()

    def pack(self, value: Any) -> Any:
        if isinstance(value, np.generic) and value.dtype.kind in "biufU":
            value = value.item()
        if type(value) in _SIMPLE:
            return value
        if isinstance(value, list):
            return [self.pack(item) for item in value]
        if isinstance(value, tuple):
            return {"tuple": [self.pack(item) for item in value]}
        if isinstance(value, dict):
            return {"dict": [[self.pack(key), self.pack(item)] for key, item in value.items()]}
        if isinstance(value, Tensor):
            return {"tensor": self._keep(value.detach().cpu())}
        if isinstance(value, np.ndarray):
            return self._pack_array(value)
        raise TypeError(f"a file cannot hold {value!r} of type {type(value).__name__}")

    def _pack_array(self, array: np.ndarray) -> dict[str, Any]:
        kind = f"{array.dtype.kind}{array.dtype.itemsize}"
        if kind in _OF_NUMBERS or kind in _OF_TIMES:
            array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
            stored = array.view(f"i{kind[1]}") if kind[0] in "uMm" else array  # torch lacks the larger unsigned ones
            unit = list(np.datetime_data(array.dtype)) if kind in _OF_TIMES else None
            return {"array": self._keep(torch.from_numpy(stored)), "kind": kind, "unit": unit}
        if kind[0] in "OU" and array.ndim == 1:
            items = json.dumps([self.pack(item) for item in array.tolist()]).encode()
            width = array.dtype.itemsize // 4 if kind[0] == "U" else None
            return {"items": self._keep(torch.from_numpy(np.frombuffer(items, np.uint8).copy())), "width": width}
        raise TypeError(f"a file cannot hold an array of {array.dtype} with {array.ndim} dimension(s)")

    def _keep(self, tensor: Tensor) -> str:
        name = f"{len(self.tensors):04d}"
        tensor = tensor.contiguous()
        # safetensors refuses memory that is shared, as tied weights do; single numbers may keep odd strides
        if tensor.data_ptr() in self._addresses or tensor.numel() < 2:
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        self._addresses.add(tensor.data_ptr())
        self.tensors[name] = tensor
        return name


class _Unpacker:
    """Turns it back."""

    def __init__(self, tensors: dict[str, Tensor]):
        self._tensors = tensors
        self._kinds: dict[str, Callable[[dict[str, Any]], Any]] = {
            "tuple": lambda packed: tuple(map(self.unpack, packed["tuple"])),
            "dict": lambda packed: {self.unpack(key): self.unpack(item) for key, item in packed["dict"]},
            "tensor": lambda packed: self._tensors[packed["tensor"]],
            "array": self._unpack_array,
            "items": self._unpack_items,
        }

    def unpack(self, packed: Any) -> Any:
        if type(packed) in _SIMPLE:
            return packed
        if isinstance(packed, list):
            return [self.unpack(item) for item in packed]
        return self._kinds[next(iter(packed), "nothing")](packed)

    def _unpack_array(self, packed: dict[str, Any]) -> np.ndarray:
        kind, stored = packed["kind"], self._tensors[packed["array"]].numpy()
        if kind in _OF_TIMES:
            unit, step = packed["unit"]
            if unit not in _UNITS or type(step) is not int:
                raise ValueError("unit of time")
            return stored.view("i8").view(kind if unit == "generic" else f"{kind}[{step}{unit}]")
        if kind not in _OF_NUMBERS or stored.itemsize != int(kind[1]):
            raise ValueError("kind of numbers")
        return stored.view(kind)

    def _unpack_items(self, packed: dict[str, Any]) -> np.ndarray:
        items = [self.unpack(item) for item in json.loads(self._tensors[packed["items"]].numpy().tobytes())]
        width = packed["width"]
        if width is None:
            return np.fromiter(items, dtype=object, count=len(items))
        if not 0 <= width * 4 * len(items) <= _LARGEST_TEXTS or not all(type(item) is str for item in items):
            raise ValueError("width of strings")
        return np.array(items, dtype=f"U{width}")
