"""A name for a fit: the same for the same data and parameters, in every process."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .._version import __version__
from ..files.description import Describer, digest_of
from ..rows.rows import DatasetRows
from .problem import Problem

__all__ = ["fingerprint"]

# what has no influence on the result, or is told by the data as they were checked
_LEFT_OUT = ("checkpoint", "verbose", "device", "random_state")
_CALLER_OF_FIT = 5  # as a stacklevel: past fingerprint, _open_checkpoint, fit and scikit-learn's decorator


def fingerprint(
    params: Mapping[str, Any],
    seed: int | None,
    problem: Problem,
    groups: Any,
    n_processes: int = 1,
) -> str:
    """Give 32 hexadecimal digits.

    Not seen, so that a change of it finds the fit from before: what code reads while it runs (files, the environment,
    what a path of a Dataset leads to), the inside of C extensions, and code of installed packages whose version stays.

    Parameters
    ----------
    params : mapping
        The estimator's parameters. Networks are known by their weights, attributes and code, functions and classes by
        their bytecode and all that it reaches (defaults, closures, globals, base classes), other objects by class and
        attributes; code of installed packages by name and version. Of skorch's callbacks, attributes that end in "_"
        are left out: use leaves them. Of a second witness, which is cloned, the parameters count.
    seed : int or None
        None for a fit that draws a fresh one: it goes on with the one that was drawn.
    problem : Problem
        The checked data. A Dataset is known by class, attributes, length and shape.
    groups : array-like or None
        As given to `fit`.
    n_processes : int, default=1
        That train together: each draws in its own way, so that another number of them begins anew.

    Warns
    -----
    UserWarning
        Where something was reached whose inside cannot be seen: an open file, say, or code of an extension.
    """
    describer = Describer()
    described = {name: _describe(describer, name, value) for name, value in params.items() if name not in _LEFT_OUT}
    facts = {"params": described, "seed": seed, "version": __version__, "device": problem.device.type}
    facts["processes"] = n_processes
    if isinstance(problem.rows, DatasetRows):
        facts["dataset"] = describer.describe(problem.rows.dataset)
    if describer.unseen:
        _warn_of(sorted(describer.unseen))
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    rows = problem.rows.fingerprints()
    shape = (type(problem.rows).__name__, len(problem.rows), problem.input_kind)
    digest.update(repr(shape).encode() if rows is None else repr(shape).encode() + rows.tobytes())
    digest.update(digest_of(problem.codes).encode())
    digest.update(json.dumps([str(problem.classes.dtype), problem.classes.tolist()], default=repr).encode())
    if problem.sample_weight is not None:
        digest.update(digest_of(problem.sample_weight.cpu().numpy()).encode())
    if len(problem.checks.rows):
        digest.update(digest_of(np.stack(problem.checks)).encode())
    if groups is not None:
        digest.update(digest_of(pd.factorize(np.asarray(groups).ravel(), use_na_sentinel=False)[0]).encode())
    return digest.hexdigest()


def _describe(describer: Describer, name: str, value: Any) -> Any:
    if isinstance(value, dict):  # keywords, in any order
        return describer.namespace({str(key): item for key, item in value.items()})
    if name == "witness" and hasattr(value, "get_params") and not isinstance(value, type):
        return [describer.describe(type(value)), describer.namespace(value.get_params(deep=False))]
    return describer.describe(value)


def _warn_of(unseen: list[str]) -> None:
    warnings.warn(
        f"`checkpoint`: a change inside of {', '.join(unseen[:5])} cannot be seen, so that a fit after it would go on "
        "with the state from before. Name another folder then.",
        UserWarning,
        stacklevel=_CALLER_OF_FIT + 1,
    )
