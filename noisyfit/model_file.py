"""A fitted estimator as a file that holds data and nothing else, and back.

A file never says which code to run. Parameters that are code (a network of one's own, a function, an object) are noted
by name only, for people; whoever loads the file passes them again.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from . import networks
from ._files import check_may_write
from .data import InputKind
from .decision import ExpectedGain, judgement_from
from .devices import resolve_device, use_bfloat16
from .ensembles import NetworkList, StackedNetworks
from .networks import bare_network_factory
from .report import TrainingLabels
from .settling import NOTHING_JUDGED, describe_inquiry, inquiry_from, published
from .state_files import can_pack, read_state, write_state
from .training import JointNet, build_net, isolated_rng, keep_for_prediction

__all__ = ["describe_fit", "load_model", "restore_fit", "save_model"]

_ARRAYS = ("class_prior_", "soft_labels_", "transition_matrix_")
_OPTIMIZERS = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer)
}
_OUR_NETWORKS = {kind.__name__: kind for kind in (networks.MLP, networks.SmallResNet, networks.PreActResNet32)}
_ENSEMBLES: dict[str, Callable[[list[nn.Module]], nn.Module]] = {"list": NetworkList, "stacked": StackedNetworks}
_STAYS_BEHIND = ("checkpoint",)  # a file does not say where to write
_CALLER_OF_LOAD = 4  # as a stacklevel: past _params_from, load_model and load


def save_model(clf: Any, path: Any) -> None:
    """Write a fitted estimator to a file; see `JointOptimizationClassifier.save`."""
    path = Path(path)
    check_may_write(path, overwrite=True, remedy="")
    params = {name: _describe_param(value) for name, value in clf.get_params(deep=False).items()}
    write_state(path, "model", {"params": params, "fit": describe_fit(clf)})


def load_model(kind: type, path: Any, module: Any, overrides: dict[str, Any]) -> Any:
    """Read an estimator of a class from a file; see `JointOptimizationClassifier.load`."""
    path = Path(path)
    state = read_state(path, "model")
    given = overrides if module is None else {"module": module, **overrides}
    try:
        clf = kind(**_params_from(state["params"], given, kind))
        restore_fit(clf, state["fit"])
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, RuntimeError) as error:
        raise _inconsistent(path, error) from error
    return clf


def describe_fit(clf: Any) -> dict[str, Any]:
    """Give all that `fit` has set, as a state."""
    labels, inquiry = clf._training_labels_, clf._inquiry_
    judged = None if inquiry is None else inquiry.judgement  # what was settled follows from it and the checks
    ended = vars(clf) if judged is None else vars(clf) | published(judged, labels.given, clf.classes_)
    return {
        "network": _describe_network(clf.net_),
        "input": tuple(clf._input_kind_),
        "arrays": {name: np.asarray(ended[name]) for name in _ARRAYS},
        "classes": clf.classes_,
        "given": labels.given,
        "corrected": labels.corrected if judged is None else judged.corrected,
        "changes": labels.changes,
        "index": _describe_index(labels.index),
        "history": {name: column.to_numpy() for name, column in clf.history_.items()},
        "refused": ended["correction_refused_"],
        "expected_gain": ended["expected_gain_"],
        "noise_rate": ended["noise_rate_"],
        "noise_rate_interval": ended["noise_rate_interval_"],
        "bearings": None if judged is None else judged.bearings,
        "grounds": None if judged is None else judged.grounds,
        "inquiry": None if inquiry is None else describe_inquiry(inquiry),
        "n_iter": clf.n_iter_,
        "n_features_in": clf.n_features_in_,
        "feature_names_in": getattr(clf, "feature_names_in_", None),
    }


def restore_fit(clf: Any, fit: dict[str, Any]) -> None:
    """Set what `describe_fit` gave on an estimator with the same parameters."""
    classes, given, corrected = fit["classes"], fit["given"], fit["corrected"]
    _check_sizes(fit)
    kind = InputKind(*fit["input"])
    # files of 0.1.0 hold labels that were not judged
    gain, interval, inquiry = map(fit.get, ("expected_gain", "noise_rate_interval", "inquiry"))
    attributes = {
        **NOTHING_JUDGED,
        **{name: fit["arrays"][name] for name in _ARRAYS},
        "classes_": classes,
        "corrected_labels_": classes[corrected],
        "correction_refused_": fit["refused"] if "refused" in fit else fit["evidence"][3],
        "expected_gain_": None if gain is None else ExpectedGain(*gain),
        "history_": pd.DataFrame(fit["history"]),
        "n_features_in_": fit["n_features_in"],
        "n_iter_": fit["n_iter"],
        "net_": _restore_net(clf, fit["network"], kind, len(classes)),
        "noise_rate_": fit["noise_rate"],
        "noise_rate_interval_": interval,
        "_input_kind_": kind,
        "_training_labels_": TrainingLabels(given, corrected, _index_from(fit["index"]), fit["changes"]),
    }
    names = fit["feature_names_in"]
    clf.__dict__.update(attributes if names is None else {**attributes, "feature_names_in_": names})
    if inquiry is None and fit.get("bearings") is not None:
        raise TypeError("written between two releases; fit again")
    if inquiry is not None:
        judged = fit["arrays"]["soft_labels_"], corrected, interval, gain, fit["refused"]
        parts = (*judged, fit["arrays"]["transition_matrix_"], fit["bearings"], fit["grounds"])
        judgement = judgement_from(parts)
        assert judgement is not None
        clf._take(inquiry_from(given, judgement, inquiry))


def _check_sizes(fit: dict[str, Any]) -> None:
    """Raise a TypeError where the arrays do not fit each other."""
    (n_classes,), (n_rows,) = fit["classes"].shape, fit["given"].shape
    counts = (fit["n_iter"], fit["n_features_in"], fit["network"]["batch_size"], fit["network"]["n_networks"])
    if any(type(count) is not int or count < 1 for count in counts):
        raise TypeError(f"counts that are {[type(count).__name__ for count in counts]}")
    shapes = {"soft_labels_": (n_rows, n_classes), "class_prior_": (n_classes,)}
    for name in _ARRAYS:
        array = fit["arrays"][name]
        if array.shape != shapes.get(name, (n_classes, n_classes)) or array.dtype.kind != "f":
            raise TypeError(f"{name} of shape {array.shape} for {n_rows} rows and {n_classes} classes")
    for name in ("given", "corrected"):
        codes = fit[name]
        if codes.shape != (n_rows,) or codes.dtype.kind != "i" or codes.min() < 0 or codes.max() >= n_classes:
            raise TypeError(f"{name} labels that are no class numbers")


def _inconsistent(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is damaged: its parts do not fit each other ({type(error).__name__}: {error}).")


# parameters


def _describe_param(value: Any) -> tuple[str, Any]:
    """Give a parameter's kind and what stands for it; code is noted by name."""
    name = getattr(value, "__name__", None)
    if inspect.isclass(value) and _OPTIMIZERS.get(str(name)) is value:
        return "torch.optim", name
    if inspect.isclass(value) and _OUR_NETWORKS.get(str(name)) is value:
        return "noisyfit.networks", name
    if isinstance(value, torch.device):
        return "device", str(value)
    if can_pack(value):
        return "value", value
    named = value if name else type(value)
    return "code", f"{named.__module__}.{getattr(named, '__qualname__', name)}"


