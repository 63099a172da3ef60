"""Tables in files: read so that nothing is lost, turned into numbers, and written back with other labels.

A new kind of file is a class with the methods of `CsvTable` and a line in `read_table`.
"""

from __future__ import annotations

import codecs
import decimal
import difflib
import io
import math
import numbers
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from .._validation import import_extra
from ..files.delimited import DelimitedText, find_delimiter, read_lines

__all__ = [
    "CsvTable",
    "Features",
    "ParquetTable",
    "Table",
    "as_numbers",
    "check_ending",
    "check_named",
    "check_values",
    "choose_features",
    "labels_of",
    "read_table",
    "write_csv",
]

_TEXT, _PARQUET = (".csv", ".tsv", ".txt"), (".parquet", ".pq")  # endings
_MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")  # in a feature; a label may well be called so
_FEWEST_TO_JUDGE = 20  # rows, below which values that all differ say nothing
_DATE = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b")
_WORDS_IN_TEXT = 3  # on average, from which on a column of strings is text
_TEXT_COMPONENTS = 100
_LARGEST = float(np.finfo(np.float32).max)


class Table(Protocol):
    """A table read from a file."""

    path: Path
    columns: list[str]

    def __len__(self) -> int: ...

    def values(self, column: str) -> list[Any]:
        """Give a column as it is, None where a value is missing."""

    def frame(self) -> pd.DataFrame:
        """Give all columns for use as features: numbers as numbers, missing values as such."""

    def place(self, row: int) -> str:
        """Say where in the file a row is, for messages."""

    def write(self, path: Path, new_columns: dict[str, Sequence[Any]], safe_cells: bool = False) -> str:
        """Write the table with some columns replaced or, at the end, added; None is a missing value.

        Give a warning of cells that a spreadsheet may run as formulas, "" where there are none; with `safe_cells`
        such cells become text.
        """


class CsvTable:
    """A table of text; a cell that is not changed stays as it stands, and so do quotes, line ends and blank lines."""

    def __init__(self, path: Path, delimiter: str | None = None):
        self.path = path
        text, self._encoding = _decode(path.read_bytes(), path)
        delimiter = delimiter or find_delimiter(text)
        try:
            self._text = DelimitedText(read_lines(text, delimiter), delimiter)
        except ValueError as error:
            raise ValueError(f"{path}, {error} --delimiter names another delimiter.") from error
        self.columns = self._text.columns
        _check_columns(self.columns, path)
        if not self._text.rows:
            raise ValueError(f"{path} has no rows below the names of the columns.")

    def __len__(self) -> int:
        return len(self._text.rows)

    def values(self, column: str) -> list[Any]:
        """Give what the cells of a column say, None where there is nothing but space."""
        return [value if value.strip() else None for value in self._text.values(column)]

    def frame(self) -> pd.DataFrame:
        """Give all columns, as numbers where all cells are numbers or missing."""
        return pd.DataFrame({name: _typed(self._text.values(name)) for name in self.columns})

    def place(self, row: int) -> str:
        """Give the line in which a row begins."""
        return f"line {self._text.rows[row].number}"

    def write(self, path: Path, new_columns: dict[str, Sequence[Any]], safe_cells: bool = False) -> str:
        """Write the table as it was read, with some columns replaced or added."""
        return _write_text(path, self._text.with_columns(new_columns), self._encoding, safe_cells)


class ParquetTable:
    """A table of a Parquet file; types, order and metadata stay."""

    def __init__(self, path: Path):
        self.path = path
        pyarrow, parquet = import_extra("pyarrow", "tables"), import_extra("pyarrow.parquet", "tables")
        try:
            self._table = parquet.read_table(path)
            self._table.validate(full=True)  # that texts are UTF-8
        except (OSError, ValueError, pyarrow.ArrowException) as error:
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

    def place(self, row: int) -> str:
        """Give the number of a row."""
        return f"row {row}, counted from 0"

    def write(self, path: Path, new_columns: dict[str, Sequence[Any]], safe_cells: bool = False) -> str:
        """Write the table with some columns replaced, of their own type, or added; spreadsheets do not read it."""
        pyarrow, parquet = import_extra("pyarrow", "tables"), import_extra("pyarrow.parquet", "tables")
        table = self._table
        for name, values in new_columns.items():
            try:
                if name in self.columns:
                    old = table.schema.field(name)
                    table = table.set_column(self.columns.index(name), old, _like(pyarrow, values, table.column(name)))
                else:
                    table = table.append_column(name, pyarrow.array(list(values)))
            except (ValueError, TypeError, OverflowError, pyarrow.ArrowException) as error:
                raise ValueError(f"{self.path}: column {name!r} cannot hold a new value: {error}") from error
        content = io.BytesIO()
        parquet.write_table(table, content)
        path.write_bytes(content.getvalue())
        return ""


class Features(NamedTuple):
    """What a table's columns are used for."""

    vectorizer: Any  # to be fitted to the frame; gives numbers without gaps
    used: list[str]
    left_out: dict[str, str]  # column and reason


