"""The same table and the same labels in every kind of container: what is fuzzed, and with what."""

from __future__ import annotations

import tempfile

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import scipy.sparse as sp
import torch
from torch.utils.data import TensorDataset

from inputs import Inputs, as_numpy_strings

NUMBERS = ("bits", "bytes", "integers", "quarters", "wide")  # each kind of numbers, and what holds it exactly
WHOLE = ("bits", "bytes", "integers")
SMALL = (*WHOLE, "quarters")
LAYOUTS = ("C", "F", "strided", "reversed", "read-only")
_NUMPY = {
    **dict.fromkeys(("bool",), ("bits",)),
    **dict.fromkeys(("uint8", "uint16", "uint64"), ("bits", "bytes")),
    **dict.fromkeys(("int8", "int16", "int64", ">i4"), WHOLE),
    **dict.fromkeys(("float16",), SMALL),
    **dict.fromkeys(("float32", "float64", "longdouble", ">f8", "object"), NUMBERS),
}
_TORCH = {
    torch.bool: ("bits",),
    torch.uint8: ("bits", "bytes"),
    torch.int16: WHOLE,
    torch.int64: WHOLE,
    torch.bfloat16: SMALL,
    torch.half: SMALL,
    torch.float32: NUMBERS,
    torch.float64: NUMBERS,
}
_PANDAS = {
    **dict.fromkeys(("boolean", "bool[pyarrow]"), ("bits",)),
    **dict.fromkeys(("Int64", "UInt8", "int64[pyarrow]"), ("bits", "bytes")),
    **dict.fromkeys(("float32", "Float64", "double[pyarrow]", "category", "object"), NUMBERS),
}
_SPARSE = [
    f"{form}_{kind}" for form in ("csr", "csc", "coo", "lil", "dok", "dia", "bsr") for kind in ("matrix", "array")
]


def laid_out(array, layout):
    """Give an array of the same numbers that lies differently in memory."""
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "strided":
        wide = np.repeat(array, 2, axis=-1)
        return wide[..., ::2]
    if layout == "reversed":
        return array[::-1].copy()[::-1]
    array = array.copy()
    array.flags.writeable = layout != "read-only"
    return array


def mapped(array):
    """Write an array to a nameless file and map it."""
    with tempfile.TemporaryFile() as file:
        array_in_file = np.memmap(file, dtype=array.dtype, mode="w+", shape=array.shape)
        array_in_file[:] = array
        return array_in_file


