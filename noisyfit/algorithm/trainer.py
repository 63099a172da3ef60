"""The theta-step of Algorithm 1: an epoch of the network against the labels."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from skorch.callbacks import LRScheduler
from skorch.utils import TeeGenerator
from torch import Tensor

from ..exceptions import TrainingDivergedError
from ..files.states import can_pack, check_like, check_numbers
from ..losses import ObjectiveStep, RunningMean, objective_gradient, objective_terms, sum_of_terms
from ..machine.random_state import give_way
from ..machine.ranks import Ranks
from ..nets.ensembles import clip_gradients
from ..nets.net import JointNet, load_weights, softmax_rows
from ..nets.optimizer_state import load_optimizer, load_schedule
from ..rows.rows import Rows
from .labels import LabelStore, share_of_earlier

__all__ = ["Stage", "Trainer", "learning_rate_factor"]

_STRETCH = 1 << 18  # outputs whose labels are looked up and recorded at a time


@dataclass(frozen=True)
class Stage:
    """One of the two steps of training: what the network learns, for how long and at which rates."""

    name: str  # what errors call it
    lr_parameter: str  # the parameter that holds its learning rate
    alpha: float
    beta: float
    class_prior: Tensor
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


class Trainer:
    """Trains one net on rows and a label store, an epoch at a time.

    Parameters
    ----------
    net : JointNet
        Initialised.
    rows : Rows
        Inputs of all samples.
    labels : LabelStore
        What the network is trained towards, and where its outputs are kept.
    stage : Stage
        Objective and schedule.
    generator : torch.Generator
        Draws the order of the samples.
    sample_weight : Tensor of shape (n_samples,) or None
        Samples of weight 0 are not trained on; their outputs are those of an evaluation pass.
    folds : Tensor of shape (n_samples,), int64, or None
        For a net of several networks, the one that leaves the sample out. Its outputs are what is recorded.
    ranks : Ranks or None
        The processes that train together; None: this one alone.

    Attributes
    ----------
    unseen_agreement : float
        Share of the samples left out by the network that gave their output whose given label it named, in the last
        epoch; NaN where there are none.
    """

    def __init__(
        self,
        net: JointNet,
        rows: Rows,
        labels: LabelStore,
        stage: Stage,
        generator: torch.Generator,
        sample_weight: Tensor | None = None,
        folds: Tensor | None = None,
        ranks: Ranks | None = None,
    ):
        self.ranks = ranks or Ranks()
        if min(net.batch_size, len(rows)) < self.ranks.fewest_rows and self.ranks.size > 1:
            raise ValueError(
                f"`batch_size`, and the number of rows, must be at least {self.ranks.fewest_rows} for "
                f"{self.ranks.size} processes; got {net.batch_size} and {len(rows)}. Raise it, or start fewer."
            )
        self.net, self.rows, self.labels, self.stage = net, rows, labels, stage
        self.generator, self.weight, self.folds = generator, sample_weight, folds
        self._device = torch.device(net.device)
        self.train_on_all()
        self.unseen_agreement = math.nan
        self._rate_factor = 1.0
        self._running_mean: Tensor | None = None
        self._batches_seen = 0
        if folds is not None:
            self._folds_on_cpu = folds.cpu()
            self._network_numbers = torch.arange(net.module_.n_networks).unsqueeze(1)
        # batch events are for the user's callbacks; the default one hears of epochs only
        self._has_user_callbacks = len(net.callbacks_) > len(net.get_default_callbacks())

    def state_dict(self) -> dict[str, Any]:
        """Give what changes; tensors are the network's and the optimizer's own."""
        net = self.net
        kept = [{name: value for name, value in row.items() if can_pack(value)} for row in net.history]
        return {
            "weights": dict(net.module_.state_dict()),
            "trained": {name: weight.requires_grad for name, weight in net.module_.named_parameters()},
            "optimizer": net.optimizer_.state_dict(),
            "history": kept,
            "schedulers": {name: (schedule.state_dict(), i) for name, schedule, i in _schedulers(net)},
            "rate_factor": self._rate_factor,
            "running_mean": self._running_mean,
            "batches_seen": self._batches_seen,
            "unseen_agreement": self.unseen_agreement,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state, in a session; raise a ValueError for one that does not fit network or optimizer."""
        net, running_mean = self.net, state["running_mean"]
        weights = dict(net.module_.named_parameters())
        check_like("which weights are trained", state["trained"], dict.fromkeys(weights, False))
        for name, is_trained in state["trained"].items():  # a callback may have frozen some
            weights[name].requires_grad_(is_trained)
        load_optimizer(net.optimizer_, state["optimizer"], net.module_)
        load_weights(net.module_, state["weights"])
        for row in state["history"]:
            check_like("a loss in the history", row["train_loss"], math.nan)
        net.history_[:] = state["history"]
        for name, schedule, n_batches in _schedulers(net):
            values, callback = state["schedulers"][name], dict(net.callbacks_)[name]
            check_like("batches of a schedule", values[1], n_batches)
            load_schedule(schedule, values[0])
            callback.batch_idx_ = values[1]
        numbers = {"rate_factor": 1.0, "batches_seen": 0, "unseen_agreement": math.nan}
        check_like("the numbers of the training", {name: state[name] for name in numbers}, numbers)
        if running_mean is not None:
            networks = [] if self.folds is None else [net.module_.n_networks]
            shape = [*networks, self.labels.n_classes]
            check_numbers("the running mean", running_mean, torch.float32, shape, high=1.0)
        self._rate_factor, self._batches_seen = state["rate_factor"], state["batches_seen"]
        self.unseen_agreement = state["unseen_agreement"]
        self._running_mean = None if running_mean is None else running_mean.to(self._device)

    def train_on_all(self) -> None:
        """Train on all rows that have weight."""
        self.leave_out(torch.zeros(len(self.rows), dtype=torch.bool))

    def leave_out(self, rows: Tensor) -> None:
        """Train on the rows that have weight but for those that a bool tensor (n_samples,) marks."""
        everyone = torch.arange(len(self.rows))
        positive = ~rows if self.weight is None else ~rows & (self.weight.cpu() > 0)
        self._trained, self._untrained = everyone[positive], everyone[~positive]
        self._left_out = rows.to(self._device)

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Tell the user's callbacks when training begins and ends; check the weights that it ends with."""
        self.net.notify("on_train_begin", X=self.rows, y=None)
        yield
        state = self.net.module_.state_dict().values()
        if not all(bool(torch.isfinite(value).all()) for value in state if value.is_floating_point()):
            raise self._diverged("weights are not finite after the last epoch")
        self.net.notify("on_train_end", X=self.rows, y=None)

    def run_epoch(self, epoch: int, record: bool) -> Tensor:
        """θ-step: one epoch on fixed labels. Gives the mean loss, L_c, L_p and L_e, shape (4,), on the CPU."""
        self.net.notify("on_epoch_begin", dataset_train=self.rows, dataset_valid=None)
        self._set_rate_factor(learning_rate_factor(self.stage.schedule, epoch, self.stage.max_epochs))
        self.net.module_.train()
        sums = torch.zeros(4, device=self._device)
        self._unseen = torch.zeros(2, device=self._device)  # how many agreed with their given label, and of how many
        order = self._trained[torch.randperm(len(self._trained), generator=self.generator)]
        sizes = batch_sizes(len(order), self.net.batch_size, self.ranks.fewest_rows)
        chunks = [self._own_rows(chunk) for chunk in order.to(self.rows.number_device).split(sizes)]
        batches = self.rows.batches(chunks)
        for numbers, slices in self._stretches(order, sizes):
            sums += self._train_on_stretch(self._look_up(numbers), slices, batches, record)
        assert next(batches, None) is None  # to its end, which frees the workers of a loader
        terms = (sums[:3] / sums[3]).cpu()
        loss = terms @ torch.tensor([1.0, self.stage.alpha, self.stage.beta])
        if not torch.isfinite(loss):
            raise self._diverged("loss is not finite at epoch {}: L_c {:g}, L_p {:g}, L_e {:g}".format(epoch, *terms))
        self.ranks.share_buffers(self.net.module_)
        if len(self._untrained) and (record or self._left_out.any()):
            self._record_untrained(record)
        n_agreed, n_unseen = self._unseen.tolist()
        self.unseen_agreement = n_agreed / n_unseen if n_unseen else math.nan
        earlier = [row["train_loss"] for row in self.net.history[:-1]]
        self.net.history.record("train_loss", float(loss))
        self.net.history.record("train_loss_best", float(loss) < min(earlier, default=float("inf")))
        self.net.notify("on_epoch_end", dataset_train=self.rows, dataset_valid=None)
        return torch.cat([loss[None], terms])

    def _stretches(self, order: Tensor, sizes: list[int]) -> Iterator[tuple[Tensor, list[slice]]]:
        """Cut an epoch's row numbers into stretches, and each stretch into its batches.

        Whatever need not be done for each batch is done for a stretch: on small networks small operations would take
        as long as the network.
        """
        n_networks = 1 if self.folds is None else self.net.module_.n_networks
        n_batches = max(1, _STRETCH // (self.net.batch_size * self.labels.n_classes * n_networks))
        for first in range(0, len(sizes), n_batches):
            ends = [0, *itertools.accumulate(sizes[first : first + n_batches])]
            yield order[: ends[-1]], list(itertools.starmap(slice, itertools.pairwise(ends)))
            order = order[ends[-1] :]

    def _own_rows(self, chunk: Tensor) -> Tensor:
        return chunk[self.ranks.own_part(len(chunk))]

    def _look_up(self, numbers: Tensor) -> _Known:
        targets = self.labels.targets(numbers.to(self.labels.device)).to(self._device)
        trained = None if self.folds is None else self._folds_on_cpu[numbers] != self._network_numbers
        numbers = numbers.to(self._device)
        weight = None if self.weight is None else self.weight[numbers]
        if trained is not None:  # the network that leaves a row out gives it no weight
            shares = trained.to(self._device, torch.float32)
            weight = shares if weight is None else shares * weight
        return _Known(numbers, targets, weight, trained)

    def _train_on_stretch(self, known: _Known, slices: list[slice], batches: Iterator[Tensor], record: bool) -> Tensor:
        """Train on the next batches; give the sums of `sum_of_terms`."""
        log_probas, log_means = [], []
        for rows in slices:
            give_way()
            step = self._train_on_batch(known.at(rows), next(batches))
            log_probas.append(step.log_proba)
            log_means.append(step.log_mean)
        log_proba = torch.cat(log_probas, dim=-2)
        outputs = self._of_own_network(known.numbers, log_proba).exp()
        if self.folds is not None:
            self._note_unseen(known.numbers, outputs)
        if record:
            self.labels.record(known.numbers.to(self.labels.device), outputs)
        sizes = [rows.stop - rows.start for rows in slices]
        if known.weight is None:
            batch_weights = torch.tensor(sizes, dtype=torch.float32, device=self._device)
        else:
            batch_weights = torch.stack([weight.sum(dim=-1) for weight in known.weight.split(sizes, dim=-1)])
        prior = self.stage.class_prior
        return sum_of_terms(log_proba, known.targets, known.weight, torch.stack(log_means), batch_weights, prior)

    def _train_on_batch(self, part: _Known, x: Tensor) -> ObjectiveStep:
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
            stage.class_prior,
            stage.alpha,
            stage.beta,
            part.weight,
            self._earlier_mean(),
        )
        logits.backward(step.gradient[..., own, :])
        self.ranks.add_up_gradients(net.module_)
        self._running_mean, self._batches_seen = step.log_mean, self._batches_seen + 1
        if stage.max_grad_norm is not None:
            clip_gradients(net.module_, stage.max_grad_norm)
        if self._has_user_callbacks:
            named = TeeGenerator(net.module_.named_parameters())
            net.notify("on_grad_computed", named_parameters=named, batch=(x, part.numbers), training=True)
        net.optimizer_.step()
        if self._has_user_callbacks:
            self._tell_of_batch(part, x, step)
        return step

    def _forget_gradients(self) -> None:
        optimizer = self.net.optimizer_
        if type(optimizer).zero_grad is not torch.optim.Optimizer.zero_grad:
            optimizer.zero_grad()
            return
        for group in optimizer.param_groups:  # what it would do, in a tenth of its time
            for weight in group["params"]:
                weight.grad = None

    def _tell_of_batch(self, part: _Known, x: Tensor, step: ObjectiveStep) -> None:
        divergence, imbalance, entropy = objective_terms(step, part.targets, self.stage.class_prior, part.weight)
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

    def _note_unseen(self, numbers: Tensor, proba: Tensor) -> None:
        given = self.labels.given[numbers.to(self.labels.device)].to(proba.device)
        agreed = (proba.argmax(dim=1) == given).sum()
        self._unseen += torch.stack([agreed, torch.full_like(agreed, len(numbers))])

    def _earlier_mean(self) -> RunningMean | None:
        share = share_of_earlier(self.stage.prior_momentum, self._batches_seen) if self._batches_seen else 0.0
        return RunningMean(self._running_mean, share) if share and self._running_mean is not None else None

    def _set_rate_factor(self, factor: float) -> None:
        """Scale the learning rate; a rate that a callback has changed is scaled from where it is."""
        if factor != self._rate_factor:
            for group in self.net.optimizer_.param_groups:
                group["lr"] *= factor / self._rate_factor
            self._rate_factor = factor

    def _diverged(self, what: str) -> TrainingDivergedError:
        clip = " or set `net_params['max_grad_norm']`" if self.stage.max_grad_norm is None else ""
        remedy = f"Lower `{self.stage.lr_parameter}`{clip}, or look for extreme values in X."
        return TrainingDivergedError(f"In {self.stage.name}, the {what}. {remedy}")

    def _record_untrained(self, record: bool) -> None:
        for chunk, probas in self._evaluate(self._untrained.split(self.net.batch_size)):
            proba = self._of_own_network(chunk, probas)
            if record:
                self.labels.record(chunk.to(self.labels.device), proba)
            left_out = self._left_out[chunk]
            self._note_unseen(chunk[left_out], proba[left_out])

    def _evaluate(self, chunks: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the numbers of some rows after the other, and the outputs for them of each network."""
        to_read = [chunk.to(self.rows.number_device) for chunk in chunks]
        self.net.module_.eval()
        with torch.no_grad():
            for chunk, x in zip(chunks, self.rows.batches(to_read), strict=True):
                yield chunk.to(self._device), softmax_rows(self.net.infer(x))


def _schedulers(net: JointNet) -> Iterator[tuple[str, Any, int]]:
    """Give the learning rate schedules among the callbacks: name, torch's scheduler and batches so far."""
    for name, callback in net.callbacks_:
        if isinstance(callback, LRScheduler):
            yield name, callback.lr_scheduler_, callback.batch_idx_


def batch_sizes(n_rows: int, batch_size: int, fewest: int = 2) -> list[int]:
    """Cut rows into batches; a last batch of too few rows for batch normalisation joins the one before."""
    sizes = [batch_size] * (n_rows // batch_size)
    rest = n_rows % batch_size
    if 0 < rest < fewest and sizes:
        sizes[-1] += rest
    elif rest:
        sizes.append(rest)
    return sizes
