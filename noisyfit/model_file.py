"""A fitted estimator as a file that holds data and nothing else, and back.

A file never says which code to run. Parameters that are code (a network of one's own, a function, an object) are noted
by name only, for people; whoever loads the file passes them again.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from . import networks
from ._validation import check_choice
from .algorithm.parameters import PRECISIONS, NetSettings
from .algorithm.successors import refuse_removed
from .files.index import describe_index, index_from
from .files.states import (
    UNFIT,
    can_pack,
    check_count,
    check_like,
    check_numbers,
    outline,
    read_state,
    write_state,
)
from .files.whole import check_may_write
from .judgement.decision import ExpectedGain, judgement_from
from .judgement.settling import NOTHING_JUDGED, describe_inquiry, inquiry_from, published
from .machine.devices import resolve_device, use_bfloat16
from .machine.random_state import isolated_rng
from .nets.ensembles import NetworkList, StackedNetworks, can_stack
from .nets.net import JointNet, build_net, keep_for_prediction
from .networks import bare_network_factory
from .report import TrainingLabels, check_labels, check_size_of_labels
from .rows.rows import InputKind

__all__ = ["describe_fit", "load_model", "restore_fit", "restore_result", "save_model"]

_ARRAYS = ("class_prior_", "soft_labels_", "transition_matrix_")
# fitted attributes that a file holds as they are, by their names in it
_AS_THEY_ARE = {
    "classes": "classes_",
    "refused": "correction_refused_",
    "expected_gain": "expected_gain_",
    "noise_rate": "noise_rate_",
    "noise_rate_interval": "noise_rate_interval_",
    "n_iter": "n_iter_",
    "n_features_in": "n_features_in_",
    "feature_names_in": "feature_names_in_",
}
_OPTIMIZERS = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer)
}
_OUR_NETWORKS = {kind.__name__: kind for kind in (networks.MLP, networks.SmallResNet, networks.PreActResNet32)}
_KNOWN: dict[str, Callable[[Any], Any]] = {
    "torch.optim": _OPTIMIZERS.__getitem__,
    "noisyfit.networks": _OUR_NETWORKS.__getitem__,
    "device": torch.device,
}
_ENSEMBLES: dict[str, Callable[[list[nn.Module]], nn.Module]] = {"list": NetworkList, "stacked": StackedNetworks}
# parameters of 0.1.0, as its files describe them where nothing else was asked for, that are in `net_params` now
_MOVED_TO_NET_PARAMS = {
    "optimizer": ("torch.optim", "SGD"),
    "max_grad_norm": ("value", 1.0),
    "precision": ("value", "auto"),
    "retrain_lr": ("value", None),
    "prior_momentum": ("value", 0.0),
}
_STAYS_BEHIND = ("checkpoint",)  # a file does not say where to write
_DTYPES = {str(dtype).removeprefix("torch.") for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}
_LARGEST_ROW = 1 << 24  # numbers
_CALLER_OF_LOAD = 4  # as a stacklevel: past _params_from, load_model and load


def save_model(clf: Any, path: Any) -> None:
    """Write a fitted estimator to a file; see `JointOptimizationClassifier.save`."""
    path = Path(path)
    check_may_write(path, overwrite=True, remedy="")
    params = {name: _describe_param(name, value) for name, value in clf.get_params(deep=False).items()}
    fit = describe_fit(clf) | {"index": describe_index(clf._training_labels_.index)}
    check_size_of_labels(fit["classes"], len(fit["given"]))  # as `load` will
    write_state(path, "model", {"params": params, "fit": fit})


def load_model(kind: type, path: Any, module: Any, overrides: dict[str, Any]) -> Any:
    """Read an estimator of a class from a file; see `JointOptimizationClassifier.load`."""
    refuse_removed(overrides)
    path = Path(path)
    state = read_state(path, "model")
    given = overrides if module is None else {"module": module, **overrides}
    try:
        clf = kind(**_params_from(_in_todays_names(state["params"]), given, kind))
        restore_fit(clf, state["fit"], index_from(state["fit"]["index"], len(state["fit"]["given"])))
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    except UNFIT as error:
        told = f"{type(error).__name__}: {error}"[:200]
        raise ValueError(f"{path} is damaged: its parts do not fit each other ({told}).") from error
    return clf


def describe_fit(clf: Any) -> dict[str, Any]:
    """Give all that `fit` has set but for the index of the rows, as a state."""
    labels, inquiry = clf._training_labels_, clf._inquiry_
    judged = None if inquiry is None else inquiry.judgement  # what was settled follows from it and the checks
    ended = vars(clf) if judged is None else vars(clf) | published(judged, labels.given, clf.classes_)
    return {name: ended.get(attribute) for name, attribute in _AS_THEY_ARE.items()} | {
        "network": _describe_network(clf.net_),
        "input": tuple(clf._input_kind_),
        "arrays": {name: np.asarray(ended[name]) for name in _ARRAYS},
        "given": labels.given,
        "corrected": labels.corrected if judged is None else judged.corrected,
        "changes": labels.changes,
        "history": {name: column.to_numpy() for name, column in clf.history_.items()},
        "bearings": None if judged is None else judged.bearings,
        "grounds": None if judged is None else judged.grounds,
        "inquiry": None if inquiry is None else describe_inquiry(inquiry),
    }


def restore_result(clf: Any, fit: dict[str, Any], problem: Any) -> None:
    """Set what a finished fit of the same data has left, on an estimator that has checked them.

    The fingerprint knows rows and labels, but not by which names: what the caller has said is taken from the caller.
    """
    said = {
        "classes": problem.classes,
        "given": problem.codes,
        "input": tuple(problem.input_kind),
        "n_features_in": clf.n_features_in_,
        "feature_names_in": getattr(clf, "feature_names_in_", None),
    }
    checks = {"groups": problem.groups, "checks": problem.checks, "at_fit": problem.checks, "margin": clf.margin}
    inquiry = fit["inquiry"] if fit["inquiry"] is None else {**fit["inquiry"], **checks}
    restore_fit(clf, {**fit, **said, "inquiry": inquiry}, problem.row_index)


def restore_fit(clf: Any, fit: dict[str, Any], index: pd.Index | None) -> None:
    """Set what `describe_fit` gave on an estimator with the same parameters.

    Raises a ValueError, or any of `UNFIT`, where the parts of a state do not fit each other.
    """
    classes, given, corrected = fit["classes"], fit["given"], fit["corrected"]
    kind = _input_kind_from(fit["input"])
    _check_fit(fit)
    # files of 0.1.0 hold labels that were not judged
    inquiry, gain = fit.get("inquiry"), fit.get("expected_gain")
    attributes = {
        **NOTHING_JUDGED,
        **{attribute: fit.get(name) for name, attribute in _AS_THEY_ARE.items()},
        **{name: fit["arrays"][name] for name in _ARRAYS},
        "corrected_labels_": classes[corrected],
        "correction_refused_": _reason_in(fit),
        "expected_gain_": None if gain is None else ExpectedGain(*gain),
        "history_": pd.DataFrame(fit["history"]),
        "net_": _restore_net(clf, fit["network"], kind, len(classes)),
        "_input_kind_": kind,
        "_training_labels_": TrainingLabels(given, corrected, index, fit["changes"]),
    }
    if attributes["feature_names_in_"] is None:
        del attributes["feature_names_in_"]
    clf.__dict__.update(attributes)
    if inquiry is None and fit.get("bearings") is not None:
        raise TypeError("written between two releases; fit again")
    if inquiry is not None:
        judged = fit["arrays"]["soft_labels_"], corrected, fit["noise_rate_interval"], gain, fit["refused"]
        parts = (*judged, fit["arrays"]["transition_matrix_"], fit["bearings"], fit["grounds"])
        judgement = judgement_from(parts, len(given), len(classes))
        assert judgement is not None
        clf._take(inquiry_from(given, judgement, inquiry))


def _input_kind_from(kept: Any) -> InputKind:
    shape, dtype, of_bytes = kept
    for size in shape:
        check_count("a size of the inputs", size, low=1)
    if dtype not in _DTYPES or not isinstance(of_bytes, bool):
        raise ValueError(f"the inputs must be numbers of torch, got {outline(dtype)}")
    return InputKind(tuple(shape), dtype, of_bytes)


def _check_fit(fit: dict[str, Any]) -> None:
    """Raise a ValueError where the arrays do not fit each other."""
    check_labels(fit["classes"], fit["given"])
    n_classes, n_rows = len(fit["classes"]), len(fit["given"])
    check_numbers("the corrected labels", fit["corrected"], "i", [n_rows], 0, n_classes - 1)
    shapes = {"soft_labels_": [n_rows, n_classes], "class_prior_": [n_classes]}
    for name in _ARRAYS:
        check_numbers(name, fit["arrays"][name], "f", shapes.get(name, [n_classes, n_classes]))
    for count in (fit["n_iter"], fit["n_features_in"], fit["network"]["batch_size"], fit["network"]["n_networks"]):
        check_count("a count", count, low=1)
    check_like("the noise rate", fit["noise_rate"], math.nan)
    for name, size in (("expected_gain", 3), ("noise_rate_interval", 2)):
        if fit.get(name) is not None:
            check_like(name, tuple(fit[name]), (math.nan,) * size)
    for rows, new in fit["changes"] or []:
        check_numbers("rows with a new label", rows, "i", [None], 0, n_rows - 1)
        check_numbers("their new labels", new, "i", rows.shape, 0, n_classes - 1)
    columns = {name: column.shape for name, column in fit["history"].items()}
    if len(set(columns.values())) != 1 or any(column.dtype.kind not in "if" for column in fit["history"].values()):
        raise ValueError(f"the history must be columns of numbers of one length, got shapes {columns}")
    names = fit["feature_names_in"]
    if names is not None:
        check_numbers("names of the features", names, names.dtype.kind, [fit["n_features_in"]])
        if not all(isinstance(name, str) for name in names.tolist()):
            raise ValueError("names of the features must be texts")


def _reason_in(fit: dict[str, Any]) -> str | None:
    reason: str | None = fit["refused"] if "refused" in fit else fit["evidence"][3]
    if not isinstance(reason, str | None):
        raise ValueError(f"the reason for keeping labels must be a text or None, got {type(reason).__name__}")
    return reason


# parameters


def _describe_param(name_of_param: str, value: Any) -> tuple[str, Any]:
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
    if isinstance(value, dict) and name_of_param == "net_params":
        return "settings", {setting: _describe_param(setting, part) for setting, part in value.items()}
    named = value if name else type(value)
    return "code", f"{named.__module__}.{getattr(named, '__qualname__', name)}"


def _params_from(described: dict[str, Any], given: dict[str, Any], kind: Any) -> dict[str, Any]:
    """Give the constructor's keywords; raise for a network that must be passed, warn of lesser things left out."""
    unknown = sorted((described.keys() | given.keys()) - set(kind._get_param_names()))
    if unknown:
        raise ValueError(f"The parameters {unknown} are not known to {kind.__name__} of this version of noisyfit.")
    wanted = {name: value for name, value in described.items() if name not in given and name not in _STAYS_BEHIND}
    values, left_out = _values_from(wanted)
    params = values | given
    for name in ("module_params", "net_params"):
        settings = params.get(name) or {}
        if not isinstance(settings, dict) or not all(isinstance(setting, str) for setting in settings):
            raise TypeError(f"{name} of {type(settings).__name__}")
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


