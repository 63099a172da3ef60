"""Rows by number: every kind of input behind one interface, without a copy.

A new kind of input is a subclass of `Rows` with `batches`, and a line in `as_rows`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.sparsefuncs import mean_variance_axis
from sklearn.utils.validation import assert_all_finite, check_consistent_length, column_or_1d, validate_data
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from .storage import row_slices

__all__ = [
    "InputKind",
    "Rows",
    "as_network_input",
    "as_rows",
    "check_inputs",
    "check_same_pixels",
    "check_texts",
    "is_bytes",
    "items_to_numpy",
    "labels_to_numpy",
]

Chunk = Tensor | slice
_BLOCK_NUMBERS = 1 << 20
_SPARSE = 0.05  # share of numbers that are not zero, from which on a sparse product takes no less time
_MOMENT_SAMPLE = 4096  # rows of a Dataset that are read for input statistics
_NOT_WHOLE = re.compile("[\ud800-\udfff]|\0\\Z")
_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)
# in the messages of NumPy and SciPy for what is no table of numbers; they do not say that it is X
_NO_NUMBERS = (
    "could not convert",
    "cannot convert",
    "float() argument must be",
    "setting an array element",
    "Cannot cast",
    "Cannot convert",
    "too large to convert",
    "could not be promoted",
    "ScalarType",
)


class InputKind(NamedTuple):
    """What a fit remembers of its inputs."""

    shape: tuple[int, ...]  # of one row
    dtype: str  # torch's name of what the network gets
    of_bytes: bool  # images of bytes, which are divided by 255

    @classmethod
    def of(cls, rows: Rows, X: Any) -> InputKind:
        """Describe checked inputs and their rows."""
        return cls(tuple(rows.item_shape), str(rows.network_dtype).removeprefix("torch."), is_bytes(X))


def check_inputs(estimator: BaseEstimator, X: Any, y: Any = "no_validation", reset: bool = True) -> tuple[Any, Any]:
    """Check X as scikit-learn does, and y where it is given; set or compare the estimator's feature attributes.

    Gives X as a float32 array, a uint8 array of three or more dimensions, a memmap of any number type, a CSR
    matrix or a Dataset, and y as an array. Neither is ever written to.
    """
    y = y if isinstance(y, str) else labels_to_numpy(y)
    if isinstance(X, Dataset):
        _check_dataset(estimator, X, reset)
        return X, None if isinstance(y, str) else _check_labels(X, y)
    X = items_to_numpy(X, "X")
    _check_kind(X)
    keep_dtype = isinstance(X, np.memmap) or is_bytes(X)
    dtype = None if keep_dtype else np.float32
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold is told by the error for infinity
            checked = validate_data(estimator, X, y, reset=reset, accept_sparse="csr", dtype=dtype, allow_nd=True)
    except (TypeError, ValueError, OverflowError) as error:
        told = str(error).rstrip(".\n")
        if "Input X contains" in told:
            raise ValueError(f"{told}.{_told_place('The first is', _find_not_finite(X), X)}") from error
        if not any(message in told for message in _NO_NUMBERS):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        place = _told_place("The first that is none is", _find_no_number(X), X)
        raise kind(f"`X` must hold numbers: {told}.{place} Encode text, categories and dates first.") from error
    checked_X, checked_y = checked if isinstance(checked, tuple) else (checked, None)
    _check_item_shape(estimator, checked_X.shape[1:], reset)
    if isinstance(X, np.memmap):
        _check_float32_holds(X)
        checked_X = X
    return checked_X, checked_y


def as_rows(X: Any, device: torch.device, loader_params: dict[str, Any] | None = None, seed: int = 0) -> Rows:
    """Wrap checked inputs; `loader_params` and `seed` are those of the DataLoader that reads a Dataset."""
    if isinstance(X, Dataset):
        return DatasetRows(X, loader_params or {}, seed)
    if sp.issparse(X):
        return SparseRows(X)
    if isinstance(X, np.memmap):
        as_it_is = X.flags.c_contiguous and X.dtype == (np.uint8 if is_bytes(X) else np.float32)
        return TensorRows(np.asarray(X), torch.device("cpu")) if as_it_is else MemmapRows(X)
    return TensorRows(X, device)


def as_network_input(x: Tensor, device: torch.device) -> Tensor:
    """Move a batch to the device and turn numbers into float32; uint8 images are divided by 255 there."""
    x = x.to(device, non_blocking=device.type != "cpu")  # from a GPU it would be read before it has arrived
    if x.dtype == torch.uint8 and x.ndim > 2:
        return x.float().div_(255)
    return x.float() if x.is_floating_point() or x.dtype == torch.bool else x


class Rows(Dataset[Any]):
    """Rows that are read by number, a batch at a time.

    Attributes
    ----------
    item_shape : tuple of int
        Shape of one row.
    number_device : torch.device
        Where row numbers are expected.
    sparse : bool
        Whether batches are sparse COO tensors.
    network_dtype : torch.dtype
        What the network gets.
    generator : torch.Generator or None
        Seeds the workers that read the rows, if there are any.
    """

    item_shape: tuple[int, ...]
    number_device = torch.device("cpu")
    sparse = False
    network_dtype = torch.float32
    generator: torch.Generator | None = None

    def __len__(self) -> int:
        raise NotImplementedError

    def batches(self, chunks: Sequence[Chunk]) -> Iterator[Tensor]:
        """Give the rows of each chunk of row numbers, in turn; chunks are int64 tensors or slices.

        A batch may be written to, and is valid until the next one is asked for.
        """
        raise NotImplementedError

    def moments(self, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Give the weighted mean and variance over the rows, float64, each of `item_shape`."""
        return self._moments_over(self._blocks(), weight)

    def _blocks(self) -> list[slice]:
        """Give all rows, a few at a time."""
        return row_slices(len(self), _block_size(self.item_shape))

    def fingerprints(self) -> NDArray[np.uint64] | None:
        """Give a number for each row, the same for equal rows; None where that would mean reading a Dataset."""
        factors = _odd_factors(int(np.prod(self.item_shape)))
        blocks = (block.cpu().numpy() for block in self.batches(self._blocks()))
        return np.concatenate([_as_integers(block).reshape(len(block), -1) @ factors for block in blocks])

    def _moments_over(self, chunks: Sequence[Chunk], weight: Tensor | None) -> tuple[Tensor, Tensor]:
        cpu = torch.device("cpu")
        shift: Tensor | None = None  # variances of differences from the first row: no cancellation
        total, first, second = 0.0, torch.zeros(()), torch.zeros(())
        for chunk, block in zip(chunks, self.batches(chunks), strict=True):
            if block.is_complex():
                raise ValueError("Complex data not supported: the mean and variance of `X` are those of real numbers.")
            values = as_network_input(block, cpu).to(torch.float64)
            shift = values[0].clone() if shift is None else shift
            values = values - shift
            if weight is None:
                total += len(values)
                first, second = first + values.sum(0), second + values.square().sum(0)
            else:
                shares = weight[chunk].to(cpu, torch.float64)
                total += float(shares.sum())
                first = first + torch.tensordot(shares, values, dims=1)
                second = second + torch.tensordot(shares, values.square(), dims=1)
        assert shift is not None
        mean = first / total
        return mean + shift, (second / total - mean.square()).clamp_min_(0)


