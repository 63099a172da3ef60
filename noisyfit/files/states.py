"""Files that hold data and nothing else: safetensors with a JSON description, never pickle.

A state is a tree of dicts, lists, tuples, numbers, strings, None, arrays and tensors. Numbers of all arrays lie in one
safetensors file, everything else in the JSON text of its metadata, which also names the format, what the file is, and
a digest of it all. Reading one can raise an error, but imports and runs nothing that the file names. Whoever reads a
state checks by `check_numbers` and `check_like` what it brings before anything is worked out from it: kernels of torch
do not look whether shapes fit, and what is written past the end of memory ends the process.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .whole import replaced_whole

__all__ = [
    "FORMAT",
    "UNFIT",
    "can_pack",
    "check_count",
    "check_like",
    "check_numbers",
    "is_number",
    "outline",
    "packed_and_back",
    "read_state",
    "write_state",
]

FORMAT = 1
# what working on a state may raise that is another than it should be
UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_SIMPLE = (type(None), bool, int, float, str)
_OF_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")  # NumPy's kinds
_OF_TIMES = ("m8", "M8")
_UNITS = ("generic", "Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as")
# bytes of arrays of strings, whose width is the file's word: so many, or so many times those of their texts
_LARGEST_TEXTS, _LARGEST_PADDING = 1 << 26, 32
_LARGEST_NUMBER = 1e15
# of a description, of which Python makes a hundred bytes and more each: some 60 for an epoch
_MOST_PARTS = 1_000_000
_LARGEST_KEY = 1 << 60  # ints beyond may have one hash by the thousand, which makes a dict slow


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
            tensors = {} if entry is None else {name: _tensor_in(file, name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RuntimeError, AttributeError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} is not a file of noisyfit, or it is damaged: {error}.") from error
    if entry is None:
        raise ValueError(f"{path} is a safetensors file, but not one of noisyfit.")
    digest, _, text = entry.partition(" ")
    description = _parsed(path, text)
    _check_description(path, description, kind)
    try:
        if digest != _digest(text, tensors):
            raise ValueError("what it holds does not match its digest")
        state = _Unpacker(tensors).unpack(description["state"])
    except (*UNFIT, MemoryError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(state, dict):
        raise _unreadable(path, TypeError("no dict"))
    return state


def _tensor_in(file: Any, name: str) -> Tensor:
    tensor: Tensor = file.get_tensor(name).clone()
    if tensor.dtype == torch.bool and tensor.numel() and tensor.view(torch.uint8).max() > 1:
        raise ValueError(f"tensor {name!r} holds neither True nor False")  # which indexing takes on trust
    return tensor


def packed_and_back(value: Any) -> Any:
    """Give what reading makes of a value that was written; raise a TypeError for one that a state cannot hold."""
    packer = _Packer()
    try:
        text = json.dumps(packer.pack(value))
    except RecursionError as error:
        raise TypeError(f"a file cannot hold what is nested as deeply: {error}") from error
    return _Unpacker(packer.tensors).unpack(json.loads(text))


def check_numbers(
    what: str,
    value: Any,
    dtype: torch.dtype | str,
    shape: Sequence[int | None],
    low: float = -math.inf,
    high: float = math.inf,
) -> None:
    """Raise a ValueError unless a state holds the array or tensor that it should.

    Parameters
    ----------
    what : str
        What the error calls it.
    value : object
        What the state holds.
    dtype : torch.dtype or str
        Of a tensor; of an array the kind, "i" say, or kind and bytes, "f4" say.
    shape : sequence of int or None
        None for a length that may be any.
    low, high : float
        Of its numbers, none of which may be NaN where one of both is given.
    """
    if isinstance(dtype, torch.dtype):
        fits = isinstance(value, Tensor) and value.dtype == dtype and value.layout == torch.strided
    else:
        fits = isinstance(value, np.ndarray) and f"{value.dtype.kind}{value.dtype.itemsize}".startswith(dtype)
    if not fits or len(value.shape) != len(shape) or any(n not in (None, m) for n, m in zip(shape, value.shape)):  # noqa: B905
        expected = f"{str(dtype).removeprefix('torch.')} of shape {tuple(shape)}"
        raise ValueError(f"{what} must be {expected}, got {outline(value)}")
    limited = (low, high) != (-math.inf, math.inf)
    if limited and math.prod(value.shape) and not (low <= value.min() and value.max() <= high):
        raise ValueError(
            f"{what} must lie in [{low:g}, {high:g}], got {float(value.min()):g} to {float(value.max()):g}"
        )


def check_like(what: str, value: Any, like: Any) -> None:
    """Raise a ValueError unless a part of a state has the make of another: types, keys, lengths, dtypes, shapes.

    Single numbers may differ in their values, but stay at their side of 0 and at most 1e15: others would end in
    divisions by 0 and overflows of what goes on from there. Texts are the same.
    """
    if isinstance(like, Tensor):
        check_numbers(what, value, like.dtype, like.shape)
    elif isinstance(like, dict):
        if not isinstance(value, dict) or value.keys() != like.keys():
            raise ValueError(f"{what} must hold {list(like)}, got {outline(value)}")
        for key in like:
            check_like(f"{what}[{key!r}]", value[key], like[key])
    elif isinstance(like, (list, tuple)):
        if not isinstance(value, (list, tuple)) or len(value) != len(like):
            raise ValueError(f"{what} must be {len(like)} things, got {outline(value)}")
        for i, pair in enumerate(zip(value, like, strict=True)):
            check_like(f"{what}[{i}]", *pair)
    elif is_number(like):
        if not is_number(value) or not _same_side(value, like):
            raise ValueError(f"{what} must be a number like {like!r}, got {outline(value)}")
    elif type(value) is not type(like) or (isinstance(like, str) and value != like):
        expected = repr(like) if isinstance(like, str) else f"of type {type(like).__name__}"
        raise ValueError(f"{what} must be {expected}, got {outline(value)}")


def check_count(what: str, value: Any, low: int = 0, high: int = 1 << 31) -> None:
    """Raise a ValueError unless a state holds an int within bounds."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{what} must be an int from {low} to {high}, got {outline(value)}")