def _params_from(described: dict[str, Any], given: dict[str, Any], kind: Any) -> dict[str, Any]:
    """Give the constructor's keywords; raise for a network that must be passed, warn of lesser things left out."""
    unknown = sorted((described.keys() | given.keys()) - set(kind._get_param_names()))
    if unknown:
        raise ValueError(f"The parameters {unknown} are not known to {kind.__name__} of this version of noisyfit.")
    known: dict[str, Callable[[Any], Any]] = {
        "torch.optim": _OPTIMIZERS.get,
        "noisyfit.networks": _OUR_NETWORKS.get,
        "device": torch.device,
    }
    params, left_out = dict(given), {}
    for name, (what, value) in described.items():
        if name in given or name in _STAYS_BEHIND:
            continue
        if what == "code":
            left_out[name] = str(value)
        else:
            params[name] = value if what == "value" else known[what](value)
    for name in ("module_params", "optimizer_params", "net_params"):
        if not isinstance(params.get(name), dict | None):
            raise TypeError(f"{name} of {type(params[name]).__name__}")
    for name in ("module", "module_params"):
        if name in left_out:
            raise ValueError(
                f"`{name}` must be passed to `load`, since the file holds no code: the estimator was saved with "
                f"{left_out[name]}."
            )
    if left_out:
        warnings.warn(
            f"The file holds no code, so these parameters are back at their defaults: {left_out}. They matter for "
            "another fit only; pass them to `load` to set them.",
            UserWarning,
            stacklevel=_CALLER_OF_LOAD,
        )
    return params


# the network


def _describe_network(net: JointNet) -> dict[str, Any]:
    module: Any = getattr(net.module_, "_orig_mod", net.module_)  # inside torch.compile's wrapper
    kind = next((name for name, of in _ENSEMBLES.items() if type(module) is of), "one")
    return {
        "kind": kind,
        "n_networks": 1 if kind == "one" else module.n_networks,
        "weights": dict(module.state_dict()),
        "takes_sparse": net.sparse,
        "batch_size": net.batch_size,
    }


