"""A fit's checked data: what its three blocks are made from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from ..judgement.folds import assign_folds, hardly_seen, spread_groups
from ..judgement.settling import NO_CHECKS, Checks
from ..judgement.witness import SecondWitness, choose_witness
from ..machine.devices import resolve_device
from ..review.checks import read_checks_of_fit
from ..rows.inputs import check_inputs
from ..rows.rows import InputKind, Rows, as_rows
from ..rows.targets import check_groups, check_weight, labels_to_numpy
from .parameters import loader_params, resolve_class_prior

__all__ = ["Problem", "check_problem", "encode_given"]

_HELD_OUT = 10  # one in so many rows, where one network looks for the epoch to begin at


class Problem(NamedTuple):
    """Rows, labels and what belongs to them; tensors lie on the device."""

    rows: Rows
    codes: NDArray[np.int64]
    classes: NDArray[Any]
    class_prior: Tensor
    sample_weight: Tensor | None
    folds: Tensor | None  # the network that leaves out each row; None for one network
    held_out: Tensor | None  # bool: rows that the network does not see before `begin`; None for none
    checks: Checks  # rows whose true labels are known
    groups: NDArray[np.int64] | None
    row_index: pd.Index | None
    input_kind: InputKind
    device: torch.device
    witness: SecondWitness | None  # None where there is none, or no network leaves rows out

    @property
    def learned(self) -> NDArray[np.int64]:
        """Class numbers to learn: those given, but of checked rows the true ones."""
        return _with_true(self.codes, self.checks)

    @property
    def n_networks(self) -> int:
        """Networks side by side."""
        return 1 if self.folds is None else int(self.folds.max()) + 1

    def beyond_judgement(self) -> NDArray[np.bool_]:
        """Mark the rows that no network can judge, since those that leave them out have hardly seen their class."""
        assert self.folds is not None
        learned = self.learned == self.codes
        if self.sample_weight is not None:
            learned &= self.sample_weight.cpu().numpy() > 0
        return hardly_seen(self.codes, self.folds.cpu().numpy(), len(self.classes), learned)


def check_problem(estimator: Any, X: Any, y: Any, sample_weight: Any, groups: Any, checked: Any, seed: int) -> Problem:
    """Check the data of a fit, and encode the labels; sets scikit-learn's attributes of X on the estimator."""
    device = resolve_device(estimator.device)
    if isinstance(y, str):  # the name by which scikit-learn's checks leave out y is one, too
        raise ValueError(f"`y` must have one label a row, shape (n_samples,), got {y!r}. Pass a list of labels.")
    X_checked, y_checked = check_inputs(estimator, X, y)
    classes, codes = _encode(y_checked)
    weight = None if sample_weight is None else check_weight(sample_weight, X_checked)
    index = _index_of(y, X)
    checks = NO_CHECKS if checked is None else read_checks_of_fit(checked, codes, classes, index)
    learned = _with_true(codes, checks)
    _check_enough_classes(classes, learned, weight)
    prior = resolve_class_prior(estimator.class_prior, codes, len(classes), weight)
    loader = loader_params(estimator.net_params, "iterator_train")
    if estimator.checkpoint is not None:  # workers that outlive an epoch have random states that cannot be resumed
        loader.setdefault("persistent_workers", False)
    rows = as_rows(X_checked, device, loader, seed)
    by_group = None if groups is None else check_groups(groups, codes)
    cross_fits = estimator.cross_fit >= 2
    # rows without weight are dealt out last, so that each network has its share of the others
    strata = learned if weight is None else np.where(weight > 0, learned, len(classes))
    model, n_deals, n_rounds = choose_witness(estimator.witness, X_checked, len(classes))
    asks = cross_fits and estimator.gamma != 0 and model is not None
    n_deals = n_deals if asks else 1
    deals = _deals(rows, strata, by_group, estimator.cross_fit, seed, weight, n_deals) if cross_fits else []
    held_out = None
    if estimator.begin == "auto" and not deals:
        apart = _deals(rows, strata, by_group, _HELD_OUT, seed, weight)
        held_out = torch.from_numpy(apart[0] == 0) if apart else None
    return Problem(
        rows=rows,
        codes=codes,
        classes=classes,
        class_prior=torch.from_numpy(prior).float().to(device),
        sample_weight=None if weight is None else torch.from_numpy(weight).to(device),
        folds=torch.from_numpy(deals[0]).to(device) if deals else None,
        held_out=held_out,
        checks=checks,
        groups=by_group,
        row_index=index,
        input_kind=InputKind.of(rows, X_checked),
        device=device,
        witness=SecondWitness(model, X_checked, learned, len(classes), deals, weight, seed, n_rounds)
        if asks and deals
        else None,
    )