def is_number(value: Any) -> bool:
    """Say whether a value is a single number, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same_side(value: float, like: float) -> bool:
    if not math.isfinite(like):
        return type(value) is float or abs(value) <= _LARGEST_NUMBER
    return abs(value) <= _LARGEST_NUMBER and (value >= 0 if like == 0 else (value > 0) == (like > 0) and value != 0)


def outline(value: Any) -> str:
    """Say in few words what a value is; torch imports modules to show a tensor's numbers."""
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    if isinstance(value, (dict, list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{str(value)[:40]!r} of type {type(value).__name__}"


def can_pack(value: Any) -> bool:
    """Say whether a state can hold a value."""
    try:
        _Packer().pack(value)
    except (TypeError, RecursionError):
        return False
    return True


def _parsed(path: Path, text: str) -> Any:
    n_parts = sum(map(text.count, "[{,"))
    if n_parts > _MOST_PARTS:
        raise _unreadable(path, ValueError(f"{n_parts:,} parts, more than {_MOST_PARTS:,}"))
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


class _Texts:
    """Counts the memory of arrays of strings, each as wide as the widest, and the bytes that their texts take."""

    def __init__(self) -> None:
        self._in_memory = self._in_file = 0

    def have_room_for(self, width: int, n: int, n_bytes: int) -> bool:
        """Say whether n more of a width take no more than a file of such texts may ask for; if so, count them."""
        in_memory, in_file = self._in_memory + 4 * width * n, self._in_file + n_bytes
        fit = width >= 0 and in_memory <= max(_LARGEST_TEXTS, _LARGEST_PADDING * in_file)
        if fit:
            self._in_memory, self._in_file = in_memory, in_file
        return fit


class _Packer:
    """Turns a state into what JSON can say, and tensors."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._texts = _Texts()
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
            if value.layout != torch.strided or value.is_meta:
                raise TypeError(f"a file cannot hold a tensor of {value.layout} on {value.device}")
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
            if width is not None and not self._texts.have_room_for(width, len(array), len(items)):
                width = None  # one long text among many short ones: back as objects
            return {"items": self._keep(torch.from_numpy(np.frombuffer(items, np.uint8).copy())), "width": width}
        raise TypeError(f"a file cannot hold an array of {array.dtype} with {array.ndim} dimension(s)")

    def _keep(self, tensor: Tensor) -> str:
        name = f"{len(self.tensors):04d}"
        tensor = tensor.contiguous()
        # safetensors refuses memory that is shared, as tied weights do; single numbers may keep odd strides
        if tensor.untyped_storage().data_ptr() in self._addresses or tensor.numel() < 2:
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        self._addresses.add(tensor.untyped_storage().data_ptr())
        self.tensors[name] = tensor
        return name


class _Unpacker:
    """Turns it back."""

    def __init__(self, tensors: dict[str, Tensor]):
        self._left = dict(tensors)
        self._texts = _Texts()
        self._kinds: dict[str, Callable[[dict[str, Any]], Any]] = {
            "tuple": lambda packed: tuple(map(self.unpack, packed["tuple"])),
            "dict": lambda packed: {self._unpack_key(key): self.unpack(item) for key, item in packed["dict"]},
            "tensor": lambda packed: self._take(packed["tensor"]),
            "array": self._unpack_array,
            "items": self._unpack_items,
        }

    def unpack(self, packed: Any) -> Any:
        if type(packed) in _SIMPLE:
            return packed
        if isinstance(packed, list):
            return [self.unpack(item) for item in packed]
        return self._kinds[next(iter(packed), "nothing")](packed)

    def _unpack_key(self, packed: Any) -> Any:
        key = self.unpack(packed)
        if type(key) not in _SIMPLE or (type(key) is int and abs(key) > _LARGEST_KEY):
            raise TypeError("key of a dict")
        return key

    def _take(self, name: Any) -> Tensor:
        return self._left.pop(name)  # once: a text that is told again and again would fill the memory

    def _unpack_array(self, packed: dict[str, Any]) -> np.ndarray:
        kind, stored = packed["kind"], self._take(packed["array"]).numpy()
        if kind in _OF_TIMES:
            unit, step = packed["unit"]
            if unit not in _UNITS or type(step) is not int:
                raise ValueError("unit of time")
            return stored.view("i8").view(kind if unit == "generic" else f"{kind}[{step}{unit}]")
        if kind not in _OF_NUMBERS or stored.itemsize != int(kind[1]) or (kind == "b1") != (stored.dtype == bool):
            raise ValueError("kind of numbers")
        return stored.view(kind)

    def _unpack_items(self, packed: dict[str, Any]) -> np.ndarray:
        stored = self._take(packed["items"]).numpy()
        items = [self.unpack(item) for item in json.loads(stored.tobytes())]
        width = packed["width"]
        if width is None:
            return np.fromiter(items, dtype=object, count=len(items))
        if not self._texts.have_room_for(width, len(items), stored.nbytes) or not all(
            type(item) is str for item in items
        ):
            raise ValueError("width of strings")
        return np.array(items, dtype=f"U{width}")
