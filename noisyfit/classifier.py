"""The estimator: what users see of a fit, and what they may ask of it afterwards."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ._validation import as_random_state, is_of_memory
from .algorithm.callbacks import CallbackSupportMixin, with_callbacks
from .algorithm.fingerprint import fingerprint
from .algorithm.joint_optimisation import JointOptimization
from .algorithm.labels import keep_within_margin
from .algorithm.paper import paper_params
from .algorithm.parameters import CONSTRAINTS, check_parameters, loader_params
from .algorithm.parts import Parts
from .algorithm.problem import Problem, check_problem, encode_given
from .algorithm.progress import EpochLog
from .algorithm.saving import SavedFit
from .algorithm.successors import refuse_parts, refuse_removed, refusing_removed
from .exceptions import ClassShrunkWarning, CorrectionRefusedWarning, LabelCollapseWarning
from .files.checkpoint import NoCheckpoint, open_checkpoint
from .judgement.decision import judge_new_rows
from .machine.devices import resolve_device
from .machine.random_state import isolated_rng
from .machine.ranks import Ranks, find_ranks
from .machine.surroundings import usual_surroundings
from .model_file import describe_fit, load_model, restore_result, save_model
from .report import shown_label, shrunk_classes
from .rows.inputs import check_inputs, check_same_pixels
from .rows.rows import as_rows
from .verdict import JudgedLabels

__all__ = ["JointOptimizationClassifier"]

_CALLER_OF_FIT = 4  # as a stacklevel: past _warn_of_trouble, fit and scikit-learn's decorator


class JointOptimizationClassifier(JudgedLabels, ClassifierMixin, CallbackSupportMixin, BaseEstimator):
    r"""Classifier for wrongly labelled data that gives the labels back corrected.

    Joint optimisation [1]_ of network weights and labels: in turn, the network learns the current labels for an
    epoch, and from epoch `begin` on the labels become the mean of the network's outputs over the last `window`
    epochs. The network minimises :math:`L_c + \alpha L_p + \beta L_e` (eq. 3), see `noisyfit.losses`.

    Parameters
    ----------
    module : torch.nn.Module instance, class or callable, str or None, default=None
        The network, from a batch to logits of shape (n, n_classes). An instance is copied at every fit, never
        trained in place; a class or callable makes a new one, and gets the sizes of the data for those of
        ``n_features``, ``in_channels`` and ``n_classes`` that its signature names. "preact_resnet32" is the
        paper's. None: `noisyfit.networks.MLP` for X of shape (n, n_features), `noisyfit.networks.SmallResNet` for
        images (n, channels, height, width).
    module_params : dict or None, default=None
        Keyword arguments for the class or callable.
    alpha : float, default=0.8
        Objective. Weight of the class prior divergence L_p (eq. 8), at least 0. Keeps the labels from falling into
        one class.
    beta : float, default=0.4
        Objective. Weight of the prediction entropy L_e (eq. 10), at least 0. Drives labels towards certainty.
    gamma : float or "damped", default="damped"
        Labels. Weight of the given label as evidence, at least 0; 0 is the paper. Above it, labels become
        proportional to outputs times T[:, given] ** gamma, T the current noise matrix. "damped": w is 1 less the share
        of labels found wrong so far, but at least 0.5, and the rows of T ** w are divided by their sums, as if the
        labels were noisier; without `cross_fit` 0. One network that has memorised a given label confirms itself, so
        that a number above 0 without `cross_fit` warns. What becomes of the labels after the last epoch does not
        depend on it, but for 0.
    class_prior : {"uniform", "given", "estimated"} or array-like of shape (n_classes,), default="estimated"
        Objective. Assumed share of each class, in the order of `classes_`, summing to 1. "given" takes the
        frequencies of the given labels. "uniform" is the paper's: only for classes that are known to be of equal
        size, since it pulls labels into the small ones. "estimated" starts from the given frequencies and takes the
        mean of the soft labels after each of their updates.
    label_update : {"soft", "hard"}, default="soft"
        Labels. "soft" trains on the averaged outputs (eq. 7), "hard" on their most probable class (eq. 6).
    n_relabel : int or None, default=None
        Labels. With "hard", the most samples whose label changes in one epoch: those with the largest
        log s[new] - log s[current], ties by row. None sets no limit.
    begin : int, float or "auto", default="auto"
        Labels. They are updated after epoch `begin`, counted from 1, and after every later one. A number below 1
        is a share of `max_epochs`: max(1, round(share * max_epochs)). "auto": after the first epoch at which the
        agreement with given labels that the network has not seen has not risen for 5 epochs, or for 2 where 70 % of
        the epochs are done, at the latest after the last one. Cross-fitted networks have not seen the rows that they
        leave out; one network leaves out a tenth of the rows until then, at the latest until 70 % of the epochs.
    window : int or float, default=10
        Labels. Number of last epochs whose outputs are averaged; fewer so far: the mean of those. A number below 1,
        above 0, is the decay of an exponential mean over all epochs, bias-corrected, in a tenth of the memory. They
        are kept on the device, in the host's memory or in a temporary file (``TMPDIR`` sets its folder): the first
        where they take no more than half of what is free. The results are the same.
    cross_fit : int, default=3
        Labels. 0 or 1, the paper: one network. 2 or more: that many networks side by side, each leaving out its share
        of the rows; a row's output is that of the network that left it out, and they predict by the mean of their
        probabilities. Equal rows are left out together, and rows of one group (see `fit`). Small fully connected
        networks are trained in batched matrix products, others in turn.
    witness : "auto", None or classifier, default="auto"
        Labels. A model of another kind than networks, which is asked about each row, too, after it has learned those
        that the row's network has; any classifier of scikit-learn's kind with ``predict_proba``, which is cloned.
        "auto" takes extra trees for tables, embeddings and sparse rows in memory, which are asked several times, with
        the rows dealt out anew to folds, and none for images and Datasets.
        Without `cross_fit`, or with `gamma` 0, there is none. Predictions are those of the networks alone.
    margin : float, default=0.0
        Labels. Gain beyond none that must be expected of a change, soft[new] - soft[given], in [0, 1]; elsewhere the
        given label is kept in `corrected_labels_`. Training does not depend on it.
    max_epochs : int, default=60
        Network. Epochs of joint optimisation, at least 1.
    lr : float, default=0.5
        Network. Learning rate, above 0. High on purpose: a network at a high rate memorises wrong labels later.
    batch_size : int or "auto", default="auto"
        Network. Rows a batch, at least 1; a last batch of one row joins the one before it. "auto": 128, on less than
        2,048 rows a sixteenth of them, but at least 16.
    lr_schedule : {"constant", "decay", "one_cycle"}, default="decay"
        Network. "constant" is the paper's; "decay" falls linearly to 0 over the last 30 % of the epochs; "one_cycle"
        rises linearly from 0 over the first 15 % and falls linearly to 0 over the others, the momentum as it is,
        which suits images with random crops.
    retrain_epochs : int, default=0
        Retraining. Epochs of step 2, in which a new network learns the final labels by L_c alone; it then predicts.
        0 skips it, and the network of step 1 predicts. Its learning rate falls to a tenth after 1/3 of these epochs
        and to a hundredth after 2/3.
    augment : {"crop_flip"}, callable or None, default=None
        Running. Random change of each training batch, on the device: a callable from a batch tensor to one of the
        same shape, or "crop_flip" for images (pad by 4, crop, mirror). uint8 images come to it divided by 255.
    device : str or torch.device, default="auto"
        Running. "auto" takes CUDA where there is one, else MPS, else the CPU.
    net_params : dict or None, default=None
        Running. What few need to set:

        - ``optimizer``, by default ``torch.optim.SGD``: any optimizer class whose ``step`` needs no closure. Its
          keywords but for the learning rate as ``optimizer__momentum``, ``optimizer__weight_decay``, ...
        - ``max_grad_norm``, by default 1.0: norm at which the gradient is clipped, above 0; None, the paper's, does
          not. L_p has a huge gradient where a class is missing from a batch.
        - ``precision``: "float32" or "bfloat16", which the network computes in; losses are always in float32. Left
          out, it is bfloat16 for images where the processor has instructions for it.
        - ``retrain_lr``: learning rate of the retraining, above 0. Left out, it is `lr`.
        - ``prior_momentum``, by default 0, the paper: the mean prediction in L_p is that of the mini-batch. Above,
          below 1: a running mean in which a batch counts so many times as much as the next one, where a batch holds
          few rows of each class. Its gradient estimates that of eq. 8 over all data, so that `alpha` means the same.
        - anything else of skorch's ``NeuralNet``, by its names: ``callbacks``, ``compile``,
          ``iterator_train__num_workers`` (for a Dataset; rows in memory need no loader), ...
    checkpoint : str, path-like or None, default=None
        Running. A folder in which the fit keeps its state after every epoch (a large one after some), so that a fit
        with the same data and parameters goes on where one was cut, to the same bits on a CPU; where one has finished,
        its result is taken. Each fit has a folder of its own in it, so that searches can share one. See "Nothing lost"
        in the user guide.
    random_state : int, RandomState instance or None, default=None
        Running. Seed of initial weights, batches and augmentation. The same seed gives the same bits on a CPU, for
        one machine, build and, of large networks, thread count. None draws a fresh one. No global random state is
        touched.
    verbose : int, default=0
        Running. 0 is silent; 1 shows a progress bar, or a line now and then where there is no terminal.

    Attributes
    ----------
    corrected_labels_ : ndarray of shape (n_samples,)
        Corrected labels, in the labels and dtype of y and the order of X: the most probable class of
        `soft_labels_`, except where the given label is kept because the risk of changing it is too high, by `margin`,
        or because `n_relabel` has not let it change yet.
    soft_labels_ : ndarray of shape (n_samples, n_classes), float32
        Probability of each class to be the true one, by the judge: see the user guide. With `gamma` 0, or without
        `cross_fit`, the mean outputs of the last `window` epochs, weighed by the given labels unless `gamma` is 0; also
        where training used hard labels. Rows sum to 1.
    correction_refused_ : str or None
        Why all given labels were kept, although some are contradicted: no gain is expected from changing any. None
        where some were changed or there is nothing to change, and where there was no `cross_fit`, or `gamma` was 0:
        nothing to judge by. Predictions are still those of the networks as trained, or of step 2 on the given labels.
    expected_gain_ : ExpectedGain or None
        Share of labels that are right after the correction less the share before: ``mean``, ``low`` and ``high``, a
        95 % interval. None where there was nothing to judge by.
    classes_ : ndarray of shape (n_classes,)
        Distinct labels of y, sorted.
    class_prior_ : ndarray of shape (n_classes,), float64
        The prior that was used; of an estimated one the last.
    transition_matrix_ : ndarray of shape (n_classes, n_classes), float64
        Estimate of P(given = j if true = i), the one that the labels were judged with; rows sum to 1. Not identifiable
        in general where classes overlap.
    noise_rate_ : float
        Estimated share of wrong labels, in [0, 1]: 1 - mean of the soft labels at the given classes.
    noise_rate_interval_ : tuple of float or None
        Low and high end of its 95 % interval. None where there was nothing to judge by.
    history_ : DataFrame
        A row an epoch: ``step`` (1 joint optimisation, 2 retraining), ``epoch`` from 1 in each step, ``loss`` and
        its terms ``L_c``, ``L_p``, ``L_e`` (means over the epoch's batches, in nats), ``L_o`` (the fit of the noise
        matrix to the given labels, not part of the loss), ``labels_changed`` (share of samples whose class this
        epoch's update changed), ``labels_corrected`` (share whose class is not the given one, in training: before
        they are judged), ``seconds``.
    net_ : skorch.NeuralNet
        The fitted net, for prediction only; its network is ``net_.module_``.
    n_iter_ : int
        Epochs of joint optimisation that were run.
    n_features_in_ : int
        ``X.shape[1]`` of the X given to `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of its columns, where it had names that are strings.

    Warns
    -----
    noisyfit.exceptions.LabelCollapseWarning
        At `fit`, for ``alpha=0`` with ``beta`` above 0, and where all corrected labels are of one class.
    noisyfit.exceptions.CorrectionRefusedWarning
        At `fit`, where all given labels were kept although some are contradicted.
    noisyfit.exceptions.ClassShrunkWarning
        At `fit`, where a class loses a third of its labels or more.

    See Also
    --------
    noisyfit.label_report : The table of suspects, also from a Pipeline or a search.
    noisyfit.metrics.recovery_accuracy : Share of corrected labels that are true, where these are known.

    References
    ----------
    .. [1] D. Tanaka, D. Ikami, T. Yamasaki, K. Aizawa, "Joint Optimization Framework for Learning with Noisy
       Labels", CVPR 2018, https://arxiv.org/abs/1803.11364.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from noisyfit import JointOptimizationClassifier
    >>> from noisyfit.metrics import recovery_accuracy
    >>> from noisyfit.noise import corrupt_labels, symmetric_noise
    >>> X, y = load_digits(n_class=5, return_X_y=True)
    >>> y_noisy = corrupt_labels(y, symmetric_noise(5, 0.4), random_state=0)  # 40 % of the labels are wrong
    >>> clf = JointOptimizationClassifier(max_epochs=30, random_state=0).fit(X, y_noisy)
    >>> recovery_accuracy(y, y_noisy) < 0.65 < 0.9 < recovery_accuracy(y, clf.corrected_labels_)
    True
    """

    _parameter_constraints = CONSTRAINTS

    @refusing_removed
    def __init__(
        self,
        module: Any = None,
        *,
        module_params: dict[str, Any] | None = None,
        alpha: float = 0.8,
        beta: float = 0.4,
        gamma: float | str = "damped",
        class_prior: Any = "estimated",
        label_update: str = "soft",
        n_relabel: int | None = None,
        begin: int | float | str = "auto",
        window: int | float = 10,
        cross_fit: int = 3,
        witness: Any = "auto",
        margin: float = 0.0,
        max_epochs: int = 60,
        lr: float = 0.5,
        batch_size: int | str = "auto",
        lr_schedule: str = "decay",
        retrain_epochs: int = 0,
        augment: Any = None,
        device: Any = "auto",
        net_params: dict[str, Any] | None = None,
        checkpoint: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.module = module
        self.module_params = module_params
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.class_prior = class_prior
        self.label_update = label_update
        self.n_relabel = n_relabel
        self.begin = begin
        self.window = window
        self.cross_fit = cross_fit
        self.witness = witness
        self.margin = margin
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.lr_schedule = lr_schedule
        self.retrain_epochs = retrain_epochs
        self.augment = augment
        self.device = device
        self.net_params = net_params
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def set_params(self, **params: Any) -> JointOptimizationClassifier:
        """Set parameters.

        Parameters
        ----------
        **params : dict
            By their names.

        Returns
        -------
        JointOptimizationClassifier
            Itself.

        Raises
        ------
        TypeError
            For a parameter of an earlier release; it names the successor.
        ValueError
            If there is no parameter of that name.

        Examples
        --------
        >>> from noisyfit import JointOptimizationClassifier
        >>> JointOptimizationClassifier().set_params(lr=0.1).lr
        0.1
        """
        refuse_removed(name.partition("__")[0] for name in params)
        refuse_parts(params)
        super().set_params(**params)
        return self

    @with_callbacks
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None, checked: Any = None
    ) -> JointOptimizationClassifier:
        """Optimise network and labels in turn (Algorithm 1 of the paper), then retrain if asked to.

        Either all of it succeeds or the estimator is left as it was: an error or Ctrl-C leaves no half-fitted one.

        Parameters
        ----------
        X : array-like, DataFrame, sparse matrix, memmap, Tensor or Dataset, n_samples rows
            Numbers are used as float32. Only uint8 arrays of three or more dimensions stay uint8 in memory and are
            divided by 255 a batch at a time. Sparse matrices are made dense a batch at a time, a `numpy.memmap` is
            read a batch at a time. A list of equal tensors or arrays is stacked. A map-style torch Dataset must give
            inputs alone, of any dtype that the network takes.
        y : array-like of shape (n_samples,)
            Noisy labels of any kind scikit-learn takes, at least two classes.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            At least 0. L_c, L_e and the mean prediction become weighted means over the batch. A row of weight 0
            trains nothing but gets a label, from an evaluation pass. The noise matrix adds weights up, beside prior
            counts of 1: keep their mean near 1.
        groups : array-like of shape (n_samples,) or None, default=None
            Rows of one group (of one person, document or source, say) stay together in cross-fitting and where rows
            are held out for ``begin="auto"``, and rows to check are spread over groups. A class that one group has for
            itself can be judged by no network: its labels are kept, and `summary` says so. None: equal rows stay
            together, but for those of a Dataset.
        checked : array-like of shape (n_samples,), mapping, Series, path, DataFrame, list of dict or None, default=None
            True labels of rows that people have looked at. They are learned as they are, never averaged away, and the
            labels are judged by them. One entry a row, None where nobody looked: this is what cross-validation cuts,
            with metadata routing. Or as in `settle`, with the index or row numbers of this very X; of a mapping or
            Series, rows that the index of X or y lacks are left out.

        Returns
        -------
        self : JointOptimizationClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter, X, y, `sample_weight`, `groups` or `checked` breaks its rule, if only one class has weight,
            or if the loss is no longer finite (`noisyfit.exceptions.TrainingDivergedError`).
        TypeError
            If a parameter is of the wrong type, or X a Dataset that gives more than inputs.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from noisyfit import JointOptimizationClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = JointOptimizationClassifier(max_epochs=5, random_state=0).fit(X, y)
        >>> clf.corrected_labels_.shape
        (150,)
        """
        with _all_or_nothing(self), usual_surroundings():
            self._validate_params()
            check_parameters(self.get_params(deep=False))
            ranks = find_ranks(resolve_device(self.device))
            seed = ranks.agree_on(as_random_state(self.random_state).randint(np.iinfo(np.int32).max))
            problem = check_problem(self, X, y, sample_weight, groups, checked, seed)
            checkpoint = self._open_checkpoint(problem, seed, groups, ranks)
            drawn, seed = seed, checkpoint.begin(seed)
            if seed != drawn:  # a fit with a fresh seed goes on with the one that was drawn before
                with checkpoint.told_apart():
                    if self.random_state is not None:
                        raise ValueError("it was trained with another seed")
                problem = check_problem(self, X, y, sample_weight, groups, checked, seed)
            n_epochs = self.max_epochs + self.retrain_epochs
            context = self._init_callback_context(max_subtasks=n_epochs)
            metadata = {"sample_weight": sample_weight, "groups": groups, "checked": checked}
            told = {"estimator": self, "X": X, "y": y, "metadata": metadata}
            context.call_on_fit_task_begin(**told)
            finished = checkpoint.result()
            if finished is None:
                with (
                    isolated_rng(seed, problem.device) as generator,
                    EpochLog(context, told, n_epochs, self.verbose if ranks.is_first else 0) as log,
                ):
                    parts = Parts(self, problem, generator, ranks)
                    optimisation = JointOptimization(parts, log, SavedFit(checkpoint, problem, generator, ranks))
                    self.__dict__.update(optimisation.run())
                checkpoint.finish(partial(describe_fit, self))
            else:
                with checkpoint.told_apart():
                    restore_result(self, finished, problem)
            _warn_of_trouble(self)
            context.call_on_fit_task_end(**told, reconstruction_attributes=dict)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Give the network's class probabilities.

        As the networks give them: only `soft_labels_` and those of `correct` are judged.

        Parameters
        ----------
        X : array-like, DataFrame, sparse matrix, memmap, Tensor or Dataset, n_samples rows
            Inputs, as for `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float32
            In the order of `classes_`; rows sum to 1.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If X breaks its rule or has another number of features than in `fit`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from noisyfit import JointOptimizationClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = JointOptimizationClassifier(max_epochs=5, random_state=0).fit(X, y)
        >>> clf.predict_proba(X[:2]).shape
        (2, 3)
        """
        check_is_fitted(self)
        X, _ = check_inputs(self, X, reset=False)
        check_same_pixels(X, self._input_kind_.of_bytes)
        rows = as_rows(X, torch.device(self.net_.device), loader_params(self.net_params, "iterator_valid"))
        proba: NDArray[np.float32] = self.net_.predict_proba(rows)
        return proba

    def predict(self, X: Any) -> NDArray[Any]:
        """Give the most probable class of each row.

        Parameters
        ----------
        X : array-like, DataFrame, sparse matrix, memmap, Tensor or Dataset, n_samples rows
            Inputs, as for `fit`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels from `classes_`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If X breaks its rule or has another number of features than in `fit`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from noisyfit import JointOptimizationClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = JointOptimizationClassifier(max_epochs=5, random_state=0).fit(X, y)
        >>> set(clf.predict(X)) <= set(clf.classes_)
        True
        """
        proba = self.predict_proba(X)  # first, for its check that the estimator is fitted
        labels: NDArray[Any] = self.classes_[proba.argmax(axis=1)]
        return labels

    def correct(self, X: Any, y: Any) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Correct the labels of rows that were not in the fit.

        Parameters
        ----------
        X : array-like, DataFrame, sparse matrix, memmap, Tensor or Dataset, n_samples rows
            Inputs, as for `fit`. For the rows of the fit itself read `corrected_labels_`: the networks have seen them.
        y : array-like of shape (n_samples,)
            Their noisy labels, among `classes_`.

        Returns
        -------
        corrected_labels : ndarray of shape (n_samples,)
            Labels from `classes_`: changed by the rule of `corrected_labels_`, but none where the fit has changed none.
        soft_labels : ndarray of shape (n_samples, n_classes), float32
            Probability of each class to be the true one, judged by the networks alone; the networks' own where there
            was nothing to judge by. Rows sum to 1.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If X breaks its rule, or y holds a label that is not among `classes_`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from noisyfit import JointOptimizationClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = JointOptimizationClassifier(max_epochs=5, random_state=0).fit(X[::2], y[::2])
        >>> corrected, soft = clf.correct(X[1::2], y[1::2])
        >>> corrected.shape, soft.shape
        ((75,), (75, 3))
        """
        proba = self.predict_proba(X)
        given = encode_given(y, self.classes_)
        check_consistent_length(proba, given)
        if self._bearings_ is None:
            codes = keep_within_margin(proba, proba.argmax(axis=1), given, self.margin)
            return self.classes_[codes], proba
        soft_labels, codes = judge_new_rows(proba, given, self._bearings_, self.margin)
        return self.classes_[codes], soft_labels

    def save(self, path: Any) -> None:
        """Write the fitted estimator to a file that holds data and no code: safetensors and JSON, no pickle.

        The file is replaced whole or left as it was. It holds weights, parameters, labels and history, bit for bit, but
        of parameters that are code (a network of one's own, a function, an object) only the name.

        Parameters
        ----------
        path : str or path-like
            Where to write; a file that is there is replaced.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError
            If the labels are objects other than strings and numbers.
        ValueError
            If the labels are strings as wide as a very long one, so that those of all rows take more than 128 MB.
        OSError
            If it cannot be written there, or there is no room.

        Warns
        -----
        UserWarning
            For an index of the rows that would not come back as it is, of categories or periods, say: row numbers take
            its place.

        See Also
        --------
        load : The way back.

        Examples
        --------
        >>> import tempfile
        >>> from sklearn.datasets import load_iris
        >>> from noisyfit import JointOptimizationClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = JointOptimizationClassifier(max_epochs=5, random_state=0).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clf.save(f"{folder}/iris.safetensors")
        ...     loaded = JointOptimizationClassifier.load(f"{folder}/iris.safetensors")
        >>> bool((loaded.predict_proba(X) == clf.predict_proba(X)).all())
        True
        """
        check_is_fitted(self)
        save_model(self, path)

    @classmethod
    def load(cls, path: Any, module: Any = None, **params: Any) -> JointOptimizationClassifier:
        """Read an estimator from a file that `save` has written.

        Also a file that one does not trust: it can make `load` raise an error, but not run code, open another file,
        take memory that the file does not fill, or say where a later fit writes: `checkpoint` is None unless passed.

        Parameters
        ----------
        path : str or path-like
            The file.
        module : torch.nn.Module instance, class or callable, default=None
            The network, where the estimator had one of one's own; None where it had one of noisyfit's. An instance is
            copied; its weights do not matter.
        **params : dict
            Parameters of the estimator to take instead of those in the file: ``module_params``, ``augment``,
            or ``net_params`` where they hold code, or another ``device``. On a machine without the
            file's device the CPU is used.

        Returns
        -------
        JointOptimizationClassifier
            Fitted.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is damaged, of another kind or a later format, if `module` is missing or another network, or if there
            is no parameter of that name.

        Warns
        -----
        UserWarning
            For parameters that were code and are not passed: they are back at their defaults.

        Examples
        --------
        A network of one's own is passed again:

        >>> import tempfile
        >>> from sklearn.datasets import load_iris
        >>> from noisyfit import JointOptimizationClassifier
        >>> from noisyfit.networks import MLP
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = JointOptimizationClassifier(module=MLP, max_epochs=5, random_state=0).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clf.save(f"{folder}/iris.safetensors")
        ...     loaded = JointOptimizationClassifier.load(f"{folder}/iris.safetensors", module=MLP)
        >>> loaded.module.__name__
        'MLP'
        """
        with usual_surroundings():
            loaded: JointOptimizationClassifier = load_model(cls, path, module, params)
        return loaded

    @staticmethod
    def paper_params(noise: str = "symmetric", rate: float = 0.5) -> dict[str, Any]:
        """Give the constructor keywords of the paper's own protocol on CIFAR-10.

        Parameters
        ----------
        noise : {"symmetric", "asymmetric"}, default="symmetric"
            Kind of noise, as the paper's experiments code it: "symmetric" redraws a share of the labels over all
            classes (`noisyfit.noise.uniform_noise`), "asymmetric" flips a share of the labels of five of the ten
            classes (`noisyfit.noise.asymmetric_noise`).
        rate : float, default=0.5
            That share, in [0, 1].

        Returns
        -------
        dict
            Keywords for `JointOptimizationClassifier`. The learning rate depends on kind and rate. The authors'
            released settings are known for symmetric 0.7 and asymmetric 0.4; at other rates it is our best
            knowledge, and interpolated in between.

        Raises
        ------
        ValueError
            If `noise` or `rate` breaks its rule.

        Examples
        --------
        >>> from noisyfit import JointOptimizationClassifier
        >>> params = JointOptimizationClassifier.paper_params("symmetric", rate=0.7)
        >>> params["lr"], params["alpha"], params["beta"], params["begin"]
        (0.08, 1.2, 0.8, 70)
        >>> clf = JointOptimizationClassifier(**params)
        """
        return paper_params(noise, rate)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        return tags

    def __setstate__(self, state: dict[str, Any]) -> None:
        refuse_removed(state)  # a pickle of 0.1.0 would fit by other settings than it says
        super().__setstate__(state)

    def _open_checkpoint(self, problem: Problem, seed: int, groups: Any, ranks: Ranks) -> NoCheckpoint:
        if self.checkpoint is None:
            return NoCheckpoint()
        known_seed = None if self.random_state is None else seed
        name = fingerprint(self.get_params(deep=False), known_seed, problem, groups, ranks.size)
        ranks.wait()  # for all to have written and read what is there from a fit before
        return open_checkpoint(self.checkpoint, name, ranks)