def _restore_net(clf: Any, network: dict[str, Any], kind: InputKind, n_classes: int) -> JointNet:
    device = _device_at_hand(clf.device)
    net = build_net(
        _restore_module(clf, network, kind, n_classes),
        device=device,
        bfloat16=use_bfloat16(clf.precision, device, kind.shape),
        augment=None,
        sparse=network["takes_sparse"],
        optimizer=torch.optim.SGD,
        optimizer_params={},
        lr=1.0,
        batch_size=network["batch_size"],
        net_params={},
    )
    net.module_.eval()
    keep_for_prediction(net)
    return net


def _device_at_hand(device: Any) -> torch.device:
    """Give the device of the parameter, or the CPU on a machine without it."""
    try:
        return resolve_device(device)
    except ValueError:
        return torch.device("cpu")


def _restore_module(clf: Any, network: dict[str, Any], kind: InputKind, n_classes: int) -> nn.Module:
    weights = network["weights"]
    _check_number_of_networks(network)
    make = bare_network_factory(clf.module, clf.module_params, kind.shape, n_classes)
    ours = clf.module is None or isinstance(clf.module, str) or clf.module in _OUR_NETWORKS.values()
    if ours:  # sizes are the file's word: no memory is taken before they are known to be those of its weights
        with torch.device("meta"):  # where nothing is drawn
            module = _combine(network, make)
    else:
        with isolated_rng(0, torch.device("cpu")):  # a network is initialised, then its weights are replaced
            module = _combine(network, lambda: _materialized(make(), kind))
    _check_weights(module, weights)
    module.load_state_dict(weights, assign=ours)
    return module


def _check_number_of_networks(network: dict[str, Any]) -> None:
    """Raise a TypeError for more networks than there are weights of."""
    n, weights = network["n_networks"], network["weights"]
    known = {
        "one": n == 1,
        "list": any(name.startswith(f"networks.{n - 1}.") for name in weights),
        "stacked": any(len(weight) == n for weight in weights.values() if weight.ndim),
    }
    if not known[network["kind"]]:
        raise TypeError(f"{n} networks")


def _combine(network: dict[str, Any], make: Any) -> nn.Module:
    n = network["n_networks"]
    if network["kind"] == "one":
        return make()
    return _ENSEMBLES[network["kind"]]([make() for _ in range(n)])


def _materialized(module: nn.Module, kind: InputKind) -> nn.Module:
    """Let lazy layers find their sizes."""
    if any(torch.nn.parameter.is_lazy(weight) for weight in module.state_dict().values()):
        module.eval()
        with torch.no_grad():
            module(torch.zeros(2, *kind.shape, dtype=getattr(torch, kind.dtype)))
    return module


def _check_weights(module: nn.Module, weights: dict[str, Tensor]) -> None:
    expected, got = (_outline(state) for state in (module.state_dict(), weights))
    for name in sorted(expected.keys() | got.keys()):
        if expected.get(name) != got.get(name):
            raise ValueError(
                f"`module` must be the network that was saved: {name!r} is {expected.get(name, 'missing')} in the "
                f"network, {got.get(name, 'missing')} in the file. Pass the same `module` and `module_params`."
            )


def _outline(state: dict[str, Any]) -> dict[str, str]:
    return {
        name: f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else "an extra state"
        for name, value in state.items()
    }


# the index of the rows


def _describe_index(index: pd.Index | None) -> Any:
    """Give an index as a state; one of a kind that a file cannot hold gives way to row numbers."""
    if index is None:
        return None
    if isinstance(index, pd.RangeIndex):
        return "range", (index.start, index.stop, index.step), list(index.names)
    if isinstance(index, pd.MultiIndex):
        levels = [index.get_level_values(i) for i in range(index.nlevels)]
        return "levels", [_describe_index(level) for level in levels], list(index.names)
    zone = None
    if isinstance(index, pd.DatetimeIndex) and index.tz is not None:
        index, zone = index.tz_convert("UTC").tz_localize(None), str(index.tz)
    values = index.to_numpy()
    if not can_pack(values) or not can_pack(list(index.names)):
        warnings.warn(f"A file cannot hold an index of {index.dtype}: row numbers take its place.", stacklevel=5)
        return None
    return "values", (values, zone), list(index.names)


def _index_from(described: Any) -> pd.Index | None:
    return None if described is None else _known_index_from(*described)


def _known_index_from(kind: str, content: Any, names: list[Any]) -> pd.Index:
    if kind == "range":
        index: pd.Index = pd.RangeIndex(*content)
    elif kind == "levels":
        index = pd.MultiIndex.from_arrays([_known_index_from(*level) for level in content])
    else:
        values, zone = content
        index = pd.Index(values) if zone is None else pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(zone)
    return index.set_names(names)