class TensorRows(Rows):
    """Rows of an array in memory; on an accelerator they lie there where they fit into half of what is free."""

    def __init__(self, array: np.ndarray, device: torch.device):
        with warnings.catch_warnings():  # a read-only array is fine: nothing is written to it
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self._tensor = torch.from_numpy(np.ascontiguousarray(array))
        self.item_shape = array.shape[1:]
        if _fits_on(device, array.nbytes):
            self._tensor = self._tensor.to(device)
            self.number_device = device

    def __len__(self) -> int:
        return len(self._tensor)

    def batches(self, chunks: Sequence[Chunk]) -> Iterator[Tensor]:
        buffer = self._tensor[:0]
        for chunk in chunks:
            if isinstance(chunk, slice):  # a view of the caller's array, and a network may work in place
                rows = self._tensor[chunk]
                buffer = buffer if len(rows) <= len(buffer) else torch.empty_like(rows)
                yield buffer[: len(rows)].copy_(rows)
            else:  # several times as fast as an index in brackets
                yield self._tensor.index_select(0, chunk)


class MemmapRows(Rows):
    """Rows of a memory-mapped file, of which only the current batch is read."""

    def __init__(self, array: np.memmap):
        self._array = array
        self._dtype = np.uint8 if is_bytes(array) else np.float32
        self.item_shape = array.shape[1:]

    def __len__(self) -> int:
        return len(self._array)

    def batches(self, chunks: Sequence[Chunk]) -> Iterator[Tensor]:
        for chunk in chunks:
            rows = self._array[chunk if isinstance(chunk, slice) else chunk.numpy()]
            yield torch.from_numpy(np.array(rows, dtype=self._dtype, order="C"))


