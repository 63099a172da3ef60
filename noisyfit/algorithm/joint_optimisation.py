"""Algorithm 1 of the paper: network, labels and noise matrix in turn, then a new network for the final labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..files.checkpoint import NoCheckpoint
from ..judgement.decision import Judgement, judge
from ..judgement.noise_matrix import NoiseMatrix, weigh_evidence_
from ..judgement.settling import NOTHING_JUDGED, Inquiry, published
from ..machine.devices import use_bfloat16
from ..machine.random_state import out_of_turn
from ..machine.ranks import Ranks
from ..nets.augmentation import as_augmentation
from ..nets.ensembles import combine_networks
from ..nets.net import JointNet, build_net, keep_for_prediction
from ..networks import network_factory
from ..report import TrainingLabels
from ..rows.storage import choose_place
from .begin import BeginRule
from .labels import LabelStore, bytes_of_outputs, keep_within_margin, label_rule
from .parameters import NetSettings, resolve_batch_size
from .problem import Problem
from .progress import EpochLog
from .resume import Blocks, SavedTraining, restore_labels
from .trainer import Stage, Trainer

__all__ = ["JointOptimization"]


@dataclass
class JointOptimization:
    """One fit: the only place that knows network, labels and noise matrix.

    Parameters
    ----------
    params : JointOptimizationClassifier
        Its parameters, checked; it is left as it is.
    problem : Problem
        The data.
    generator : Generator
        For the order of rows.
    log : EpochLog
        Told of each epoch.
    checkpoint : NoCheckpoint
        Where to go on from, and where to write to.
    ranks : Ranks
        The processes that share the batches.
    """

    params: Any
    problem: Problem
    generator: torch.Generator
    log: EpochLog
    checkpoint: NoCheckpoint
    ranks: Ranks

    def run(self) -> dict[str, Any]:
        """Run both steps, or what is left of them, and give the fitted attributes."""
        blocks = self._blocks
        retraining = self.checkpoint.load(step=2)
        if retraining is None:
            self._optimise_and_judge()
        else:
            with self.checkpoint.told_apart():
                if not self.params.retrain_epochs:
                    raise ValueError("it holds a state of retraining")
                restore_labels(blocks, self.problem, self.log, retraining["parts"])
        if self.params.retrain_epochs and not self.log.stopped:
            self._retrain()
        keep_for_prediction(blocks.net)
        return self._fitted_attributes()

    @cached_property
    def _blocks(self) -> Blocks:
        params, problem = self.params, self.problem
        n_classes = len(problem.classes)
        window = min(params.window, params.max_epochs)
        n_bytes = bytes_of_outputs(len(problem.codes), n_classes, window)
        place = choose_place(n_bytes, problem.device)
        home = problem.device if place == "device" else torch.device("cpu")
        kept = problem.checks.answered().rows
        if problem.folds is not None:
            kept = np.union1d(kept, np.flatnonzero(problem.beyond_judgement()))
        labels = LabelStore(
            torch.from_numpy(problem.learned).to(home),
            n_classes,
            window,
            label_rule(params.label_update, params.n_relabel),
            soft=params.label_update == "soft",
            in_file=place == "file",
            fixed=torch.from_numpy(kept).to(home) if len(kept) else None,
        )
        noise = NoiseMatrix(torch.from_numpy(problem.codes).to(home), n_classes, problem.sample_weight)
        return Blocks(self._build_net(params.lr, problem.n_networks), labels, noise)

    def _optimise_and_judge(self) -> None:
        """Step 1, and a decision about each label where outputs have not seen the given ones; not so in the paper."""
        if self.params.gamma == 0 or self.problem.folds is None:
            self._optimise()
        elif self.problem.witness is None:
            self._optimise()
            self._judge([])
        else:
            with self.problem.witness.asked_meanwhile(out_of_turn) as outputs_of_witness:
                self._optimise()
                self._judge([outputs_of_witness()])

    def _optimise(self) -> None:
        """Step 1: network, labels and noise matrix in turn."""
        params, problem, blocks = self.params, self.problem, self._blocks
        trainer = self._trainer(self._joint_stage(), problem.folds)
        begin = BeginRule(params.begin, params.max_epochs, rows_wait=problem.held_out is not None)
        if problem.held_out is not None:
            trainer.leave_out(problem.held_out)
        saved = self._saved_training(1, trainer, begin)
        with trainer.session():
            for epoch in _epochs_left(saved, params.max_epochs):
                self.log.open_epoch()
                # outputs that are older than the window would never be averaged
                record = params.window < 1 or epoch > begin.earliest - params.window
                losses = trainer.run_epoch(epoch, record)
                if record:
                    blocks.labels.close_epoch()
                if begin.after(epoch, trainer.unseen_agreement):
                    if not blocks.noise.stepped:
                        trainer.train_on_all()  # the rows held out until now join in
                    self._step_labels()
                self._close_epoch(losses, step=1, epoch=epoch)
                saved.after_epoch(epoch)

    def _joint_stage(self) -> Stage:
        params = self.params
        return Stage(
            name="joint optimisation",
            lr_parameter="lr",
            alpha=params.alpha,
            beta=params.beta,
            class_prior=self.problem.class_prior,
            max_grad_norm=self._net_settings.max_grad_norm,
            schedule=params.lr_schedule,
            max_epochs=params.max_epochs,
            prior_momentum=self._net_settings.prior_momentum,
        )

    def _step_labels(self) -> None:
        """Turn averaged outputs into labels (eq. 7), weighed by the given ones where `gamma` says so; then T."""
        labels, noise, problem = self._blocks.labels, self._blocks.noise, self.problem
        outputs = labels.average_outputs()
        if not noise.stepped:
            noise.step(outputs)  # the T of labels as given is the identity, which would keep them all
        labels.step(weigh_evidence_(outputs, self.params.gamma, problem.folds is not None, noise))
        noise.step(labels.soft_labels)
        if isinstance(self.params.class_prior, str) and self.params.class_prior == "estimated":
            problem.class_prior.copy_(noise.true_class_shares())  # the tensor that the objective holds

    def _judge(self, others: list[NDArray[np.float32]]) -> None:
        """Decide about each label by what the networks, and other witnesses, say of it that have not seen it."""
        labels, problem = self._blocks.labels, self.problem
        witnesses = [labels.average_outputs().cpu().numpy(), *others]
        labels.forget_outputs()
        weight = None if problem.sample_weight is None else problem.sample_weight.cpu().numpy()
        found = labels.share_corrected()
        # rows are dealt out by their classes; groups need not be
        folds = problem.folds.cpu().numpy() if problem.folds is not None and problem.groups is not None else None
        fixed, margin = problem.beyond_judgement(), self.params.margin
        self._blocks.judgement = judge(witnesses, problem.codes, weight, fixed, margin, folds)
        settled, _ = self._inquire(self._blocks.judgement).settled()
        labels.revise(torch.from_numpy(settled.soft_labels).to(labels.device))
        if settled.refused:
            labels.train_on_given()
        self.log.note_judgement(found, float((settled.corrected != problem.codes).mean()))

    def _inquire(self, judgement: Judgement) -> Inquiry:
        """Add what people knew of rows before the fit."""
        problem = self.problem
        return Inquiry(
            problem.codes, judgement, self.params.margin, problem.groups, problem.checks, at_fit=problem.checks
        )

    def _retrain(self) -> None:
        """Step 2: a network initialised anew learns the final labels, by L_c alone and at a decaying rate."""
        params, blocks, settings = self.params, self._blocks, self._net_settings
        stage = Stage(
            name="retraining",
            lr_parameter="lr" if settings.retrain_lr is None else "net_params['retrain_lr']",
            alpha=0.0,
            beta=0.0,
            class_prior=self.problem.class_prior,
            max_grad_norm=settings.max_grad_norm,
            schedule="steps",
            max_epochs=params.retrain_epochs,
        )
        blocks.labels.forget_outputs()
        blocks.net = self._build_net(params.lr if settings.retrain_lr is None else settings.retrain_lr, n_networks=1)
        trainer = self._trainer(stage)
        saved = self._saved_training(2, trainer, BeginRule(1, 1))
        with trainer.session():
            for epoch in _epochs_left(saved, params.retrain_epochs):
                self.log.open_epoch()
                losses = trainer.run_epoch(epoch, record=False)
                self._close_epoch(losses, step=2, epoch=epoch)
                saved.after_epoch(epoch)

    def _build_net(self, lr: float, n_networks: int) -> JointNet:
        params, rows, device, settings = self.params, self.problem.rows, self.problem.device, self._net_settings
        net = build_net(
            combine_networks(self._make_network, n_networks, settings.optimizer),
            device=device,
            bfloat16=use_bfloat16(settings.precision, device, rows.item_shape),
            augment=as_augmentation(params.augment, rows.item_shape),
            sparse=rows.sparse,
            optimizer=settings.optimizer,
            lr=lr,
            batch_size=resolve_batch_size(params.batch_size, len(rows)),
            net_params=settings.skorch,
        )
        self.ranks.share_weights(net.module_)
        self.ranks.draw_apart()
        return net

    @cached_property
    def _net_settings(self) -> NetSettings:
        return NetSettings.of(self.params.net_params)

    @cached_property
    def _make_network(self) -> Any:
        problem = self.problem
        return network_factory(
            self.params.module, self.params.module_params, problem.rows, len(problem.classes), problem.sample_weight
        )

    def _trainer(self, stage: Stage, folds: Tensor | None = None) -> Trainer:
        blocks, problem = self._blocks, self.problem
        return Trainer(
            blocks.net, problem.rows, blocks.labels, stage, self.generator, problem.sample_weight, folds, self.ranks
        )

    def _saved_training(self, step: int, trainer: Trainer, begin: BeginRule) -> SavedTraining:
        return SavedTraining(
            self.checkpoint, step, self._blocks, trainer, begin, self.log, self.generator, self.problem
        )

    def _close_epoch(self, losses: Tensor, *, step: int, epoch: int) -> None:
        """Log an epoch, and let callbacks see the fit as of now."""
        labels = self._blocks.labels
        stepped = step == 1 and len(labels.changes) > 0
        self.log.close_epoch(
            losses,
            step=step,
            epoch=epoch,
            L_o=self._blocks.noise.evidence_loss(),
            changed=len(labels.changes[-1][0]) / len(labels.codes) if stepped else 0.0,
            corrected=labels.share_corrected(),
            attributes=partial(self._fitted_attributes, copy=True),
        )

    def _fitted_attributes(self, copy: bool = False) -> dict[str, Any]:
        """Give what a fit publishes, as of now; `copy` while the labels will still change."""
        problem, labels = self.problem, self._blocks.labels
        history = self.log.history
        changes = [(rows.cpu().numpy(), new.cpu().numpy()) for rows, new in labels.changes]
        concluded, corrected = self._conclusion(copy)
        return {
            "classes_": problem.classes,
            "class_prior_": problem.class_prior.cpu().numpy().astype(np.float64),
            "history_": history,
            "n_iter_": int((history["step"] == 1).sum()),
            "net_": self._blocks.net,
            **concluded,
            "_input_kind_": problem.input_kind,
            "_training_labels_": TrainingLabels(problem.codes, corrected, problem.row_index, changes),
        }

    def _conclusion(self, copy: bool) -> tuple[dict[str, Any], NDArray[np.int64]]:
        """Give what is said of the labels, judged where there was something to judge by, and the corrected ones."""
        problem, labels, judgement = self.problem, self._blocks.labels, self._blocks.judgement
        if judgement is not None:
            inquiry = self._inquire(judgement)
            settled, promise = inquiry.settled()
            of_inquiry = {"_inquiry_": inquiry, "_promise_": promise, "_bearings_": settled.bearings}
            return published(settled, problem.codes, problem.classes) | of_inquiry, settled.corrected
        soft_labels = labels.soft_labels.cpu().numpy()
        soft_labels = soft_labels.copy() if copy else soft_labels
        known = problem.checks.answered()
        codes = keep_within_margin(soft_labels, labels.codes.cpu().numpy(), problem.codes, self.params.margin)
        codes[known.rows] = known.labels
        unjudged = {
            "corrected_labels_": problem.classes[codes],
            "noise_rate_": float(1 - soft_labels[np.arange(len(codes)), problem.codes].mean(dtype=np.float64)),
            "soft_labels_": soft_labels,
            "transition_matrix_": self._blocks.noise.matrix.numpy(),
        }
        return NOTHING_JUDGED | unjudged, codes


def _epochs_left(saved: SavedTraining, n_epochs: int) -> Iterator[int]:
    """Count the epochs that are not done yet, until a callback asks to stop."""
    for epoch in range(saved.resume() + 1, n_epochs + 1):
        if saved.log.stopped:
            break
        yield epoch