def _values_from(described: dict[str, Any], told: str = "{}") -> tuple[dict[str, Any], dict[str, str]]:
    """Give the values of what is data, and the names of what was code; `told` says how messages name each."""
    values, left_out = {}, {}
    for name, (what, value) in described.items():
        if what == "code":
            left_out[told.format(name)] = str(value)
        elif what == "settings":
            values[name], lost = _values_from(value, told.format(name) + "['{}']")
            left_out |= lost
        else:
            values[name] = value if what == "value" else _KNOWN[what](value)
    return values, left_out


def _in_todays_names(described: dict[str, Any]) -> dict[str, Any]:
    """Translate the parameters of a file of 0.1.0, as they are described; those of later files stay as they are."""
    if "optimizer_params" not in described:
        return described
    described = {name: value for name, value in described.items() if name not in ("label_store", "checkpoint_every")}
    moved = {name: tuple(described.pop(name)) for name in _MOVED_TO_NET_PARAMS}
    settings = {name: value for name, value in moved.items() if value != _MOVED_TO_NET_PARAMS[name]}
    for name, prefix in (("optimizer_params", "optimizer__"), ("net_params", "")):
        what, value = described.pop(name)
        if what == "code":
            settings[f"{prefix}..."] = what, value
        elif value is not None:
            settings |= {f"{prefix}{key}": ("value", part) for key, part in value.items()}
    described["net_params"] = ("settings", settings) if settings else ("value", None)
    if described["gamma"] == ("value", "auto"):
        described["gamma"] = "value", "damped"
    if described["begin"] == ("value", 1.0) and isinstance(described["begin"][1], float):  # then a share of the epochs
        described["begin"] = described["max_epochs"]
    return described


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
    device, precision = _device_at_hand(clf.device), NetSettings.of(clf.net_params).precision
    if precision is not None:
        check_choice("net_params['precision']", precision, PRECISIONS)
    net = build_net(
        _restore_module(clf, network, kind, n_classes),
        device=device,
        bfloat16=use_bfloat16(precision, device, kind.shape),
        augment=None,
        sparse=network["takes_sparse"],
        optimizer=torch.optim.SGD,
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
    make = bare_network_factory(clf.module, clf.module_params, kind.shape, n_classes)
    ours = clf.module is None or isinstance(clf.module, str) or clf.module in _OUR_NETWORKS.values()
    if ours:  # sizes are the file's word: no memory is taken before they are known to be those of its weights
        _check_lengths(clf.module_params or {}, len(weights))
        with torch.device("meta"):  # where nothing is drawn
            _check_weights(network, make().float())  # whatever the default dtype is
            module = _combine(network, lambda: make().float())
    else:
        with isolated_rng(0, torch.device("cpu")):  # a network is initialised, then its weights are replaced
            if not isinstance(clf.module, nn.Module):
                _check_on_meta(network, make, kind)
            _check_weights(network, _materialized(make(), kind))
            module = _combine(network, lambda: _materialized(make(), kind))
    module.load_state_dict(weights, assign=ours)
    return module


def _check_lengths(params: dict[str, Any], n_weights: int) -> None:
    """Raise a ValueError for more layers than there are weights of."""
    for name, value in params.items():
        if hasattr(value, "__len__") and len(value) > n_weights:
            raise ValueError(f"`module_params[{name!r}]` has {len(value):,} entries, for {n_weights:,} weights")


def _check_on_meta(network: dict[str, Any], make: Callable[[], Any], kind: InputKind) -> None:
    """Check the sizes of a network of one's own without taking memory, if it can be made so."""
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        try:
            module = _materialized(make(), kind)
        except Exception:  # whatever the network's own code raises, which may not know of such a device
            return
    _check_weights(network, module)


def _combine(network: dict[str, Any], make: Any) -> nn.Module:
    n = network["n_networks"]
    if network["kind"] == "one":
        return make()
    return _ENSEMBLES[network["kind"]]([make() for _ in range(n)])


def _materialized(module: nn.Module, kind: InputKind) -> nn.Module:
    """Let lazy layers find their sizes."""
    if any(torch.nn.parameter.is_lazy(weight) for weight in module.state_dict().values()):
        if math.prod(kind.shape) > _LARGEST_ROW:
            raise ValueError(f"rows of shape {kind.shape} are too large for a network that finds its sizes by one")
        module.eval()
        with torch.no_grad():
            module(torch.zeros(2, *kind.shape, dtype=getattr(torch, kind.dtype)))
    return module


def _check_weights(network: dict[str, Any], one: nn.Module) -> None:
    """Raise a ValueError unless the weights are those of so many networks; `one` is the make of each."""
    weights = network["weights"]
    expected, got = _expected_outline(network, one), _weights_outline(weights)
    for name in sorted(expected.keys() | got.keys()):
        if expected.get(name) != got.get(name):
            raise ValueError(
                f"`module` must be the network that was saved: {name!r} is {expected.get(name, 'missing')} in the "
                f"network, {got.get(name, 'missing')} in the file. Pass the same `module` and `module_params`."
            )


def _expected_outline(network: dict[str, Any], one: nn.Module) -> dict[str, str]:
    kind, n, weights = network["kind"], network["n_networks"], network["weights"]
    of_one = _weights_outline(one.state_dict())
    if kind == "one" and n == 1:
        return of_one
    if kind == "list" and n <= len(weights):
        return {f"networks.{i}.{name}": told for i in range(n) for name, told in of_one.items()}
    if kind == "stacked" and can_stack(one):
        small, large = (StackedNetworks([one] * k).state_dict() for k in (1, 2))
        return _weights_outline(
            {
                name: weight if weight.shape == small[name].shape else weight[:1].expand(n, *weight.shape[1:])
                for name, weight in large.items()
            }
        )
    raise TypeError(f"{outline(n)} networks, {outline(kind)}")


def _weights_outline(state: dict[str, Any]) -> dict[str, str]:
    return {
        name: f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else "an extra state"
        for name, value in state.items()
    }