class SparseRows(Rows):
    """Rows of a CSR matrix, made dense a batch at a time where they are not very sparse."""

    def __init__(self, matrix: Any):
        if not matrix.has_canonical_format:  # entries of one place would count as several
            matrix = matrix.copy()
            matrix.sum_duplicates()
        self._matrix = matrix
        self.item_shape = (matrix.shape[1],)
        self.sparse = matrix.nnz <= _SPARSE * matrix.shape[0] * matrix.shape[1]

    def __len__(self) -> int:
        return int(self._matrix.shape[0])

    def batches(self, chunks: Sequence[Chunk]) -> Iterator[Tensor]:
        for chunk in chunks:
            rows = self._matrix[chunk if isinstance(chunk, slice) else chunk.numpy()]
            yield _to_coo(rows) if self.sparse else torch.from_numpy(np.ascontiguousarray(rows.toarray(), np.float32))

    def fingerprints(self) -> NDArray[np.uint64] | None:
        matrix = self._matrix
        integers = sp.csr_matrix((_as_integers(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)
        numbers: NDArray[np.uint64] = integers @ _odd_factors(matrix.shape[1])
        return numbers

    def moments(self, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        matrix = self._matrix.astype(np.float64)  # float32 does not hold the squares of all that it holds
        weights = None if weight is None else weight.cpu().numpy().astype(np.float64)
        mean, variance = mean_variance_axis(matrix, axis=0, weights=weights)
        return torch.from_numpy(mean), torch.from_numpy(variance).clamp_min_(0)  # of a constant, rounding is left


class DatasetRows(Rows):
    """Rows of a user's map-style Dataset, read by a DataLoader."""

    def __init__(self, dataset: Any, loader_params: dict[str, Any], seed: int):
        self.dataset = dataset
        first = _only_input(dataset[0])
        self.item_shape = tuple(np.shape(first))
        if isinstance(first, (Tensor, np.ndarray)):
            self.network_dtype = as_network_input(torch.as_tensor(first)[None], torch.device("cpu")).dtype
        self._sampler = _ChunkSampler()
        params = dict(loader_params)
        params.setdefault("persistent_workers", bool(params.get("num_workers")))
        params.setdefault("collate_fn", _collate)
        # its own generator: a DataLoader without one draws from torch's global state
        self.generator = torch.Generator().manual_seed(seed)
        self._loader: DataLoader[Any] = DataLoader(
            dataset, batch_sampler=self._sampler, generator=self.generator, **params
        )

    def __len__(self) -> int:
        return len(self.dataset)

    def batches(self, chunks: Sequence[Chunk]) -> Iterator[Tensor]:
        self._sampler.chunks = chunks
        for batch in self._loader:
            batch = _only_input(batch)
            if not isinstance(batch, Tensor):
                raise _not_inputs_alone(batch)
            _check_finite(batch)
            yield batch.detach()

    def fingerprints(self) -> NDArray[np.uint64] | None:
        return None

    def moments(self, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        numbers = torch.linspace(0, len(self) - 1, min(len(self), _MOMENT_SAMPLE)).round().long()
        return self._moments_over(numbers.split(256), weight)


class _ChunkSampler:
    """Batch sampler whose batches are set before each pass, so that a DataLoader's workers outlive an epoch."""

    chunks: Sequence[Chunk] = ()

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[list[int]]:
        for chunk in self.chunks:
            yield list(range(chunk.start, chunk.stop)) if isinstance(chunk, slice) else chunk.tolist()


def looks_channels_last(item_shape: tuple[int, ...]) -> bool:
    """Whether images seem to be (height, width, channels): 1, 3 or 4 at the end and more in front."""
    return len(item_shape) == 3 and item_shape[-1] in (1, 3, 4) and item_shape[0] > 4


def is_bytes(X: Any) -> bool:
    """Whether checked inputs are images of bytes, which are divided by 255; of a Dataset the first one tells."""
    if isinstance(X, Dataset):
        first = _only_input(X[0])
        return getattr(first, "ndim", 0) > 1 and str(first.dtype) in ("uint8", "torch.uint8")
    return getattr(X, "dtype", None) == np.uint8 and X.ndim > 2


def check_same_pixels(X: Any, of_bytes: bool) -> None:
    """Raise where images have another range than those of `fit`."""
    bytes_now = is_bytes(X)
    if bytes_now and not of_bytes:
        raise ValueError("`X` must be as in `fit`, where it was not uint8; uint8 images are divided by 255.")
    of_floats = isinstance(X, np.ndarray) and not bytes_now
    if of_bytes and of_floats and (X.min() < 0 or X.max() > 1):
        raise ValueError(
            "`X` must be uint8 as in `fit`, or floats divided by 255, in [0, 1]; got values from "
            f"{X.min():g} to {X.max():g}."
        )


def _to_coo(rows: Any) -> Tensor:
    coo = rows.tocoo()
    indices = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
    values = torch.from_numpy(coo.data.astype(np.float32))
    return torch.sparse_coo_tensor(indices, values, coo.shape, check_invariants=False, is_coalesced=True)


def items_to_numpy(data: Any, name: str) -> Any:
    """Turn a tensor, or a list of equal tensors or arrays, into one array; leave all else as it is."""
    if isinstance(data, (list, tuple)) and len(data) and isinstance(data[0], (Tensor, np.ndarray)):
        items = [_tensor_to_numpy(item, name) for item in data]
        shapes = {tuple(np.shape(item)) for item in items}
        if len(shapes) > 1:
            raise ValueError(
                f"`{name}` is a list of tensors or arrays, which must have one shape; got {sorted(shapes)[:5]}."
            )
        return np.stack(items)
    return _tensor_to_numpy(data, name)


def _tensor_to_numpy(x: Any, name: str) -> Any:
    if not isinstance(x, Tensor):
        return x
    try:
        x = x.detach().cpu().resolve_conj().resolve_neg()
        # NumPy has neither bfloat16 nor the floats of 8 bits
        return (x.float() if x.is_floating_point() and x.dtype not in _NUMPY_FLOATS else x).numpy()
    except (RuntimeError, TypeError) as error:  # sparse, quantised, nested, without data
        raise TypeError(f"`{name}` must be a dense tensor of numbers, got {x.dtype}, {x.layout}: {error}") from error


def labels_to_numpy(y: Any) -> Any:
    """Give labels that scikit-learn keeps the dtype of: it would turn pandas' nullable integers into floats.

    Of categories it would do so with booleans.
    """
    y = items_to_numpy(y, "y")
    try:
        values = np.asarray(y)
    except ValueError as error:
        raise ValueError(f"`y` must have one label a row, shape (n_samples,): {error}") from error
    if values.ndim == 2 and values.shape[1] > 1:
        raise ValueError(
            f"`y` must have one label a row, shape (n_samples,), got {values.shape}. Pass y.argmax(axis=1) for "
            "one-hot labels."
        )
    if values.dtype.kind == "V":
        raise TypeError(f"`y` must hold labels of one kind that can be sorted, got {values.dtype}. Make them strings.")
    if values.dtype.kind == "S":
        raise TypeError(f"`y` must hold strings or numbers, got bytes, {values.dtype}. Decode them: y.astype(str).")
    if values.dtype.kind == "T":  # scikit-learn does not know NumPy's newer strings
        y = values = values.astype(object)
    dtype: Any = y.dtypes.iloc[0] if isinstance(y, pd.DataFrame) and y.shape[1] == 1 else getattr(y, "dtype", None)
    of_pandas = isinstance(dtype, pd.api.extensions.ExtensionDtype)
    if values.ndim and (of_pandas or isinstance(y, pd.Series) or values.dtype.kind in "OmM"):
        _check_each_label(values)
    if values.dtype.kind in "OU":
        check_texts("y", y if values.dtype.kind == "U" else values)
    if of_pandas:
        return y.to_numpy(dtype=dtype.numpy_dtype) if hasattr(dtype, "numpy_dtype") else values
    if isinstance(dtype, np.dtype) and not dtype.isnative:  # pandas takes no other order of bytes
        return values.astype(dtype.newbyteorder("="))
    return y


def _check_each_label(values: Any) -> None:
    try:
        missing = np.asarray(pd.isna(values))
    except ArithmeticError as error:
        raise ValueError(f"`y` must not hold labels that cannot be compared, signalling NaN: {error}") from error
    if missing.any():
        raise ValueError(
            f"`y` must not hold missing labels, got {missing.sum()} of them, the first in row {missing.argmax()}. "
            "Leave these rows out of the fit."
        )
    if values.dtype == object:
        several = np.fromiter(map(pd.api.types.is_list_like, np.ravel(values)), dtype=bool)
        if several.any():
            row = int(several.argmax())
            kind = type(np.ravel(values)[row]).__name__
            raise ValueError(f"`y` must have one label a row, shape (n_samples,), got a {kind} in row {row}.")


def check_texts(name: str, labels: Any) -> None:
    """Raise for labels that would come back as others: NumPy cuts off NUL at the end, UTF-8 holds no surrogates."""
    for row, label in enumerate(np.asarray(labels, dtype=object).ravel().tolist()):
        if isinstance(label, str) and _NOT_WHOLE.search(label):
            raise ValueError(
                f"`{name}` must hold labels that files can hold, without NUL at the end or half of a character "
                f"(a lone surrogate); got {label!r:.100} in row {row}. Rename it."
            )


def _check_labels(X: Any, y: Any) -> Any:
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    check_consistent_length(X, y)
    return y


def _check_kind(X: Any) -> None:
    """Raise for dates and durations, which NumPy turns into numbers of their unit, and for a file of no numbers."""
    kinds = _kinds(X)
    if isinstance(X, np.memmap) and X.dtype.kind not in "biufc":
        raise TypeError(f"`X` must hold numbers, got a file of {X.dtype}. Turn them into numbers first.")
    if kinds & {"m", "M"}:
        raise TypeError("`X` must hold numbers, got dates or durations. Turn them into numbers first.")


def _kinds(X: Any) -> set[str]:
    """Give NumPy's letters for what X holds; of all but pandas' tables a look at the first row tells."""
    if isinstance(X, (pd.DataFrame, pd.Series)):
        return {dtype.kind for dtype in (X.to_frame() if isinstance(X, pd.Series) else X).dtypes}
    if sp.issparse(X) or not (getattr(X, "shape", ()) or isinstance(X, (list, tuple))):
        return set()
    try:
        return {np.asarray(X[:1]).dtype.kind}
    except (TypeError, ValueError):  # scikit-learn's check tells
        return set()


def _told_place(what: str, place: tuple[int, ...] | None, X: Any) -> str:
    """Say where in X something is; nothing where that is not known."""
    if place is None:
        return ""
    row, *others = place
    if len(others) == 1:
        name = list(X.columns)[others[0]] if hasattr(X, "columns") else others[0]
        return f" {what} in row {row}, column {name!r}."
    return f" {what} in row {row}{f', at {tuple(others)}' if others else ''}."


def _find_not_finite(X: Any) -> tuple[int, ...] | None:
    """Give the place of the first number that is missing, infinite or beyond float32; a few rows are read at a time."""
    try:
        size = _block_size(np.shape(_as_float32(X[:1]))[1:])
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        for start in range(0, n_rows, size):
            bad = np.argwhere(~np.isfinite(_as_float32(X[start : start + size])))
            if len(bad):
                row, *others = bad[0].tolist()
                return start + row, *others
    except (TypeError, ValueError, OverflowError):
        pass
    return None


def _as_float32(rows: Any) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        if isinstance(rows, pd.DataFrame):
            return rows.to_numpy(np.float32, na_value=np.nan)
        return np.asarray(rows.toarray() if sp.issparse(rows) else rows, dtype=np.float32)


def _find_no_number(X: Any) -> tuple[int, ...] | None:
    """Give the place of the first cell of a table that is no number, column by column."""
    if sp.issparse(X) or len(getattr(X, "shape", ())) != 2:
        return None
    number = np.empty(1, np.float32)
    for column in range(X.shape[1]):
        for row, cell in enumerate(X.iloc[:, column] if hasattr(X, "iloc") else X[:, column]):
            try:
                number[0] = cell
            except (TypeError, ValueError, OverflowError):
                return row, column
    return None


def _check_item_shape(estimator: Any, item_shape: tuple[int, ...], reset: bool) -> None:
    """Raise for rows without numbers, or of other dimensions than those of `fit`; images may be of another size."""
    shape = ", ".join(map(str, ("n", *item_shape)))
    if 0 in item_shape:
        raise ValueError(f"Found array with 0 feature(s): `X` of shape ({shape}) holds no numbers.")
    n_dimensions = len(item_shape if reset else estimator._input_kind_.shape) + 1
    if len(item_shape) + 1 != n_dimensions:
        raise ValueError(f"`X` must have {n_dimensions} dimensions as in `fit`, the rows first; got shape ({shape}).")


def _check_finite(batch: Tensor) -> None:
    """Raise as scikit-learn does for arrays; a Dataset can only be looked at as it is read."""
    if not batch.is_floating_point():
        return
    numbers = batch.float()
    if not numbers.sum().isfinite() and not numbers.isfinite().all():  # of the two, the sum takes less
        what = "NaN" if numbers.isnan().any() else "infinity or a value too large for dtype('float32')"
        raise ValueError(f"Input X contains {what}. The Dataset must give finite numbers.")


def _check_float32_holds(array: np.memmap) -> None:
    """Raise for numbers beyond float32; scikit-learn has looked for NaN and infinity."""
    if array.dtype.kind != "f" or array.dtype.itemsize <= 4:
        return
    place = _find_not_finite(array)
    if place is not None:
        told = _told_place("The first is", place, array)
        raise ValueError(f"Input X contains a value too large for dtype('float32').{told} Scale it down.")


def _as_integers(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Give numbers as the integers of their bits; 0 for both zeros."""
    if values.dtype == np.uint8:
        return values.astype(np.uint64)
    return (values.astype(np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)


def _odd_factors(n: int) -> NDArray[np.uint64]:
    """Factors of a sum modulo 2 ** 64 by which unequal rows get, in all likelihood, unequal numbers."""
    drawn = np.random.RandomState(0).randint(np.iinfo(np.int64).max, size=n, dtype=np.int64)
    return 2 * drawn.astype(np.uint64) + np.uint64(1)


def _block_size(item_shape: tuple[int, ...]) -> int:
    """How many rows to work on at a time, where all of them might be too many."""
    return max(1, _BLOCK_NUMBERS // max(1, int(np.prod(item_shape))))


def _check_dataset(estimator: Any, dataset: Any, reset: bool) -> None:
    if isinstance(dataset, IterableDataset) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(
            f"`X` must be a map-style Dataset, with __len__ and __getitem__; got {type(dataset).__name__}. "
            "Every sample needs a number, so that its label can be corrected."
        )
    if len(dataset) == 0:
        raise ValueError("Found array with 0 sample(s): `X` is an empty Dataset, at least 1 is required.")
    first = _only_input(dataset[0])
    if isinstance(first, (tuple, list, dict)):
        raise _not_inputs_alone(first)
    _check_item_shape(estimator, tuple(np.shape(first)), reset)
    n_features = (*np.shape(first), 1)[0]
    if reset:
        estimator.n_features_in_ = n_features
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    elif n_features != estimator.n_features_in_:
        raise ValueError(
            f"X has {n_features} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )


def _only_input(item: Any) -> Any:
    """Unwrap tuples of one, which torch's TensorDataset gives."""
    return item[0] if isinstance(item, (tuple, list)) and len(item) == 1 else item


def _collate(items: list[Any]) -> Any:
    """Make a batch as torch does, with an error that names `X`."""
    try:
        return default_collate(items)
    except (RuntimeError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"`X` must be a Dataset of inputs alone, of one shape and all of numbers: {error}") from error


def _not_inputs_alone(item: Any) -> TypeError:
    return TypeError(
        f"`X` must be a Dataset of inputs alone, a tensor or array each; got a {type(item).__name__}. "
        "Leave the labels out of it and pass them as `y`."
    )


def _fits_on(device: torch.device, n_bytes: int) -> bool:
    if device.type != "cuda":
        return device.type != "cpu"
    free, _ = torch.cuda.mem_get_info(device)
    return n_bytes < free // 2
