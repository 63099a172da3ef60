"""The theta-step of Algorithm 1: an epoch of the network against the labels."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from skorch.utils import TeeGenerator
from torch import Tensor

from ..exceptions import TrainingDivergedError
from ..losses import ObjectiveStep, RunningMean, objective_gradient, objective_terms, sum_of_terms
from ..machine.random_state import give_way
from ..machine.ranks import Ranks
from ..nets.ensembles import clip_gradients
from ..nets.net import JointNet, softmax_rows
from ..rows.rows import Rows
from .labels import Labels
from .outputs import Outputs, share_of_earlier

__all__ = ["NO_MEAN", "EpochEnd", "MeanSoFar", "Stage", "Trainer", "learning_rate_factor"]

_STRETCH = 1 << 18  # outputs whose labels are looked up and recorded at a time


@dataclass(frozen=True)
class Stage:
    """One of the two steps of training: what the network learns, for how long and at which rates."""

    name: str  # what errors call it
    lr_parameter: str  # the parameter that holds its learning rate
    alpha: float
    beta: float
    max_grad_norm: float | None
    schedule: str  # of `learning_rate_factor`
    max_epochs: int
    prior_momentum: float = 0.0


class _Known(NamedTuple):
    """Some rows that are trained on one after the other, and what is known of them."""

    numbers: Tensor  # (n_rows,)
    targets: Tensor  # (n_rows, n_classes)
    weight: Tensor | None  # (n_rows,) or (k, n_rows)
    trained: Tensor | None  # (k, n_rows), on the CPU: which networks are trained on them

    def at(self, rows: slice) -> _Known:
        """Give a part of them."""
        weight = None if self.weight is None else self.weight[..., rows]
        trained = None if self.trained is None else self.trained[:, rows]
        return _Known(self.numbers[rows], self.targets[rows], weight, trained)


def learning_rate_factor(schedule: str, epoch: int, max_epochs: int) -> float:
    """Give the share of the learning rate at an epoch, counted from 1.

    "constant"; "decay": constant, then linear to 0 over the last 30 %; "one_cycle": linear from 0 over the first
    15 %, then to 0 over all others; "steps": a tenth after 1/3 of the epochs and a hundredth after 2/3.
    """
    done, left = epoch - 0.5, max_epochs - epoch + 0.5  # at the middle of the epoch
    if schedule == "decay":
        return min(1.0, left / (0.3 * max_epochs))
    if schedule == "one_cycle":
        return min(done / (0.15 * max_epochs), left / (0.85 * max_epochs))
    if schedule == "steps":
        return float(0.1 ** (3 * (epoch - 1) // max_epochs))
    return 1.0


class MeanSoFar(NamedTuple):
    """Mean prediction over the batches so far; one counts `prior_momentum` times as much as the next."""

    log_mean: Tensor | None = None  # (n_classes,) or, of several networks, (k, n_classes): its logarithm
    n_batches: int = 0

    def running(self, momentum: float) -> RunningMean | None:
        """Give it as the objective takes it."""
        share = share_of_earlier(momentum, self.n_batches) if self.n_batches else 0.0
        return None if self.log_mean is None or not share else RunningMean(self.log_mean, share)


NO_MEAN = MeanSoFar()


class EpochEnd(NamedTuple):
    """What an epoch tells of itself."""

    losses: Tensor  # (4,), on the CPU: means of the loss, L_c, L_p and L_e
    unseen_agreement: float  # share of outputs that name a given label which their network left out; NaN without any
    mean: MeanSoFar  # mean prediction after it


class _Rows(NamedTuple):
    """Row numbers that networks are trained on, the others, and which rows are left out though they have weight."""

    trained: Tensor
    untrained: Tensor
    left_out: Tensor  # (n_samples,), bool, on the device


@dataclass
class _Epoch:
    """What stays during an epoch, and what is counted in it."""

    labels: Labels
    class_prior: Tensor
    outputs: Outputs | None
    mean: MeanSoFar
    counts: Tensor  # (2,): how many outputs named a given label that their network left out, and of how many


class Trainer:
    """Trains one net on rows, an epoch at a time.

    Parameters
    ----------
    net : JointNet
        Initialised.
    rows : Rows
        Inputs of all samples.
    stage : Stage
        Objective and schedule.
    generator : torch.Generator
        Draws the order of the samples.
    learned : Tensor of shape (n_samples,), int64
        Class numbers of the labels that networks began with; where outputs agree with unseen ones is counted.
    sample_weight : Tensor of shape (n_samples,) or None
        Samples of weight 0 are not trained on; their outputs are those of an evaluation pass.
    folds : Tensor of shape (n_samples,), int64, or None
        For a net of several networks, the one that leaves the sample out. Its outputs are what is recorded.
    held_out : Tensor of shape (n_samples,), bool, or None
        Samples that are left out as long as the labels are as given.
    ranks : Ranks or None
        The processes that train together; None: this one alone.
    """

    def __init__(
        self,
        net: JointNet,
        rows: Rows,
        stage: Stage,
        generator: torch.Generator,
        learned: Tensor,
        sample_weight: Tensor | None = None,
        folds: Tensor | None = None,
        held_out: Tensor | None = None,
        ranks: Ranks | None = None,
    ):
        self.ranks = ranks or Ranks()
        if min(net.batch_size, len(rows)) < self.ranks.fewest_rows and self.ranks.size > 1:
            raise ValueError(
                f"`batch_size`, and the number of rows, must be at least {self.ranks.fewest_rows} for "
                f"{self.ranks.size} processes; got {net.batch_size} and {len(rows)}. Raise it, or start fewer."
            )
        self.net, self.rows, self.stage, self.generator = net, rows, stage, generator
        self.learned, self.weight, self.folds, self.held_out = learned, sample_weight, folds, held_out
        self._device = torch.device(net.device)
        if folds is not None:
            self._folds_on_cpu = folds.cpu()
            self._network_numbers = torch.arange(net.module_.n_networks).unsqueeze(1)
        # batch events are for the user's callbacks; the default one hears of epochs only
        self._has_user_callbacks = len(net.callbacks_) > len(net.get_default_callbacks())

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Tell the user's callbacks when training begins and ends; check the weights that it ends with."""
        self.net.notify("on_train_begin", X=self.rows, y=None)
        yield
        state = self.net.module_.state_dict().values()
        if not all(bool(torch.isfinite(value).all()) for value in state if value.is_floating_point()):
            raise self._diverged("weights are not finite after the last epoch")
        self.net.notify("on_train_end", X=self.rows, y=None)

    def run_epoch(
        self,
        epoch: int,
        labels: Labels,
        class_prior: Tensor,
        outputs: Outputs | None = None,
        all_rows: bool = True,
        mean: MeanSoFar = NO_MEAN,
    ) -> EpochEnd:
        """θ-step: one epoch on fixed labels.

        Parameters
        ----------
        epoch : int
            From 1.
        labels : Labels
            What networks learn.
        class_prior : Tensor of shape (n_classes,)
            Assumed share of each class, on the device.
        outputs : Outputs or None
            Where the outputs of all samples are recorded; None for nowhere.
        all_rows : bool
            Whether samples that are held out join in.
        mean : MeanSoFar
            Mean prediction of the epochs before.
        """
        net = self.net
        net.notify("on_epoch_begin", dataset_train=self.rows, dataset_valid=None)
        self._set_rate(epoch)
        net.module_.train()
        rows = self._split(None if all_rows else self.held_out)
        now = _Epoch(labels, class_prior, outputs, mean, torch.zeros(2, device=self._device))
        terms = self._train_on_all(now, rows.trained)
        loss = terms @ torch.tensor([1.0, self.stage.alpha, self.stage.beta])
        if not torch.isfinite(loss):
            raise self._diverged("loss is not finite at epoch {}: L_c {:g}, L_p {:g}, L_e {:g}".format(epoch, *terms))
        self.ranks.share_buffers(net.module_)
        if len(rows.untrained) and (outputs is not None or rows.left_out.any()):
            self._evaluate_untrained(now, rows)
        if outputs is not None:
            outputs.close_epoch()
        n_agreed, n_unseen = now.counts.tolist()
        earlier = [row["train_loss"] for row in net.history[:-1]]
        net.history.record("train_loss", float(loss))
        net.history.record("train_loss_best", float(loss) < min(earlier, default=float("inf")))
        net.notify("on_epoch_end", dataset_train=self.rows, dataset_valid=None)
        agreement = n_agreed / n_unseen if n_unseen else math.nan
        return EpochEnd(torch.cat([loss[None], terms]), agreement, now.mean)

    def _split(self, left_out: Tensor | None) -> _Rows:
        out = torch.zeros(len(self.rows), dtype=torch.bool) if left_out is None else left_out
        everyone, trained = torch.arange(len(self.rows)), ~out
        if self.weight is not None:
            trained &= self.weight.cpu() > 0
        return _Rows(everyone[trained], everyone[~trained], out.to(self._device))

    def _train_on_all(self, now: _Epoch, numbers: Tensor) -> Tensor:
        """Train on rows in random order; give the means of L_c, L_p and L_e, shape (3,), on the CPU."""
        sums = torch.zeros(4, device=self._device)
        order = numbers[torch.randperm(len(numbers), generator=self.generator)]
        sizes = batch_sizes(len(order), self.net.batch_size, self.ranks.fewest_rows)
        chunks = [self._own_rows(chunk) for chunk in order.to(self.rows.number_device).split(sizes)]
        batches = self.rows.batches(chunks)
        for stretch, slices in self._stretches(order, sizes, now.labels.n_classes):
            sums += self._train_on_stretch(now, self._look_up(now, stretch), slices, batches)
        assert next(batches, None) is None  # to its end, which frees the workers of a loader
        return (sums[:3] / sums[3]).cpu()

    def _stretches(self, order: Tensor, sizes: list[int], n_classes: int) -> Iterator[tuple[Tensor, list[slice]]]:
        """Cut an epoch's row numbers into stretches, and each stretch into its batches.

        Whatever need not be done for each batch is done for a stretch: on small networks small operations would take
        as long as the network.
        """
        n_networks = 1 if self.folds is None else self.net.module_.n_networks
        n_batches = max(1, _STRETCH // (self.net.batch_size * n_classes * n_networks))
        for first in range(0, len(sizes), n_batches):
            ends = [0, *itertools.accumulate(sizes[first : first + n_batches])]
            yield order[: ends[-1]], list(itertools.starmap(slice, itertools.pairwise(ends)))
            order = order[ends[-1] :]

    def _own_rows(self, chunk: Tensor) -> Tensor:
        return chunk[self.ranks.own_part(len(chunk))]

    def _look_up(self, now: _Epoch, numbers: Tensor) -> _Known:
        targets = now.labels.targets(numbers.to(self.learned.device)).to(self._device)
        trained = None if self.folds is None else self._folds_on_cpu[numbers] != self._network_numbers
        numbers = numbers.to(self._device)
        weight = None if self.weight is None else self.weight[numbers]
        if trained is not None:  # the network that leaves a row out gives it no weight
            shares = trained.to(self._device, torch.float32)
            weight = shares if weight is None else shares * weight
        return _Known(numbers, targets, weight, trained)

    def _train_on_stretch(self, now: _Epoch, known: _Known, slices: list[slice], batches: Iterator[Tensor]) -> Tensor:
        """Train on the next batches; give the sums of `sum_of_terms`."""
        log_probas, log_means = [], []
        for rows in slices:
            give_way()
            step = self._train_on_batch(now, known.at(rows), next(batches))
            log_probas.append(step.log_proba)
            log_means.append(step.log_mean)
        log_proba = torch.cat(log_probas, dim=-2)
        outputs = self._of_own_network(known.numbers, log_proba).exp()
        if self.folds is not None:
            self._note_unseen(now, known.numbers, outputs)
        if now.outputs is not None:
            now.outputs.record(known.numbers.to(now.outputs.device), outputs)
        sizes = [rows.stop - rows.start for rows in slices]
        if known.weight is None:
            batch_weights = torch.tensor(sizes, dtype=torch.float32, device=self._device)
        else:
            batch_weights = torch.stack([weight.sum(dim=-1) for weight in known.weight.split(sizes, dim=-1)])
        return sum_of_terms(
            log_proba, known.targets, known.weight, torch.stack(log_means), batch_weights, now.class_prior
        )

    def _train_on_batch(self, now: _Epoch, part: _Known, x: Tensor) -> ObjectiveStep:
        net, stage = self.net, self.stage
        if self._has_user_callbacks:
            net.notify("on_batch_begin", batch=(x, part.numbers), training=True)
        self._forget_gradients()
        n_rows = len(part.numbers)
        own = self.ranks.own_part(n_rows)
        logits = net.infer(x, None if part.trained is None else part.trained[:, own])
        step = objective_gradient(
            self.ranks.whole(logits, own, n_rows),
            part.targets,
            now.class_prior,
            stage.alpha,
            stage.beta,
            part.weight,
            now.mean.running(stage.prior_momentum),
        )
        if stage.prior_momentum:
            now.mean = MeanSoFar(step.log_mean, now.mean.n_batches + 1)
        logits.backward(step.gradient[..., own, :])
        self.ranks.add_up_gradients(net.module_)
        if stage.max_grad_norm is not None:
            clip_gradients(net.module_, stage.max_grad_norm)
        if self._has_user_callbacks:
            named = TeeGenerator(net.module_.named_parameters())
            net.notify("on_grad_computed", named_parameters=named, batch=(x, part.numbers), training=True)
        net.optimizer_.step()
        if self._has_user_callbacks:
            self._tell_of_batch(now, part, x, step)
        return step

    def _forget_gradients(self) -> None:
        optimizer = self.net.optimizer_
        if type(optimizer).zero_grad is not torch.optim.Optimizer.zero_grad:
            optimizer.zero_grad()
            return
        for group in optimizer.param_groups:  # what it would do, in a tenth of its time
            for weight in group["params"]:
                weight.grad = None

    def _tell_of_batch(self, now: _Epoch, part: _Known, x: Tensor, step: ObjectiveStep) -> None:
        divergence, imbalance, entropy = objective_terms(step, part.targets, now.class_prior, part.weight)
        loss = (divergence + self.stage.alpha * imbalance + self.stage.beta * entropy).mean()
        self.net.history.record_batch("train_loss", loss.item())
        self.net.history.record_batch("train_batch_size", len(part.numbers))
        outputs = self._of_own_network(part.numbers, step.proba)
        self.net.notify("on_batch_end", batch=(x, part.numbers), training=True, loss=loss, y_pred=outputs)

    def _of_own_network(self, numbers: Tensor, proba: Tensor) -> Tensor:
        """Choose each row's output: that of the network that leaves it out."""
        if self.folds is None:
            return proba
        return proba[self.folds[numbers], torch.arange(len(numbers), device=proba.device)]

    def _note_unseen(self, now: _Epoch, numbers: Tensor, proba: Tensor) -> None:
        unseen = self.learned[numbers.to(self.learned.device)].to(proba.device)
        agreed = (proba.argmax(dim=1) == unseen).sum()
        now.counts += torch.stack([agreed, torch.full_like(agreed, len(numbers))])

    def _set_rate(self, epoch: int) -> None:
        """Scale the learning rate; a rate that a callback has changed is scaled from where it is."""
        schedule, n_epochs = self.stage.schedule, self.stage.max_epochs
        factor = learning_rate_factor(schedule, epoch, n_epochs)
        before = learning_rate_factor(schedule, epoch - 1, n_epochs) if epoch > 1 else 1.0
        if factor != before:
            for group in self.net.optimizer_.param_groups:
                group["lr"] *= factor / before

    def _diverged(self, what: str) -> TrainingDivergedError:
        clip = " or set `net_params['max_grad_norm']`" if self.stage.max_grad_norm is None else ""
        remedy = f"Lower `{self.stage.lr_parameter}`{clip}, or look for extreme values in X."
        return TrainingDivergedError(f"In {self.stage.name}, the {what}. {remedy}")

    def _evaluate_untrained(self, now: _Epoch, rows: _Rows) -> None:
        for chunk, probas in self._evaluate(rows.untrained.split(self.net.batch_size)):
            proba = self._of_own_network(chunk, probas)
            if now.outputs is not None:
                now.outputs.record(chunk.to(now.outputs.device), proba)
            left_out = rows.left_out[chunk]
            self._note_unseen(now, chunk[left_out], proba[left_out])

    def _evaluate(self, chunks: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the numbers of some rows after the other, and the outputs for them of each network."""
        to_read = [chunk.to(self.rows.number_device) for chunk in chunks]
        self.net.module_.eval()
        with torch.no_grad():
            for chunk, x in zip(chunks, self.rows.batches(to_read), strict=True):
                yield chunk.to(self._device), softmax_rows(self.net.infer(x))


def batch_sizes(n_rows: int, batch_size: int, fewest: int = 2) -> list[int]:
    """Cut rows into batches; a last batch of too few rows for batch normalisation joins the one before."""
    sizes = [batch_size] * (n_rows // batch_size)
    rest = n_rows % batch_size
    if 0 < rest < fewest and sizes:
        sizes[-1] += rest
    elif rest:
        sizes.append(rest)
    return sizes