def read_table(path: Path, delimiter: str | None = None) -> Table:
    """Read a file by its ending; None finds out the delimiter of a text.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    ValueError
        If its kind is not known, or it cannot be read; with the row, where there is one.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, or is no file.")
    if path.suffix.lower() in _TEXT:
        return CsvTable(path, delimiter)
    if path.suffix.lower() in _PARQUET:
        return ParquetTable(path)
    raise ValueError(f"{path} must end in .csv, .tsv, .txt, .parquet or .pq, or be a folder of images.")


def write_csv(path: Path, columns: dict[str, Sequence[Any]], safe_cells: bool = False) -> str:
    """Write columns as a CSV file; give a warning of formulas, as `Table.write` does."""
    return _write_text(path, DelimitedText.of(columns), "utf-8", safe_cells)


def check_named(table: Table, columns: Iterable[str]) -> None:
    """Raise a ValueError unless the table has the columns."""
    for column in columns:
        if column not in table.columns:
            close = difflib.get_close_matches(column, table.columns, n=1)
            hint = f" Is it {close[0]!r}?" if close else ""
            raise ValueError(f"{table.path} has no column {column!r}.{hint} It has {_some(table.columns)}.")


def check_ending(path: Path, source: Path) -> None:
    """Raise a ValueError where a file's ending is that of another kind than is written: that of the source."""
    kinds = [_TEXT, _PARQUET]
    ending = path.suffix.lower()
    if ending in kinds[source.suffix.lower() not in _PARQUET]:
        raise ValueError(f"{path} must not end in {ending}: it is written in the kind in which {source} is read.")


def labels_of(table: Table, column: str) -> list[Any]:
    """Give the labels of a column, None where there is none.

    Raises
    ------
    ValueError
        If the column is not there, is empty, or cannot be one of labels.
    """
    check_named(table, [column])
    labels = table.values(column)
    for row, label in enumerate(labels):
        if label is not None and (wrong := _wrong_in_label(label)):
            raise ValueError(f"{table.path}, {table.place(row)}: column {column!r} holds {label!r:.200}, {wrong}")
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


def check_values(table: Table, frame: pd.DataFrame) -> None:
    """Raise a ValueError that names column and row for a value that cannot be learned from."""
    for name in frame.columns:
        wrong = _cannot_be_learned(frame[name])
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"{table.path}, {table.place(row)}: column {name!r} holds {table.values(name)[row]!r:.200}. Numbers "
                "must be finite and fit 32 bits, and lists cannot be learned from. Mend it, or leave the column out: "
                "--drop."
            )


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


def _write_text(path: Path, text: DelimitedText, encoding: str, safe_cells: bool) -> str:
    text = text.without_formulas() if safe_cells else text
    try:
        path.write_bytes(str(text).encode(encoding))
    except UnicodeEncodeError as error:
        found = error.object[error.start : error.end]
        raise ValueError(f"A label holds {found!r}, half a character that no file in UTF-8 can hold.") from error
    formulas = text.formulas()
    if not formulas:
        return ""
    line, column, value = formulas[0]
    return (
        f"{len(formulas):,} cells that a spreadsheet may run as formulas, the first {value!r:.80} in column "
        f"{column!r}, line {line}; --safe-cells makes text of them, for people who open it in one"
    )


def _decode(content: bytes, path: Path) -> tuple[str, str]:
    """Give text and encoding."""
    encoding = "utf-8-sig" if content.startswith(codecs.BOM_UTF8) else "utf-8"
    without_bom = any(content[first:8:2] == bytes(4) for first in (0, 1))
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or without_bom:
        raise ValueError(f"{path} is not UTF-8 but UTF-16, it seems. Save it as UTF-8.")
    try:
        return content.decode(encoding), encoding
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path} is not UTF-8 in line {line}, byte {content[error.start]:#04x}: {error.reason}. Save it as UTF-8; "
            "it may be Windows-1252 or Latin-1."
        ) from error


def _check_columns(columns: Sequence[str], path: Path) -> None:
    twice = sorted(name for name, times in Counter(columns).items() if times > 1)
    if twice:
        raise ValueError(f"{path} has columns of one name: {_some(twice)}. Rename all but one.")


def _some(names: Sequence[str]) -> str:
    """Name columns, of very many the first."""
    more = f" and {len(names) - 30:,} more" if len(names) > 30 else ""
    return ", ".join(map(repr, names[:30])) + more


def _wrong_in_label(label: Any) -> str:
    """Say what keeps a value from being a label."""
    if not isinstance(label, (str, bool, int, float)):
        return f"of type {type(label).__name__}. Labels must be text, numbers, or true and false: write it as text."
    if isinstance(label, str) and "\0" in label:
        return "with a NUL character. Remove it."
    if isinstance(label, float) and math.isinf(label):
        return "which is no number. Write it as text."
    return ""


def _cannot_be_learned(column: pd.Series[Any]) -> NDArray[np.bool_]:
    """Say which values of a column are lists, or numbers that are too large."""
    if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype.kind not in "Of":
        return np.zeros(len(column), bool)
    if column.dtype.kind == "f":
        return np.abs(column.to_numpy(np.float64, na_value=np.nan)) > _LARGEST
    return np.fromiter(map(_is_list_or_too_large, column), bool, len(column))


def _is_list_or_too_large(value: Any) -> bool:
    is_number = isinstance(value, (numbers.Real, decimal.Decimal))
    return bool(abs(value) > _LARGEST) if is_number else not isinstance(value, str) and pd.api.types.is_list_like(value)


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
