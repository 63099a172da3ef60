"""Rules for the estimator's parameters, checked before anything is trained."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import Hidden, Interval, StrOptions
from skorch.callbacks import BatchScoring, EarlyStopping, EpochScoring

from .._validation import check_choice, check_distribution, check_number
from ..exceptions import LabelCollapseWarning
from ..judgement.witness import check_witness
from .labels import LABEL_UPDATES

__all__ = [
    "CONSTRAINTS",
    "PRECISIONS",
    "NetSettings",
    "check_parameters",
    "loader_params",
    "resolve_batch_size",
    "resolve_class_prior",
]

PRECISIONS = ("float32", "bfloat16")
_AT_LEAST_0, _ABOVE_0 = Interval(Real, 0, None, closed="left"), Interval(Real, 0, None, closed="neither")
_COUNT, _COUNT_FROM_1 = Interval(Integral, 0, None, closed="left"), Interval(Integral, 1, None, closed="left")

# what each parameter may be, in the way of scikit-learn; `check_parameters` knows what takes more to tell
CONSTRAINTS: dict[str, Any] = {
    "module": "no_validation",  # `network_factory` says what is wrong with one
    "module_params": [dict, None],
    "alpha": [_AT_LEAST_0],
    "beta": [_AT_LEAST_0],
    "gamma": [_AT_LEAST_0, StrOptions({"damped"}), Hidden(StrOptions({"auto"}))],
    "class_prior": [StrOptions({"uniform", "given", "estimated"}), "array-like"],
    "label_update": [StrOptions(set(LABEL_UPDATES))],
    "n_relabel": [_COUNT_FROM_1, None],
    "begin": [_ABOVE_0, StrOptions({"auto"})],
    "window": [_ABOVE_0],
    "cross_fit": [_COUNT],
    "witness": "no_validation",  # `check_witness` does
    "margin": [Interval(Real, 0, 1, closed="both")],
    "max_epochs": [_COUNT_FROM_1],
    "lr": [_ABOVE_0],
    "batch_size": [_COUNT_FROM_1, StrOptions({"auto"})],
    "lr_schedule": [StrOptions({"constant", "decay", "one_cycle"})],
    "retrain_epochs": [_COUNT],
    "augment": [StrOptions({"crop_flip"}), callable, None],
    "device": "no_validation",  # `resolve_device` tries it
    "net_params": [dict, None],
    "checkpoint": [str, os.PathLike, None],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}

# what noisyfit itself passes to skorch, with the parameter to use instead
_OWN_NET_PARAMS = {
    "module": "module",
    "criterion": "alpha and beta",
    "lr": "lr",
    "optimizer__lr": "lr",
    "max_epochs": "max_epochs",
    "batch_size": "batch_size",
    "device": "device",
    "verbose": "verbose",
    "augment": "augment",
    "bfloat16": "net_params['precision']",
    "channels_last": None,
    "sparse": None,
    "train_split": None,
    "warm_start": None,
    "dataset": None,
    "iterator_train": None,
    "iterator_valid": None,
    "predict_nonlinearity": None,
}
_NO_VALIDATION = "there are no validation rows to score. Score after the fit, or in a callback of your own"
_REFUSED_CALLBACKS = {
    EarlyStopping: "it stops by KeyboardInterrupt, which ends the whole fit. Lower `max_epochs` instead",
    EpochScoring: _NO_VALIDATION,
    BatchScoring: _NO_VALIDATION,
}
_OWN_PREFIXES = ("module__", "criterion__", "dataset__")
_OWN_LOADER_PARAMS = {"batch_size", "shuffle", "sampler", "batch_sampler", "drop_last", "generator"}
_CALLER_OF_FIT = 5  # as a stacklevel: past check_parameters, fit and scikit-learn's decorator
_LOADERS = ("iterator_train__", "iterator_valid__")


@dataclass(frozen=True)
class NetSettings:
    """What `net_params` says: noisyfit's own settings, and the rest, which are skorch's."""

    optimizer: Any
    max_grad_norm: float | None  # None does not clip
    precision: str | None  # None: automatic
    retrain_lr: float | None  # None: `lr`
    prior_momentum: float  # in [0, 1): 0 compares the prior with each batch alone
    skorch: dict[str, Any]

    @classmethod
    def of(cls, net_params: dict[str, Any] | None) -> NetSettings:
        """Tell the settings apart, with the defaults of those that are left out."""
        rest = dict(net_params or {})
        return cls(
            optimizer=rest.pop("optimizer", torch.optim.SGD),
            max_grad_norm=rest.pop("max_grad_norm", 1.0),
            precision=rest.pop("precision", None),
            retrain_lr=rest.pop("retrain_lr", None),
            prior_momentum=rest.pop("prior_momentum", 0.0),
            skorch=rest,
        )


def check_parameters(params: dict[str, Any]) -> None:
    """Raise a TypeError or ValueError for the first rule that takes more than one parameter, or a remedy, to tell.

    Each parameter alone has been checked by `CONSTRAINTS`.
    """
    _refuse_bools(params)
    _check_objective(params["alpha"], params["beta"])
    _check_gamma(params["gamma"], params["cross_fit"])
    _check_begin(params["begin"], params["max_epochs"])
    _check_window(params["window"])
    _check_n_relabel(params["n_relabel"], params["label_update"])
    _check_net_params(params["net_params"] or {})
    check_witness(params["witness"])


def resolve_class_prior(
    class_prior: Any, codes: NDArray[np.int64], n_classes: int, sample_weight: NDArray[Any] | None
) -> NDArray[np.float64]:
    """Give p of shape (n_classes,), as it is at first. A class whose sample weights are all 0 leaves the prior."""
    frequencies = np.bincount(codes, weights=sample_weight, minlength=n_classes).astype(np.float64)
    if isinstance(class_prior, str):
        prior = np.ones(n_classes) if class_prior == "uniform" else frequencies
    else:
        prior = check_distribution("class_prior", class_prior, hint="Pass an array in the order of classes_.")
        if len(prior) != n_classes:
            raise ValueError(
                f"`class_prior` must have one entry per class of y, {n_classes} in the order of `classes_`; "
                f"got {len(prior)}."
            )
    prior = np.where(frequencies > 0, prior, 0.0)
    if prior.sum() <= 0:
        raise ValueError("`class_prior` must be above 0 for a class that occurs with a sample weight above 0.")
    return prior / prior.sum()


def resolve_batch_size(batch_size: Any, n_rows: int) -> int:
    """Give the rows a batch; "auto" makes an epoch of small data at least 16 batches, down to 16 rows each."""
    return int(np.clip(n_rows // 16, 16, 128)) if isinstance(batch_size, str) else int(batch_size)


def loader_params(net_params: dict[str, Any] | None, loader: str) -> dict[str, Any]:
    """Give the settings of skorch's `iterator_train` or `iterator_valid` among `net_params`."""
    prefix = f"{loader}__"
    return {name.removeprefix(prefix): value for name, value in (net_params or {}).items() if name.startswith(prefix)}


