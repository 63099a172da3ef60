"""Rows by number: every kind of input behind one interface, without a copy.

A new kind of input is a subclass of `Rows` with `batches`, and a line in `as_rows`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.utils.sparsefuncs import mean_variance_axis
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from .storage import row_slices

__all__ = [
    "InputKind",
    "Rows",
    "as_network_input",
    "as_rows",
    "block_size",
    "is_bytes",
    "not_inputs_alone",
    "only_input",
]

Chunk = Tensor | slice


_BLOCK_NUMBERS = 1 << 20
_SPARSE = 0.05  # share of numbers that are not zero, from which on a sparse product takes no less time
_MOMENT_SAMPLE = 4096  # rows of a Dataset that are read for input statistics


class InputKind(NamedTuple):
    """What a fit remembers of its inputs."""

    shape: tuple[int, ...]  # of one row
    dtype: str  # torch's name of what the network gets
    of_bytes: bool  # images of bytes, which are divided by 255

    @classmethod
    def of(cls, rows: Rows, X: Any) -> InputKind:
        """Describe checked inputs and their rows."""
        return cls(tuple(rows.item_shape), str(rows.network_dtype).removeprefix("torch."), is_bytes(X))


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
        return row_slices(len(self), block_size(self.item_shape))

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
        first = only_input(dataset[0])
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
            batch = only_input(batch)
            if not isinstance(batch, Tensor):
                raise not_inputs_alone(batch)
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
        first = only_input(X[0])
        return getattr(first, "ndim", 0) > 1 and str(first.dtype) in ("uint8", "torch.uint8")
    return getattr(X, "dtype", None) == np.uint8 and X.ndim > 2


def _to_coo(rows: Any) -> Tensor:
    coo = rows.tocoo()
    indices = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
    values = torch.from_numpy(coo.data.astype(np.float32))
    return torch.sparse_coo_tensor(indices, values, coo.shape, check_invariants=False, is_coalesced=True)


def _check_finite(batch: Tensor) -> None:
    """Raise as scikit-learn does for arrays; a Dataset can only be looked at as it is read."""
    if not batch.is_floating_point():
        return
    numbers = batch.float()
    if not numbers.sum().isfinite() and not numbers.isfinite().all():  # of the two, the sum takes less
        what = "NaN" if numbers.isnan().any() else "infinity or a value too large for dtype('float32')"
        raise ValueError(f"Input X contains {what}. The Dataset must give finite numbers.")


def _as_integers(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Give numbers as the integers of their bits; 0 for both zeros."""
    if values.dtype == np.uint8:
        return values.astype(np.uint64)
    return (values.astype(np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)


def _odd_factors(n: int) -> NDArray[np.uint64]:
    """Factors of a sum modulo 2 ** 64 by which unequal rows get, in all likelihood, unequal numbers."""
    drawn = np.random.RandomState(0).randint(np.iinfo(np.int64).max, size=n, dtype=np.int64)
    return 2 * drawn.astype(np.uint64) + np.uint64(1)


def block_size(item_shape: tuple[int, ...]) -> int:
    """How many rows to work on at a time, where all of them might be too many."""
    return max(1, _BLOCK_NUMBERS // max(1, int(np.prod(item_shape))))


def only_input(item: Any) -> Any:
    """Unwrap tuples of one, which torch's TensorDataset gives."""
    return item[0] if isinstance(item, (tuple, list)) and len(item) == 1 else item


def _collate(items: list[Any]) -> Any:
    """Make a batch as torch does, with an error that names `X`."""
    try:
        return default_collate(items)
    except (RuntimeError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"`X` must be a Dataset of inputs alone, of one shape and all of numbers: {error}") from error


def not_inputs_alone(item: Any) -> TypeError:
    """Give the error for a Dataset that gives labels, too."""
    return TypeError(
        f"`X` must be a Dataset of inputs alone, a tensor or array each; got a {type(item).__name__}. "
        "Leave the labels out of it and pass them as `y`."
    )


def _fits_on(device: torch.device, n_bytes: int) -> bool:
    if device.type != "cuda":
        return device.type != "cpu"
    free, _ = torch.cuda.mem_get_info(device)
    return n_bytes < free // 2