def unsorted_csr(X):
    """A CSR matrix whose rows hold their entries backwards, and some of them in two halves."""
    rows, columns = np.nonzero(X)
    values = X[rows, columns]
    order = np.lexsort((-columns, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    halves = np.ones(len(values), dtype=int)
    halves[::2] = 2
    indptr = np.r_[0, np.cumsum(np.bincount(np.repeat(rows, halves), minlength=len(X)))]
    return sp.csr_matrix((np.repeat(values / halves, halves), np.repeat(columns, halves), indptr), shape=X.shape)


def _columns(X, names="c"):
    return [f"{names}{j}" for j in range(X.shape[1])]


def _tensor_layouts(dtype):
    return {
        f"{dtype}": lambda X: torch.tensor(X).to(dtype),
        f"{dtype} transposed": lambda X: torch.tensor(X.T.copy()).to(dtype).T,
        f"{dtype} list": lambda X: list(torch.tensor(X).to(dtype)),
        f"{dtype} Dataset": lambda X: TensorDataset(torch.tensor(X).to(dtype)),
    }


def tables():
    """Name, maker from a float64 array (n, d), and kinds of numbers that each container holds exactly."""
    kinds = {}
    for dtype, held in _NUMPY.items():
        for layout in LAYOUTS:
            kinds[f"{dtype} {layout}"] = (lambda X, d=dtype, k=layout: laid_out(X.astype(d), k), held)
        kinds[f"{dtype} list of rows"] = (lambda X, d=dtype: list(X.astype(d)), held)
        if dtype != "object":
            kinds[f"{dtype} memmap"] = (lambda X, d=dtype: mapped(X.astype(d)), held)
        if dtype in ("bool", "uint8", "int64", "float16", "float32", "float64"):
            kinds[f"{dtype} Dataset"] = (lambda X, d=dtype: Inputs(X.astype(d)), held)
    for dtype, held in _TORCH.items():
        kinds |= {name: (make, held) for name, make in _tensor_layouts(dtype).items()}
    kinds["with gradient"] = (lambda X: torch.tensor(X).requires_grad_(), NUMBERS)
    kinds["Dataset with gradient"] = (lambda X: TensorDataset(torch.tensor(X).requires_grad_()), NUMBERS)
    kinds["negated view"] = (lambda X: torch._neg_view(torch.tensor(-X)), NUMBERS)
    for dtype, held in _PANDAS.items():
        kinds[f"{dtype} frame"] = (lambda X, d=dtype: pd.DataFrame(X, columns=_columns(X)).astype(d), held)
    kinds["frame of numbered columns"] = (pd.DataFrame, NUMBERS)
    kinds["frame of levels"] = (
        lambda X: pd.DataFrame(X, columns=pd.MultiIndex.from_product([["a"], _columns(X)])),
        NUMBERS,
    )
    kinds["frame of sparse columns"] = (lambda X: pd.DataFrame(X).astype(pd.SparseDtype(float, 0.0)), NUMBERS)
    kinds["polars"] = (lambda X: pl.DataFrame(X, schema=_columns(X), orient="row"), NUMBERS)
    kinds["Arrow table"] = (lambda X: pa.table(dict(zip(_columns(X), X.T.copy(), strict=True))), NUMBERS)
    kinds["lists"] = (lambda X: X.tolist(), NUMBERS)
    kinds["tuples"] = (lambda X: tuple(map(tuple, X.tolist())), NUMBERS)
    for form in _SPARSE:
        for dtype, held in {"float32": NUMBERS, "float64": NUMBERS, "int64": WHOLE, "bool": ("bits",)}.items():
            kinds[f"{form} {dtype}"] = (lambda X, f=form, d=dtype: getattr(sp, f)(X.astype(d)), held)
    kinds["csr unsorted, in parts"] = (unsorted_csr, SMALL)
    return kinds


TABLES = tables()


def holders(numbers):
    """Names of the containers that hold a kind of numbers exactly."""
    return [name for name, (_, held) in TABLES.items() if numbers in held]


def dense(container):
    """Give the numbers of a container back, as float64."""
    if sp.issparse(container):
        return container.toarray().astype(np.float64)
    if isinstance(container, TensorDataset):
        container = container.tensors[0]
    if isinstance(container, Inputs):
        container = container.X
    if isinstance(container, (list, tuple)):
        return (
            np.array([dense(row) for row in container]) if len(np.shape(container[0])) else np.array(container, float)
        )
    if isinstance(container, torch.Tensor):
        container = container.detach().resolve_neg().to(torch.float64).numpy()
    return np.asarray(container, dtype=np.float64)


def class_names(kind, n_classes):
    """Names of classes, of one kind and dtype."""
    numbers = np.arange(n_classes)
    names = {
        "int64": numbers - n_classes // 2,
        "int8": numbers.astype(np.int8),
        ">i4": numbers.astype(">i4"),
        "uint64": numbers.astype(np.uint64) + np.uint64(2**63),
        "bool": numbers.astype(bool),
        "float16": numbers.astype(np.float16),
        "float64": numbers * 3.0,
        "longdouble": numbers.astype(np.longdouble),
        "str": np.array([f"{'ü' * (i % 3)}{i}" for i in numbers]),
        "empty str": np.array(["", *map(str, numbers[1:])]),
        "object": np.array([f"class {i}" for i in numbers], dtype=object),
        "StringDType": as_numpy_strings([f"class {i}" for i in numbers]),
        "datetime64": np.datetime64("2020-01-01") + numbers,
        "timedelta64": numbers.astype("m8[s]"),
    }
    return names[kind]


LABELS = {
    **dict.fromkeys(("int64", "int8", ">i4", "uint64", "float16", "float64", "longdouble"), 100_000),
    **dict.fromkeys(("str", "empty str", "object", "StringDType", "datetime64", "timedelta64"), 100_000),
    "bool": 2,
}


def _as_tensor(y):
    return torch.from_numpy(y) if y.dtype.kind in "ifb" and y.dtype != np.longdouble and y.dtype.isnative else y


_NO_INDEX = (np.float16, np.longdouble)  # of pandas
LABEL_CONTAINERS = {
    "array": lambda y: y,
    "read-only": lambda y: laid_out(y, "read-only"),
    "strided": lambda y: laid_out(y, "strided"),
    "list": list,
    "Python list": lambda y: y.tolist() if y.dtype.kind in "ifbUO" and y.dtype != np.longdouble else list(y),
    "tuple": tuple,
    "Series": lambda y: pd.Series(y if y.dtype.isnative else y.astype(y.dtype.newbyteorder("="))),
    "Categorical": lambda y: pd.Series(list(y)).astype("category") if y.dtype not in _NO_INDEX else y,
    "Index": lambda y: pd.Index(list(y)) if y.dtype not in _NO_INDEX else y,
    "nullable": lambda y: pd.Series(list(y)).convert_dtypes() if y.dtype.kind in "ibUO" else y,
    "nullable array": lambda y: pd.array(list(y), dtype="Int64") if y.dtype.kind == "i" else y,
    "Arrow": lambda y: pd.Series(list(y)).convert_dtypes(dtype_backend="pyarrow") if y.dtype.kind in "ibUO" else y,
    "polars": lambda y: pl.Series(y.tolist()) if y.dtype.kind in "ibUOM" else y,
    "tensor": _as_tensor,
    "list of tensors": lambda y: list(_as_tensor(y)),
    "column": lambda y: y[:, None],
}