def _refuse_bools(params: dict[str, Any]) -> None:
    """Raise a TypeError for True and False, which are numbers to Python but none that anybody means."""
    for name, value in params.items():
        if isinstance(value, bool) and name != "verbose":
            raise TypeError(f"`{name}` must not be a bool, got {value}.")


def _check_objective(alpha: float, beta: float) -> None:
    if alpha == 0 and beta > 0:
        warnings.warn(
            f"alpha=0 with beta={beta:g}: nothing keeps the labels from all falling into one class. "
            "Raise `alpha`, or set `beta=0`.",
            LabelCollapseWarning,
            stacklevel=_CALLER_OF_FIT,
        )


def _check_gamma(gamma: float | str, cross_fit: int) -> None:
    if gamma == "auto":
        warnings.warn(
            "gamma='auto' is called 'damped' now, which is the same. Pass gamma='damped', or leave it out.",
            FutureWarning,
            stacklevel=_CALLER_OF_FIT,
        )
    if not isinstance(gamma, str) and gamma > 0 and cross_fit < 2:
        warnings.warn(
            f"gamma={gamma:g} with one network: where it has memorised a given label, its output and the label confirm "
            "each other. Set `gamma=0`, or `cross_fit=3`.",
            UserWarning,
            stacklevel=_CALLER_OF_FIT,
        )


