"""Tables in files: read so that nothing is lost, turned into numbers, and written back with other labels.

A new kind of file is a class with the methods of `CsvTable` and a line in `read_table`.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from ._files import write_atomically
from ._validation import import_extra

__all__ = ["CsvTable", "Features", "ParquetTable", "Table", "choose_features", "labels_of", "read_table"]

_DELIMITERS = ",;\t|"
_MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")  # in a feature; a label may well be called so
_FEWEST_TO_JUDGE = 20  # rows, below which values that all differ say nothing
_DATE = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b")
_WORDS_IN_TEXT = 3  # on average, from which on a column of strings is text
_TEXT_COMPONENTS = 100


class Table(Protocol):
    """A table read from a file."""

    path: Path
    columns: list[str]

    def __len__(self) -> int: ...

    def values(self, column: str) -> list[Any]:
        """Give a column as it is, None where a value is missing."""

    def frame(self) -> pd.DataFrame:
        """Give all columns for use as features: numbers as numbers, missing values as such."""

    def write(self, path: Path, new_columns: dict[str, Sequence[Any]]) -> None:
        """Write the table with some columns replaced or, at the end, added; None is a missing value."""


class CsvTable:
    """A table of text, each cell kept as it was written."""

    def __init__(self, path: Path):
        self.path = path
        content = path.read_bytes()
        self._encoding = "utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else "utf-8"
        text = _decode(content, self._encoding, path)
        header = text.partition("\n")[0]
        self._line_end = "\r\n" if header.endswith("\r") else "\n"
        self._delimiter = max(_DELIMITERS, key=header.count)
        self.columns, self._rows = _parse(text, self._delimiter, path)

    def __len__(self) -> int:
        return len(self._rows)

    def values(self, column: str) -> list[Any]:
        """Give the cells of a column, None where there is nothing but space."""
        i = self.columns.index(column)
        return [row[i] if row[i].strip() else None for row in self._rows]

    def frame(self) -> pd.DataFrame:
        """Give all columns, as numbers where all cells are numbers or missing."""
        cells = zip(*self._rows, strict=True)
        return pd.DataFrame({name: _typed(column) for name, column in zip(self.columns, cells, strict=True)})

    def write(self, path: Path, new_columns: dict[str, Sequence[Any]]) -> None:
        """Write the table as it was read, with some columns replaced or added."""
        cells = dict(zip(self.columns, zip(*self._rows, strict=True), strict=True))
        for name, values in new_columns.items():
            cells[name] = tuple("" if value is None else str(value) for value in values)
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self._delimiter, lineterminator=self._line_end)
        writer.writerow(cells)
        writer.writerows(zip(*cells.values(), strict=True))
        write_atomically(path, text.getvalue().encode(self._encoding))


class ParquetTable:
    """A table of a Parquet file; types, order and metadata stay."""

    def __init__(self, path: Path):
        self.path = path
        parquet = import_extra("pyarrow.parquet", "tables")
        try:
            self._table = parquet.read_table(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} is no Parquet file that can be read: {error}") from error
        self.columns = self._table.column_names
        _check_columns(self.columns, path)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def values(self, column: str) -> list[Any]:
        """Give a column as Python objects, None where a value is missing."""
        values: list[Any] = self._table.column(column).to_pylist()
        return [None if _is_missing(value) else value for value in values]

    def frame(self) -> pd.DataFrame:
        """Give all columns; an index of pandas is no feature."""
        frame: pd.DataFrame = self._table.to_pandas(ignore_metadata=True)
        return frame.drop(columns=[name for name in frame.columns if name.startswith("__index_level_")])

    def write(self, path: Path, new_columns: dict[str, Sequence[Any]]) -> None:
        """Write the table with some columns replaced, of their own type, or added."""
        pyarrow, parquet = import_extra("pyarrow", "tables"), import_extra("pyarrow.parquet", "tables")
        table = self._table
        for name, values in new_columns.items():
            if name in self.columns:
                old = table.schema.field(name)
                table = table.set_column(self.columns.index(name), old, _like(pyarrow, values, table.column(name)))
            else:
                table = table.append_column(name, pyarrow.array(list(values)))
        content = io.BytesIO()
        parquet.write_table(table, content)
        write_atomically(path, content.getvalue())


class Features(NamedTuple):
    """What a table's columns are used for."""

    vectorizer: Any  # to be fitted to the frame; gives numbers without gaps
    used: list[str]
    left_out: dict[str, str]  # column and reason


