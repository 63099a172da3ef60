"""Parameters that the estimator had once, and what takes their place."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import ParamSpec

__all__ = ["refuse_parts", "refuse_removed", "refusing_removed"]

P = ParamSpec("P")

_SUCCESSORS = {
    "optimizer": "pass net_params={'optimizer': ...}",
    "optimizer_params": "pass net_params={'optimizer__momentum': ...}",
    "max_grad_norm": "pass net_params={'max_grad_norm': ...}",
    "precision": "pass net_params={'precision': ...}, or leave it out for what 'auto' did",
    "retrain_lr": "pass net_params={'retrain_lr': ...}",
    "prior_momentum": "pass net_params={'prior_momentum': ...}",
    "label_store": "leave it out for what 'auto' did, which is chosen now",
    "checkpoint_every": "leave it out; a state is written as often as its size allows",
}


def refuse_removed(names: Iterable[str]) -> None:
    """Raise a TypeError that names the successor of the first parameter that is gone; leave others alone."""
    for name in names:
        if name in _SUCCESSORS:
            raise TypeError(f"`{name}` is no parameter any more: {_SUCCESSORS[name]}.")


def refuse_parts(names: Iterable[str]) -> None:
    """Raise a TypeError for parts of `net_params`, which are no parameters."""
    for name in names:
        if name.startswith("net_params__"):
            part = name.removeprefix("net_params__")
            raise TypeError(
                f"`{name}` is no parameter: pass `net_params` whole, net_params={{{part!r}: ...}}, to a search as a "
                "list of such dicts."
            )


def refusing_removed(init: Callable[P, None]) -> Callable[P, None]:
    """Let a constructor name the successors of keywords that are gone; its signature stays as it is."""

    @functools.wraps(init)
    def refusing(*args: P.args, **params: P.kwargs) -> None:
        refuse_removed(params)
        init(*args, **params)

    return refusing
