"""Algorithm 1 of the paper, from top to bottom: network, labels and noise matrix in turn, then a new network.

Numbers of equations are the paper's. A step takes the state of the fit and gives the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..judgement.decision import judge
from ..judgement.noise_matrix import estimate_noise, noise_as_given, weigh_evidence_
from ..machine.devices import use_bfloat16
from ..machine.random_state import out_of_turn
from ..machine.ranks import Ranks
from ..nets.augmentation import as_augmentation
from ..nets.ensembles import combine_networks
from ..nets.net import JointNet, build_net, keep_for_prediction
from ..networks import network_factory
from ..rows.storage import choose_place
from .begin import BeginRule, Waiting
from .conclusion import fitted_attributes, inquire
from .labels import GivenLabels, Labels, label_rule, next_labels
from .outputs import bytes_of_outputs, remember_outputs
from .parameters import resolve_batch_size
from .problem import Problem
from .progress import EpochLog
from .saving import SavedFit
from .state import FitState, Phase
from .trainer import EpochEnd, Stage, Trainer

__all__ = ["JointOptimization"]


@dataclass
class JointOptimization:
    """One fit.

    Parameters
    ----------
    params : JointOptimizationClassifier
        Its parameters, checked; it is left as it is.
    problem : Problem
        The data.
    generator : torch.Generator
        For the order of rows.
    log : EpochLog
        Told of each epoch.
    saved : SavedFit
        Where to go on from, and where to write to.
    ranks : Ranks
        The processes that share the batches.
    """

    params: Any
    problem: Problem
    generator: torch.Generator
    log: EpochLog
    saved: SavedFit
    ranks: Ranks

    def run(self) -> dict[str, Any]:
        """Run both steps, or what is left of them, and give the fitted attributes."""
        state = self._start()
        if not self.saved.is_in_step(2):
            state = self._optimise_and_judge(state)
        if self.params.retrain_epochs and not state.stopped:
            state = self._retrain(state)
        keep_for_prediction(state.net)
        return fitted_attributes(state, self.problem, self.params.margin)

    # step 1: the alternation, and a decision

    def _optimise_and_judge(self, state: FitState) -> FitState:
        """Step 1; then a decision about each label, where outputs have not seen the given ones: not so in the paper."""
        if self.params.gamma == 0 or self.problem.folds is None:
            return self._without_outputs(self._alternate(state))
        if self.problem.witness is None:
            return self._judge(self._alternate(state), [])
        with self.problem.witness.asked_meanwhile(out_of_turn) as outputs_of_witness:
            state = self._alternate(state)
            return self._judge(state, [outputs_of_witness()])

    def _alternate(self, state: FitState) -> FitState:
        """Train for an epoch, then set labels and noise matrix to what it says, until the last epoch."""
        trainer = self._trainer(state.net, self._joint_stage)
        with trainer.session():
            state = self._resumed(state)
            while state.epoch < self.params.max_epochs and not state.stopped:
                self.log.open_epoch()
                state, end = self._theta_step(state, trainer)
                if state.phase is Phase.MOVING or self._begin.begins_after(state.epoch, state.waiting):
                    state = self._t_step(self._y_step(state))
                state = self._close_epoch(state, end)
        return state

    def _theta_step(self, state: FitState, trainer: Trainer) -> tuple[FitState, EpochEnd]:
        """Train the network for an epoch on eq. 3, labels fixed; record its outputs."""
        epoch, params = state.epoch + 1, self.params
        # outputs that are older than the window would never be averaged
        records = params.window < 1 or epoch > self._begin.earliest - params.window
        outputs = state.outputs if records else None
        end = trainer.run_epoch(epoch, state.labels, state.class_prior, outputs, state.phase is not Phase.GIVEN)
        return state.after(epoch=epoch, waiting=self._begin.wait(state.waiting, end.unseen_agreement)), end

    def _y_step(self, state: FitState) -> FitState:
        """Turn averaged outputs into labels (eqs 6 and 7), weighed by the given labels where `gamma` says so."""
        given, noise = self._given, state.noise
        assert state.outputs is not None
        outputs = state.outputs.mean(out=state.labels.soft)  # for which there is memory once
        if state.phase is Phase.GIVEN:
            noise = estimate_noise(outputs, given.codes, given.weight)  # that of labels as given would keep them all
        soft = weigh_evidence_(outputs, given.codes, noise, self.params.gamma, self.problem.folds is not None)
        rule = label_rule(self.params.label_update, self.params.n_relabel)
        labels, change = next_labels(state.labels, soft, given, rule)
        return state.after(phase=Phase.MOVING, labels=labels, changes=(*state.changes, change))

    def _t_step(self, state: FitState) -> FitState:
        """Count the noise matrix from the labels; likewise the class prior, where it is estimated."""
        noise = estimate_noise(state.labels.distributions(), self._given.codes, self._given.weight)
        prior = self.params.class_prior
        if isinstance(prior, str) and prior == "estimated":
            shares = noise.true_class_shares().to(state.class_prior.device, torch.float32)
            return state.after(noise=noise, class_prior=shares)
        return state.after(noise=noise)

    def _judge(self, state: FitState, others: list[NDArray[np.float32]]) -> FitState:
        """Decide about each label by what the networks, and other witnesses, say of it that have not seen it."""
        given, problem, margin = self._given, self.problem, self.params.margin
        assert state.outputs is not None
        found = state.labels.share_beside(given.learned)
        outputs = state.outputs.mean(out=state.labels.soft).cpu().numpy()
        state = self._without_outputs(state)
        weight = None if problem.sample_weight is None else problem.sample_weight.cpu().numpy()
        # rows are dealt out by their classes; groups need not be
        folds = problem.folds.cpu().numpy() if problem.folds is not None and problem.groups is not None else None
        judgement = judge([outputs, *others], problem.codes, weight, problem.beyond_judgement(), margin, folds)
        settled, _ = inquire(judgement, problem, margin).settled()
        self.log.note_judgement(found, float((settled.corrected != problem.codes).mean()))
        if settled.refused:
            labels = state.labels._replace(codes=given.learned, soft=None)
        else:  # what was judged is published as it is, also of rows that keep their labels
            soft = torch.from_numpy(settled.soft_labels).to(given.device)
            soft = soft.clone() if len(given.fixed) else soft
            labels, _ = next_labels(state.labels, soft, given, label_rule("soft", None))
        return state.after(phase=Phase.JUDGED, labels=labels, judgement=judgement)

    # step 2

    def _retrain(self, state: FitState) -> FitState:
        """Let a network initialised anew learn the final labels, by L_c alone and at a decaying rate."""
        net = self._build_net(getattr(self.params, self._retraining_stage.lr_parameter), n_networks=1)
        trainer = self._trainer(net, self._retraining_stage)
        state = state.after(phase=Phase.RETRAINING, epoch=0, net=net, outputs=None)
        with trainer.session():
            state = self._resumed(state)
            while state.epoch < self.params.retrain_epochs and not state.stopped:
                self.log.open_epoch()
                end = trainer.run_epoch(state.epoch + 1, state.labels, state.class_prior)
                state = self._close_epoch(state.after(epoch=state.epoch + 1), end)
        return state

    # what the steps work with

    def _start(self) -> FitState:
        """Give the state before the first epoch."""
        params, problem, given = self.params, self.problem, self._given
        return FitState(
            phase=Phase.GIVEN,
            epoch=0,
            net=self._build_net(params.lr, problem.n_networks),
            labels=Labels(given.learned, None, given.n_classes, hard=params.label_update == "hard"),
            outputs=remember_outputs(
                len(problem.codes), given.n_classes, self._window, given.device, self._place == "file"
            ),
            noise=noise_as_given(given.codes, given.n_classes, given.weight),
            class_prior=problem.class_prior,
            waiting=Waiting(),
        )

    def _resumed(self, state: FitState) -> FitState:
        state = self.saved.resumed(state)
        self.log.go_on_after(state.history)
        return state

    def _without_outputs(self, state: FitState) -> FitState:
        """Free the memory of outputs, after the last labels were made from them."""
        assert state.outputs is not None
        state.outputs.forget()
        return state.after(outputs=None)

    def _close_epoch(self, state: FitState, end: EpochEnd) -> FitState:
        """Note an epoch in the history and the checkpoint, and let callbacks see the fit as of now."""
        moved = len(state.changes[-1][0]) / len(state.labels.codes) if state.phase is Phase.MOVING else 0.0
        row = {
            "step": state.phase.step,
            "epoch": state.epoch,
            **dict(zip(("loss", "L_c", "L_p", "L_e"), end.losses.tolist(), strict=True)),
            "L_o": state.noise.evidence_loss(),
            "labels_changed": moved,
            "labels_corrected": state.labels.share_beside(self._given.learned),
            "seconds": self.log.seconds(),
        }
        state = state.after(history=(*state.history, row))
        attributes = partial(fitted_attributes, state, self.problem, self.params.margin)
        state = state.after(stopped=self.log.close_epoch(state.history, attributes))
        self.saved.write(state)
        return state

    @cached_property
    def _window(self) -> int | float:
        return min(self.params.window, self.params.max_epochs)

    @cached_property
    def _place(self) -> str:
        """Where the outputs are remembered, and with them the labels."""
        n_bytes = bytes_of_outputs(len(self.problem.codes), len(self.problem.classes), self._window)
        return choose_place(self.params.label_store, n_bytes, self.problem.device)

    @cached_property
    def _given(self) -> GivenLabels:
        problem, home = self.problem, self.problem.device if self._place == "device" else torch.device("cpu")
        kept = problem.checks.answered().rows
        if problem.folds is not None:
            kept = np.union1d(kept, np.flatnonzero(problem.beyond_judgement()))
        codes, learned, fixed = (torch.from_numpy(of).to(home) for of in (problem.codes, problem.learned, kept))
        weight = None if problem.sample_weight is None else problem.sample_weight.to(home)
        return GivenLabels(codes, learned, fixed, weight, len(problem.classes))

    @cached_property
    def _begin(self) -> BeginRule:
        return BeginRule(self.params.begin, self.params.max_epochs, rows_wait=self.problem.held_out is not None)

    @cached_property
    def _joint_stage(self) -> Stage:
        params = self.params
        return Stage(
            name="joint optimisation",
            lr_parameter="lr",
            alpha=params.alpha,
            beta=params.beta,
            max_grad_norm=params.max_grad_norm,
            schedule=params.lr_schedule,
            max_epochs=params.max_epochs,
        )

    @cached_property
    def _retraining_stage(self) -> Stage:
        params = self.params
        return Stage(
            name="retraining",
            lr_parameter="lr" if params.retrain_lr is None else "retrain_lr",
            alpha=0.0,
            beta=0.0,
            max_grad_norm=params.max_grad_norm,
            schedule="steps",
            max_epochs=params.retrain_epochs,
        )

    def _trainer(self, net: JointNet, stage: Stage) -> Trainer:
        problem, in_step_1 = self.problem, stage is self._joint_stage
        return Trainer(
            net,
            problem.rows,
            stage,
            self.generator,
            self._given.learned,
            problem.sample_weight,
            folds=problem.folds if in_step_1 else None,
            held_out=problem.held_out if in_step_1 else None,
            ranks=self.ranks,
        )

    def _build_net(self, lr: float, n_networks: int) -> JointNet:
        params, rows, device = self.params, self.problem.rows, self.problem.device
        net = build_net(
            combine_networks(self._make_network, n_networks, params.optimizer),
            device=device,
            bfloat16=use_bfloat16(params.precision, device, rows.item_shape),
            augment=as_augmentation(params.augment, rows.item_shape),
            sparse=rows.sparse,
            optimizer=params.optimizer,
            optimizer_params=params.optimizer_params or {},
            lr=lr,
            batch_size=resolve_batch_size(params.batch_size, len(rows)),
            net_params=params.net_params or {},
        )
        self.ranks.share_weights(net.module_)
        self.ranks.draw_apart()
        return net

    @cached_property
    def _make_network(self) -> Any:
        problem = self.problem
        return network_factory(
            self.params.module, self.params.module_params, problem.rows, len(problem.classes), problem.sample_weight
        )