def _warn_of_trouble(clf: JointOptimizationClassifier) -> None:
    first, labels = clf.corrected_labels_[0], clf._training_labels_
    if clf.correction_refused_:
        kept = "All given labels are kept" if (labels.corrected == labels.given).all() else "No other label is changed"
        text = f"{kept}: {clf.correction_refused_}. The network has learned what it took for right."
        warnings.warn(text, CorrectionRefusedWarning, stacklevel=_CALLER_OF_FIT)
    elif (clf.corrected_labels_ == first).all():
        remedy = "Lower `lr`, raise `alpha`, or, with a network of your own, scale X first."
        warnings.warn(
            f"All corrected labels are {shown_label(first)}. {remedy}", LabelCollapseWarning, stacklevel=_CALLER_OF_FIT
        )
    elif clf._bearings_ is not None and (shrunk := shrunk_classes(clf)):
        told = ", ".join(f"{shown_label(name)} from {before:,} to {after:,}" for name, before, after in shrunk[:5])
        text = (
            f"Classes that lose a third of their labels or more: {told}. Look at them before you trust the correction."
        )
        warnings.warn(text, ClassShrunkWarning, stacklevel=_CALLER_OF_FIT)


@contextlib.contextmanager
def _all_or_nothing(estimator: BaseEstimator) -> Iterator[None]:
    """Put the fitted attributes back as they were where the block fails."""

    def fitted() -> dict[str, Any]:
        return {name: value for name, value in vars(estimator).items() if name.endswith("_")}

    before = fitted()
    try:
        yield
    except BaseException as error:
        for name in fitted():
            delattr(estimator, name)
        estimator.__dict__.update(before)
        if is_of_memory(error):
            error.add_note("The fit ran out of memory. Lower `batch_size`, `window` or `cross_fit`.")
        raise
