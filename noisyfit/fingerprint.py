"""A name for a fit: the same for the same data and parameters, in every process."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .problem import Problem

__all__ = ["fingerprint"]

# what has no influence on the result, or is told by the data as they were checked
_LEFT_OUT = ("checkpoint", "checkpoint_every", "verbose", "label_store", "device", "random_state")
_DEEPEST = 20


def fingerprint(
    params: Mapping[str, Any], seed: int | None, problem: Problem, groups: Any, n_processes: int = 1
) -> str:
    """Give 32 hexadecimal digits.

    Parameters
    ----------
    params : mapping
        The estimator's parameters. Networks are known by their weights, functions by their code, other objects by
        class and attributes.
    seed : int or None
        None for a fit that draws a fresh one: it goes on with the one that was drawn.
    problem : Problem
        The checked data. A Dataset is known by its class, length and shape only.
    groups : array-like or None
        As given to `fit`.
    n_processes : int, default=1
        That train together: each draws in its own way, so that another number of them begins anew.
    """
    from . import __version__  # another version may train differently; here, since the package imports this module

    described = {name: _describe(value) for name, value in params.items() if name not in _LEFT_OUT}
    facts = {"params": described, "seed": seed, "version": __version__, "device": problem.device.type}
    facts["processes"] = n_processes
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    rows = problem.rows.fingerprints()
    shape = (type(problem.rows).__name__, len(problem.rows), problem.input_kind)
    digest.update(repr(shape).encode() if rows is None else repr(shape).encode() + rows.tobytes())
    digest.update(_digest_of(problem.codes).encode())
    digest.update(json.dumps([str(problem.classes.dtype), problem.classes.tolist()], default=repr).encode())
    if problem.sample_weight is not None:
        digest.update(_digest_of(problem.sample_weight.cpu().numpy()).encode())
    if len(problem.checks.rows):
        digest.update(_digest_of(np.stack(problem.checks)).encode())
    if groups is not None:
        digest.update(_digest_of(pd.factorize(np.asarray(groups).ravel(), use_na_sentinel=False)[0]).encode())
    return digest.hexdigest()


def _describe(value: Any, depth: int = 0) -> Any:
    """Turn a parameter into what JSON can say."""
    if depth > _DEEPEST:
        return "..."
    inner = functools.partial(_describe, depth=depth + 1)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [inner(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): inner(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(json.dumps(inner(item)) for item in value)
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy() if value.numel() else str(value)
        return inner(value)
    if isinstance(value, np.ndarray):
        return _digest_of(value)
    if isinstance(value, nn.Module):
        return [_name(type(value)), str(value), inner(value.state_dict())]
    return _describe_code(value, inner)


def _describe_code(value: Any, inner: Any) -> Any:
    if isinstance(value, functools.partial):
        return [inner(value.func), inner(value.args), inner(value.keywords)]
    if isinstance(value, types.MethodType):
        return [inner(value.__func__), inner(value.__self__)]
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return [_name(value), inner(value.__code__), inner(value.__defaults__), inner(cells)]
    if isinstance(value, types.CodeType):
        return [value.co_code.hex(), inner(value.co_consts), list(value.co_names)]
    if inspect.isclass(value) or not hasattr(value, "__dict__"):
        return _name(value if inspect.isclass(value) else type(value))
    settings = {name: item for name, item in vars(value).items() if not name.endswith("_")}  # not what use has left
    return [_name(type(value)), inner(settings)]


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _digest_of(array: np.ndarray) -> str:
    content = repr(array.tolist()).encode() if array.dtype == object else np.ascontiguousarray(array).tobytes()
    return f"{array.dtype} {array.shape} {hashlib.blake2b(content, digest_size=16).hexdigest()}"
