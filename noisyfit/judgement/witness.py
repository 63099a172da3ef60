"""The second witness: a model of another kind than networks, asked about the same rows that it has not seen either.

Networks and trees err differently. Where they agree against a given label it is more likely wrong, and where they
disagree with each other they show how little is known.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.utils.validation import has_fit_parameter
from torch.utils.data import Dataset

from ..machine.threads import n_cores, threads_beside, threads_for
from ..rows.storage import row_slices

__all__ = ["SecondWitness", "check_witness", "choose_witness"]

# rows are dealt out to folds several times: more folds, with fewer trees each, cost the same and let what is said of a
# row depend less on which rows happened to be left out with it
_TREES, _ROWS_A_LEAF, _DEALS = 200, 2, 10
_TREES_AT_A_TIME = _TREES // _DEALS
# rows learned, times classes, times trees: a tree keeps a number for each class in each node. Of all trees (time), and
# of those that are there at once (a quarter of a gigabyte); with fewer than the fewest trees there is no witness
_MOST_OF_ALL, _MOST_AT_A_TIME, _FEWEST_TREES = 1 << 29, 1 << 25, 8
_MOST_DEALT = (
    200_000  # rows, of all deals together: very many rows depend less on it, and may have to be read from a disk
)
_MOST_ROWS = 20_000  # that a fold's trees learn from, so that they take a third of the fit's time at most
_ROWS_AT_A_TIME = 4096  # to predict


def check_witness(witness: Any) -> None:
    """Raise unless `witness` is None, "auto" or a classifier that gives probabilities."""
    if witness is None or (isinstance(witness, str) and witness == "auto"):
        return
    if isinstance(witness, (str, type)) or not (hasattr(witness, "fit") and hasattr(witness, "predict_proba")):
        raise TypeError(
            "`witness` must be 'auto', None or a scikit-learn classifier with predict_proba, got "
            f"{witness!r}. Pass RandomForestClassifier(), say."
        )


class Choice(NamedTuple):
    """Which model to ask, and how often: rows are dealt out to folds `n_deals` times, and asked about `n_rounds`."""

    model: Any
    n_deals: int = 1
    n_rounds: int = 1


def choose_witness(witness: Any, X: Any, n_classes: int) -> Choice:
    """Give an unfitted classifier for checked inputs, or None, and how often to ask one like it.

    "auto" takes trees for tables, fewer for thousands of classes, and none for images.
    """
    if witness is None:
        return Choice(None)
    if not isinstance(witness, str):
        if isinstance(X, Dataset):
            raise ValueError(
                "`witness` must be 'auto' or None for a Dataset, whose rows only the networks read. Pass an array."
            )
        return Choice(clone(witness))
    if not (isinstance(X, np.ndarray) or sparse.issparse(X)) or X.ndim != 2:
        return Choice(None)
    of_a_tree = min(X.shape[0], _MOST_ROWS) * n_classes
    n_trees = min(_MOST_OF_ALL // of_a_tree, _TREES)
    if n_trees < _FEWEST_TREES:
        return Choice(None)
    at_a_time = min(max(_MOST_AT_A_TIME // of_a_tree, 1), _TREES_AT_A_TIME)
    n_rounds = n_trees // at_a_time
    n_deals = min(max(_MOST_DEALT // X.shape[0], 1), n_rounds)
    return Choice(ExtraTreesClassifier(at_a_time, min_samples_leaf=_ROWS_A_LEAF), n_deals, n_rounds)


@dataclass(frozen=True)
class SecondWitness:
    """A model that is fitted anew for each fold, and asked about the rows of it.

    Parameters
    ----------
    model : classifier
        Of scikit-learn's kind, with ``predict_proba``.
    X : ndarray or sparse matrix of shape (n_samples, n_features)
        Checked inputs.
    codes : ndarray of shape (n_samples,), int64
        Class numbers of the given labels.
    n_classes : int
        Number of classes.
    deals : sequence of ndarray of shape (n_samples,), int64
        Fold of each row; several times, so that what is said of a row is the mean over several neighbourhoods.
    sample_weight : ndarray of shape (n_samples,) or None
        Rows of weight 0 are not learned; others by their weight, where the model takes weights.
    seed : int
        Draws the rows to learn, where there are very many, and seeds models that have no seed.
    n_rounds : int or None, default=None
        How often each row is asked about, going round the deals; None: once a deal.
    """

    model: Any
    X: Any
    codes: NDArray[np.int64]
    n_classes: int
    deals: Sequence[NDArray[np.int64]]
    sample_weight: NDArray[np.float32] | None
    seed: int
    n_rounds: int | None = None

    def outputs(self) -> NDArray[np.float32]:
        """Give the probabilities (n_samples, n_classes) of rows that were not learned; 0 for a class never seen."""
        outputs = np.zeros((len(self.codes), self.n_classes), np.float32)
        draws = np.random.RandomState(self.seed)
        n_rounds = self.n_rounds or len(self.deals)
        for folds in islice(cycle(self.deals), n_rounds):
            for fold in np.unique(folds):
                model = self._fitted_on(folds != fold, draws)
                asked = np.flatnonzero(folds == fold)
                for part in row_slices(len(asked), _ROWS_AT_A_TIME):
                    outputs[np.ix_(asked[part], model.classes_)] += model.predict_proba(self.X[asked[part]])
        return outputs / np.float32(n_rounds)

    @contextlib.contextmanager
    def asked_meanwhile(
        self, waiting: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    ) -> Iterator[Callable[[], NDArray[np.float32]]]:
        """Work in a thread while the block runs, where a core is free; give what waits for `outputs`, in `waiting`.

        But not a model that draws from torch's random state, which is the fit's own meanwhile. A model that computes in
        several threads has the cores that the block leaves, or all of them where it waits for the block's end.
        """
        n_taken = torch.get_num_threads()
        if n_taken >= n_cores() or _is_of_torch(self.model):
            yield self._outputs_on_all_cores
            return
        pool = ThreadPoolExecutor(1, thread_name_prefix="noisyfit-witness")
        future = pool.submit(self._outputs_beside, n_taken)

        def wait() -> NDArray[np.float32]:
            with waiting():
                return future.result()

        try:
            yield wait
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # an interrupted fit waits for nobody

    def _outputs_on_all_cores(self) -> NDArray[np.float32]:
        with threads_for(math.inf):
            return self.outputs()

    def _outputs_beside(self, n_taken: int) -> NDArray[np.float32]:
        with threads_beside(n_taken):
            return self.outputs()

    def _fitted_on(self, chosen: NDArray[np.bool_], draws: np.random.RandomState) -> Any:
        weight = self.sample_weight
        rows = np.flatnonzero(chosen if weight is None else chosen & (weight > 0))
        if len(rows) > _MOST_ROWS:
            rows = np.sort(draws.choice(rows, _MOST_ROWS, replace=False))
        takes_weight = weight is not None and has_fit_parameter(self.model, "sample_weight")
        of_rows = {"sample_weight": weight[rows]} if weight is not None and takes_weight else {}
        model = _seeded(clone(self.model), draws.randint(np.iinfo(np.int32).max))
        return model.fit(self.X[rows], self.codes[rows], **of_rows)


def _is_of_torch(model: Any) -> bool:
    """Say whether a model, or one in it, is made of networks."""
    models = [model, *(value for value in model.get_params().values() if hasattr(value, "fit"))]
    packages = {kind.__module__.partition(".")[0] for part in models for kind in type(part).__mro__}
    return not packages.isdisjoint({"noisyfit", "skorch", "torch"})


def _seeded(witness: Any, seed: int) -> Any:
    """Seed whatever in the classifier draws and has no seed, as `random_state` promises."""
    unseeded = [name for name, value in witness.get_params().items() if name.endswith("random_state") and value is None]
    return witness.set_params(**dict.fromkeys(unseeded, seed))
