"""Algorithm 1 of the paper, from top to bottom: network, labels and noise matrix in turn, then a new network.

Numbers of equations are the paper's. A step takes the state of the fit and gives the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..judgement.decision import judge
from ..judgement.noise_matrix import estimate_noise, weigh_evidence_
from ..machine.random_state import out_of_turn
from ..nets.net import keep_for_prediction
from .begin import Waiting
from .conclusion import fitted_attributes, inquire
from .labels import label_rule, next_labels
from .parts import Parts
from .progress import EpochLog
from .saving import SavedFit
from .state import FitState, Phase
from .trainer import NO_MEAN, EpochEnd, Trainer

__all__ = ["JointOptimization"]


@dataclass
class JointOptimization:
    """One fit.

    Parameters
    ----------
    parts : Parts
        What it works with, by parameters and data.
    log : EpochLog
        Told of each epoch.
    saved : SavedFit
        Where to go on from, and where to write to.
    """

    parts: Parts
    log: EpochLog
    saved: SavedFit

    def __post_init__(self) -> None:
        self.params, self.problem, self.given = self.parts.params, self.parts.problem, self.parts.given

    def run(self) -> dict[str, Any]:
        """Run both steps, or what is left of them, and give the fitted attributes."""
        state, retrains = self.parts.start(), self.params.retrain_epochs > 0
        with self.parts.threads(state.net):
            if retrains and self.saved.is_in_step(2):
                state = self._without_outputs(state)
            else:
                state = self._optimise_and_judge(state)
            if retrains and not state.stopped:
                state = self._with_new_network(state)  # in place of the networks of step 1, which nothing holds now
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
        trainer = self.parts.trainer(state.net, self.parts.joint_stage)
        with trainer.session():
            state = self._resumed(state, self.params.max_epochs)
            while state.epoch < self.params.max_epochs and not state.stopped:
                self.log.open_epoch()
                state, end = self._theta_step(state, trainer)
                if state.phase is Phase.MOVING or self.parts.begin.begins_after(state.epoch, state.waiting):
                    state = self._t_step(self._y_step(state))
                state = self._close_epoch(state, end)
        return state

    def _theta_step(self, state: FitState, trainer: Trainer) -> tuple[FitState, EpochEnd]:
        """Train the network for an epoch on eq. 3, labels fixed; record its outputs."""
        epoch, params = state.epoch + 1, self.params
        # outputs that are older than the window would never be averaged
        records = params.window < 1 or epoch > self.parts.begin.earliest - params.window
        outputs = state.outputs if records else None
        all_rows = state.phase is not Phase.GIVEN
        end = trainer.run_epoch(epoch, state.labels, state.class_prior, outputs, all_rows, state.mean)
        waiting = self.parts.begin.wait(state.waiting, end.unseen_agreement)
        return state.after(epoch=epoch, waiting=waiting, mean=end.mean), end

    def _y_step(self, state: FitState) -> FitState:
        """Turn averaged outputs into labels (eqs 6 and 7), weighed by the given labels where `gamma` says so."""
        given, noise = self.given, state.noise
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
        noise = estimate_noise(state.labels.distributions(), self.given.codes, self.given.weight)
        prior = self.params.class_prior
        if isinstance(prior, str) and prior == "estimated":
            shares = noise.true_class_shares().to(state.class_prior.device, torch.float32)
            return state.after(noise=noise, class_prior=shares)
        return state.after(noise=noise)

    def _judge(self, state: FitState, others: list[NDArray[np.float32]]) -> FitState:
        """Decide about each label by what the networks, and other witnesses, say of it that have not seen it."""
        given, problem, margin = self.given, self.problem, self.params.margin
        assert state.outputs is not None
        if not state.outputs.n_epochs:  # a callback has stopped the fit before there were any
            return self._without_outputs(state)
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
        trainer = self.parts.trainer(state.net, self.parts.retraining_stage)
        with trainer.session():
            state = self._resumed(state, self.params.retrain_epochs)
            while state.epoch < self.params.retrain_epochs and not state.stopped:
                self.log.open_epoch()
                end = trainer.run_epoch(state.epoch + 1, state.labels, state.class_prior)
                state = self._close_epoch(state.after(epoch=state.epoch + 1), end)
        return state

    # between epochs

    def _resumed(self, state: FitState, max_epochs: int) -> FitState:
        state = self.saved.resumed(state, max_epochs)
        self.log.go_on_after(state.history)
        return state

    def _with_new_network(self, state: FitState) -> FitState:
        net = self.parts.retraining_net()
        return state.after(phase=Phase.RETRAINING, epoch=0, net=net, waiting=Waiting(), mean=NO_MEAN)

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
            "labels_corrected": state.labels.share_beside(self.given.learned),
            "seconds": self.log.seconds(),
        }
        state = state.after(history=(*state.history, row))
        attributes = partial(fitted_attributes, state, self.problem, self.params.margin)
        state = state.after(stopped=self.log.close_epoch(state.history, attributes))
        self.saved.write(state)
        return state
