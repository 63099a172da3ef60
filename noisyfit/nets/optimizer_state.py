"""The state of an optimizer and of its learning rate schedules, put back after a look at whether it fits.

Fused kernels take it on trust that what an optimizer keeps for a weight has the weight's shape, dtype and layout, and
write past its end where it has not. What this fit's own optimizer keeps is therefore found out first, by a step
without gradients, and what a file brings is copied into the like of it.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..files.states import check_like, is_number

__all__ = ["load_optimizer", "load_schedule"]

_SHARES = 1.0  # settings that are at most that stay so


def load_optimizer(optimizer: Optimizer, state: dict[str, Any], module: nn.Module) -> None:
    """Put back what `optimizer.state_dict()` gave; the weights change and are to be put back after it.

    Parameters
    ----------
    optimizer : Optimizer
        That of this fit, before its first step.
    state : dict
        From a file.
    module : torch.nn.Module
        The network whose weights it is about.

    Raises
    ------
    ValueError
        If the state is none of such an optimizer.
    """
    of_torch = type(optimizer) in vars(torch.optim).values()
    fitting = {} if of_torch else dict(state)  # others may keep more, and know themselves what to do with it
    made_with = optimizer.state_dict()["state"].keys()  # some keep something from the beginning
    own, kept = optimizer.state_dict()["param_groups"], state["param_groups"]
    if not isinstance(kept, list) or len(kept) != len(own):
        raise ValueError(f"the optimizer has {len(own)} groups of weights, others than in the state")
    groups = [_settings_from(*pair, of_torch) for pair in zip(own, kept, strict=True)]
    optimizer.load_state_dict({**fitting, "state": {}, "param_groups": groups})
    if not isinstance(state["state"], dict) or not made_with <= state["state"].keys():
        raise ValueError("the optimizer keeps something for each weight, the state does not")
    if state["state"]:
        usual = _usual_state(optimizer, module)
        fitted = {weight: _adopted(weight, kept, usual, of_torch) for weight, kept in state["state"].items()}
        if type(optimizer) is torch.optim.SGD:  # its kernel takes momentum of all weights or of none
            fitted = {weight: _zeros_like(kept) for weight, kept in usual.items()} | fitted
        optimizer.load_state_dict({**fitting, "state": fitted, "param_groups": groups})


def load_schedule(schedule: Any, state: dict[str, Any]) -> None:
    """Put back what a torch scheduler's `state_dict()` gave; raise a ValueError for that of another one."""
    if type(schedule) not in vars(torch.optim.lr_scheduler).values():
        schedule.load_state_dict(state)  # it knows itself what its state means
        return
    own = schedule.state_dict()
    check_like("the schedule's state", state, _with_any_rates(own))
    schedule.load_state_dict(_changing(schedule, state, own))


def _changing(schedule: Any, state: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Take from a file what the steps of one of torch's schedules change; the rest says how it was made."""
    made_with = inspect.signature(type(schedule)).parameters.keys() - {"last_epoch"}
    taken = {name: state[name] for name, value in own.items() if name not in made_with and _is_numbers(value)}
    inner = getattr(schedule, "_schedulers", None)
    if inner is not None:
        parts = zip(inner, state["_schedulers"], own["_schedulers"], strict=True)
        taken["_schedulers"] = [_changing(*part) for part in parts]
    return {**own, **taken}


def _with_any_rates(own: Any) -> Any:
    """Give a schedule's state in which rates are 0, so that others may be 0 or more."""
    if isinstance(own, dict):
        return {
            name: [0.0] * len(value) if name == "_last_lr" else _with_any_rates(value) for name, value in own.items()
        }
    return [_with_any_rates(item) for item in own] if isinstance(own, list) else own


def _is_numbers(value: Any) -> bool:
    return is_number(value) or (isinstance(value, list) and all(map(is_number, value)))


def _settings_from(own: dict[str, Any], kept: dict[str, Any], of_torch: bool) -> dict[str, Any]:
    """Take from a file the numbers among a group's settings, which schedules and callbacks may have changed."""
    settings = dict(own)
    for name, value in own.items():
        if name == "params" or not (is_number(value) or isinstance(value, (tuple, Tensor))):
            continue  # which weights, and flags that say which kernel
        if of_torch:
            _check_setting(f"the optimizer's {name}", kept[name], value, name.endswith("lr"))
        elif type(kept[name]) is not type(value):
            check_like(f"the optimizer's {name}", kept[name], value)
        settings[name] = kept[name]
    return settings


def _check_setting(what: str, value: Any, own: Any, is_rate: bool) -> None:
    if isinstance(own, tuple):
        check_like(what, value, tuple(0.0 if is_number(one) and one >= 0 else one for one in own))
        for one, other in zip(value, own, strict=True):
            if is_number(other) and other < _SHARES <= one:  # they count back from 1 in denominators
                raise ValueError(f"{what} must be below 1, got {one:g}")
    elif isinstance(own, Tensor):
        check_like(what, value, own)
    else:
        check_like(what, value, 0.0 if own >= 0 else own)
        if 0 <= own <= _SHARES < value and not is_rate:
            raise ValueError(f"{what} must be at most 1, got {value:g}")


def _usual_state(optimizer: Optimizer, module: nn.Module) -> dict[Any, dict[str, Any]]:
    """Give what the optimizer keeps for each weight after a step without gradients."""
    gives_sparse = {id(layer.weight) for layer in module.modules() if getattr(layer, "sparse", False)}
    weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.requires_grad]
    for weight in weights:
        zeros = torch.zeros_like(weight)
        weight.grad = zeros.to_sparse() if id(weight) in gives_sparse else zeros
    optimizer.step()
    for weight in weights:
        weight.grad = None
    return optimizer.state_dict()["state"]


def _adopted(weight: Any, kept: Any, usual: dict[Any, dict[str, Any]], of_torch: bool) -> Any:
    """Give what a file keeps for a weight, in the layout of what the optimizer keeps for it."""
    if not of_torch:  # it knows itself what its numbers mean
        own = usual.get(weight, {})
        return _laid_out_like(own, kept) if isinstance(kept, dict) else kept
    if weight not in usual or not isinstance(kept, dict):
        raise ValueError(f"the optimizer keeps nothing for a weight {str(weight)[:40]!r}")
    own, what = usual[weight], f"what the optimizer keeps for weight {weight}"
    check_like(what, kept, own)
    for name, value in own.items():
        if isinstance(value, Tensor) and value.ndim == 0:
            _check_single(f"{what}, {name},", float(kept[name]), float(value))
    return _laid_out_like(own, kept)


def _laid_out_like(own: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    """Copy tensors into the like of those that the optimizer keeps under their names; leave the rest as it is."""
    laid_out = dict(kept)
    for name, value in own.items():
        other = kept.get(name)
        if isinstance(value, Tensor) and isinstance(other, Tensor) and value.shape == other.shape:
            laid_out[name] = torch.empty_like(value, dtype=other.dtype).copy_(other)
    return laid_out


def _zeros_like(kept: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.zeros_like(value) if isinstance(value, Tensor) else value for name, value in kept.items()}


def _check_single(what: str, value: float, own: float) -> None:
    """Check a count of steps, or a product of shares."""
    check_like(what, value, own)
    if 0 < own < _SHARES < value:
        raise ValueError(f"{what} must be at most 1, got {value:g}")