def _check_begin(begin: float | str, max_epochs: int) -> None:
    if isinstance(begin, str):
        return
    if begin >= 1 and begin != int(begin):
        raise ValueError(f"`begin` must be a whole number of epochs, or a share of them below 1; got {begin!r}.")
    if begin > max_epochs:
        raise ValueError(
            f"`begin` must be at most `max_epochs`={max_epochs}, or labels are never updated; got {begin}. "
            "Lower it, or pass a share of the epochs such as 0.3."
        )
    if begin == 1 and not isinstance(begin, Integral) and max_epochs > 1:
        warnings.warn(
            f"begin={begin!r} is the first epoch now, as 1 is. Where the last one is meant, pass "
            f"begin={max_epochs}, which is `max_epochs`; otherwise begin=1.",
            UserWarning,
            stacklevel=_CALLER_OF_FIT,
        )


def _check_window(window: float) -> None:
    if window >= 1 and window != int(window):
        raise ValueError(
            f"`window` must be a whole number of epochs, or the decay of an exponential mean below 1; got {window!r}."
        )


def _check_n_relabel(n_relabel: int | None, label_update: str) -> None:
    if n_relabel is not None and label_update != "hard":
        raise ValueError(
            f"`n_relabel`={n_relabel} limits hard labels; set `label_update='hard'`, or leave `n_relabel` None."
        )


def _check_net_params(net_params: dict[str, Any]) -> None:
    for name in net_params:
        if not isinstance(name, str):
            raise TypeError(f"`net_params` must have strings as keys, got {name!r}.")
        if name in _OWN_NET_PARAMS:
            instead = _OWN_NET_PARAMS[name]
            remedy = f"Use the parameter {instead}." if instead else "noisyfit needs its own."
            raise ValueError(f"`net_params` must not set {name!r}. {remedy}")
        loader_param = next((name.removeprefix(p) for p in _LOADERS if name.startswith(p)), None)
        if name.startswith(_OWN_PREFIXES) or loader_param in _OWN_LOADER_PARAMS:
            raise ValueError(f"`net_params` must not set {name!r}: noisyfit sets it. Leave it out.")
    _check_net_settings(NetSettings.of(net_params))
    _check_callbacks(net_params.get("callbacks"))


def _check_net_settings(settings: NetSettings) -> None:
    optimizer = settings.optimizer
    if not callable(optimizer):
        raise TypeError(
            f"`net_params['optimizer']` must be a torch optimizer class such as torch.optim.Adam, got {optimizer!r}."
        )
    if optimizer is torch.optim.LBFGS:
        raise ValueError(
            "`net_params['optimizer']` must not need a closure, as LBFGS does. Pass torch.optim.SGD or Adam."
        )
    for name, meaning in {"max_grad_norm": "None does not clip.", "retrain_lr": "Leave it out to take `lr`."}.items():
        value = getattr(settings, name)
        if value is not None:
            check_number(f"net_params['{name}']", value, low=0, open_low=True, hint=meaning)
    check_number("net_params['prior_momentum']", settings.prior_momentum, low=0)
    if settings.prior_momentum >= 1:
        raise ValueError(
            f"`net_params['prior_momentum']` must be below 1, got {settings.prior_momentum!r}. Pass 0.9, say."
        )
    if settings.precision is not None:
        hint = "Leave it out for what is fast here."
        check_choice("net_params['precision']", settings.precision, PRECISIONS, hint=hint)


def _check_callbacks(callbacks: Any) -> None:
    if callbacks is None or callbacks == "disable":
        return
    if not isinstance(callbacks, (list, tuple)):
        raise TypeError(f"`net_params['callbacks']` must be a list, got {callbacks!r}.")
    for callback in callbacks:
        callback = callback[1] if isinstance(callback, tuple) else callback
        kind = callback if isinstance(callback, type) else type(callback)
        for refused, reason in _REFUSED_CALLBACKS.items():
            if issubclass(kind, refused):
                raise ValueError(f"`net_params['callbacks']` must not hold {kind.__name__}: {reason}.")