def read_table(path: Path) -> Table:
    """Read a file by its ending.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    ValueError
        If its kind is not known, or it cannot be read; with the row, where there is one.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, or is no file.")
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return CsvTable(path)
    if path.suffix.lower() in (".parquet", ".pq"):
        return ParquetTable(path)
    raise ValueError(f"{path} must end in .csv, .tsv, .txt, .parquet or .pq, or be a folder of images.")


def labels_of(table: Table, column: str) -> list[Any]:
    """Give the labels of a column, None where there is none.

    Raises
    ------
    ValueError
        If the column is not there, is empty, or cannot be one of labels.
    """
    if column not in table.columns:
        close = difflib.get_close_matches(column, table.columns, n=1)
        hint = f" Is it {close[0]!r}?" if close else ""
        raise ValueError(f"{table.path} has no column {column!r}.{hint} It has {', '.join(map(repr, table.columns))}.")
    labels = table.values(column)
    given = [label for label in labels if label is not None]
    counts = pd.Series(given, dtype=object).value_counts()
    if len(counts) < 2:
        raise ValueError(
            f"{table.path}: column {column!r} must hold at least 2 different labels, got {list(counts.index)}."
        )
    if counts.median() < 2:
        raise ValueError(
            f"{table.path}: column {column!r} holds {len(counts):,} different values in {len(given):,} rows, most of "
            "them once. That is no column of labels."
        )
    return labels


def choose_features(frame: pd.DataFrame, drop: Iterable[str], keep: Iterable[str] = ()) -> Features:
    """Say which columns are features, and how they become numbers.

    Parameters
    ----------
    frame : DataFrame
        All columns.
    drop : iterable of str
        Columns to leave out: that of the labels, say.
    keep : iterable of str, default=()
        Columns to use although they look like identifiers.

    Raises
    ------
    ValueError
        If no column is left.
    """
    skrub, drop, keep = import_extra("skrub", "tables"), set(drop), set(keep)
    candidates: list[str] = [name for name in frame.columns if name not in drop]
    left_out = {name: "no value at all" for name in candidates if frame[name].isna().all()}
    for name in candidates:
        if name not in keep and _looks_like_identifier(frame[name]):
            left_out[name] = "different in every row, like an identifier"
    used = [name for name in candidates if name not in left_out]
    if not used:
        reasons = "; ".join(f"{name!r} ({why})" for name, why in left_out.items())
        raise ValueError(f"No column is left to learn from. Left out: {reasons or 'those that were to be dropped'}.")
    text = [name for name in used if _looks_like_text(frame[name])]
    words = skrub.StringEncoder(n_components=_TEXT_COMPONENTS, analyzer="word", ngram_range=(1, 1), random_state=0)
    codes = skrub.StringEncoder(random_state=0)
    vectorizer = skrub.TableVectorizer(high_cardinality=codes, specific_transformers=[(words, text)] if text else ())
    return Features(make_pipeline(vectorizer, SimpleImputer(keep_empty_features=True)), used, left_out)


def as_numbers(features: Features, frame: pd.DataFrame) -> NDArray[np.float32]:
    """Give the features as numbers, shape (n_rows, n_features)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The matrix shape is")  # few words need fewer components
        numbers = features.vectorizer.fit_transform(frame[features.used])
    return np.ascontiguousarray(numbers, dtype=np.float32)


def _decode(content: bytes, encoding: str, path: Path) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path} is not UTF-8 in line {row}: {error.reason}. Save it as UTF-8.") from error


def _parse(text: str, delimiter: str, path: Path) -> tuple[list[str], list[list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = next(reader, None)
        if not columns:
            raise ValueError(f"{path} is empty. Its first row must hold the names of the columns.")
        _check_columns(columns, path)
        rows = []
        for row in reader:
            if row and len(row) != len(columns):
                raise ValueError(
                    f"{path}, line {reader.line_num}: {len(row)} cells, but there are {len(columns)} columns. "
                    "Is a delimiter in a cell not in quotes?"
                )
            rows += [row] if row else [[""]] * (len(columns) == 1)  # an empty line is a row of one column's table only
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}.") from error
    if not rows:
        raise ValueError(f"{path} has no rows below the names of the columns.")
    return columns, rows


def _check_columns(columns: Sequence[str], path: Path) -> None:
    twice = sorted({name for name in columns if list(columns).count(name) > 1})
    if twice:
        raise ValueError(f"{path} has columns of one name: {', '.join(map(repr, twice))}. Rename all but one.")


def _typed(cells: Sequence[str]) -> Any:
    values = pd.Series(cells, dtype=object)
    values = values.mask(values.isin(_MISSING))
    try:
        return pd.to_numeric(values)
    except (TypeError, ValueError):
        return values


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, float) and np.isnan(value))
        or (isinstance(value, str) and not value.strip())
    )


def _like(pyarrow: Any, values: Sequence[Any], old: Any) -> Any:
    """Make a column of the type of another; of categories it keeps those that do not occur, too."""
    if not pyarrow.types.is_dictionary(old.type):
        return pyarrow.array(list(values), old.type)
    categories = old.unify_dictionaries().chunk(0).dictionary.to_pylist() if old.num_chunks else []
    categories += [value for value in dict.fromkeys(values) if value is not None and value not in categories]
    codes = [None if value is None else categories.index(value) for value in values]
    return pyarrow.DictionaryArray.from_arrays(
        pyarrow.array(codes, old.type.index_type),
        pyarrow.array(categories, old.type.value_type),
        ordered=old.type.ordered,
    )


def _looks_like_identifier(column: pd.Series) -> bool:
    values = column.dropna()
    if len(values) < _FEWEST_TO_JUDGE or pd.api.types.is_datetime64_any_dtype(values):
        return False
    if pd.api.types.is_bool_dtype(values) or not values.is_unique:
        return False
    if pd.api.types.is_numeric_dtype(values):
        return bool((values == values.round()).all())
    return not _looks_like_text(values) and not _looks_like_dates(values)


def _looks_like_text(column: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return False
    values = column.dropna()
    if isinstance(column.dtype, pd.CategoricalDtype) or not all(isinstance(value, str) for value in values.head(1000)):
        return False
    few = values.nunique() < min(len(values) / 10, 100)  # a handful of phrases are categories
    words = np.mean([len(value.split()) for value in values.head(1000)])
    return bool(not few and words >= _WORDS_IN_TEXT)


def _looks_like_dates(values: pd.Series) -> bool:
    return all(isinstance(value, str) and _DATE.match(value) for value in values.head(100))