def _with_true(codes: NDArray[np.int64], checks: Checks) -> NDArray[np.int64]:
    rows, labels = checks.answered()
    learned = codes.copy() if len(rows) else codes
    learned[rows] = labels
    return learned


def encode_given(y: Any, classes: NDArray[Any]) -> NDArray[np.int64]:
    """Give the class numbers of labels that must be among the classes of a fit."""
    y = column_or_1d(labels_to_numpy(y))
    unknown = ~np.isin(y, classes)
    if unknown.any():
        raise ValueError(
            f"`y` must hold labels of the fit, {classes.tolist()[:10]}; got {y[unknown].tolist()[0]!r} in row "
            f"{unknown.argmax()}."
        )
    return np.searchsorted(classes, y).astype(np.int64)


def _deals(
    rows: Rows,
    strata: NDArray[np.int64],
    groups: NDArray[Any] | None,
    n_folds: int,
    seed: int,
    weight: NDArray[Any] | None,
    n_deals: int = 1,
) -> list[NDArray[np.int64]]:
    """Deal out the rows to folds so many times, groups or else equal rows together, such that two have some weight.

    Nothing where the first deal is not such.
    """
    deal = assign_folds if groups is None else spread_groups
    units = _equal_rows(rows, strata, n_folds) if groups is None else groups
    random_state = np.random.RandomState(seed)
    deals = [deal(strata, units, n_folds, random_state) for _ in range(n_deals)]
    usable = [len(np.unique(folds if weight is None else folds[weight > 0])) > 1 for folds in deals]
    return [folds for folds, fits in zip(deals, usable, strict=True) if fits] if usable[0] else []


def _equal_rows(rows: Rows, strata: NDArray[np.int64], n_folds: int) -> NDArray[Any]:
    """Number the rows, equal ones alike, but for those that make up more than a fold of their class.

    Left out together, those would leave a network without the class; one label among so many tells it little.
    """
    numbers = np.arange(len(rows))
    fingerprints = rows.fingerprints()
    if fingerprints is None:
        return numbers
    _, units, sizes = np.unique(fingerprints, return_inverse=True, return_counts=True)
    too_many = sizes[units] > np.bincount(strata)[strata] / n_folds
    return np.where(too_many & (sizes[units] > 1), len(rows) + numbers, units)


def _encode(y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Give the distinct labels, sorted, and the class number of each sample."""
    try:
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
    except TypeError as error:
        if "not supported between" not in str(error):
            raise
        raise TypeError(f"`y` must hold labels of one kind that can be sorted: {error}. Make them strings.") from error
    return classes, codes.astype(np.int64)


def _check_enough_classes(classes: NDArray[Any], codes: NDArray[np.int64], weight: NDArray[Any] | None) -> None:
    left = classes[np.unique(codes if weight is None else codes[weight > 0])]
    if len(left) < 2:
        with_weight = "" if weight is None else " with a `sample_weight` above 0"
        got = f"one class only, {left.tolist()[0]!r}" if len(left) else "no class at all"
        raise ValueError(f"`y` must have at least 2 classes{with_weight}, got {got}. Check the labels.")


def _index_of(y: Any, X: Any) -> pd.Index | None:
    """Give the index of y or else of X; raise where both hold the same rows in another order."""
    both = all(isinstance(data, (pd.Series, pd.DataFrame)) for data in (y, X))
    if both and _are_reordered(y.index, X.index):
        raise ValueError(
            "`X` and `y` have the same index in another order, but are matched row by row. Pass y.loc[X.index]."
        )
    for data in (y, X):
        if isinstance(data, (pd.Series, pd.DataFrame)):
            return data.index
    return None


def _are_reordered(one: pd.Index, other: pd.Index) -> bool:
    """Whether two indexes hold the same keys in another order; keys need not be of kinds that can be sorted."""
    if len(one) != len(other) or one.equals(other):
        return False
    try:
        numbers, _ = one.append(other).factorize(use_na_sentinel=False)
    except TypeError:  # keys that cannot be hashed are told apart by nobody
        return False
    return np.array_equal(np.sort(numbers[: len(one)]), np.sort(numbers[len(one) :]))
