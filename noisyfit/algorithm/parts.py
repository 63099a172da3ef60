"""What the steps of a fit work with, made from its parameters and data."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..judgement.noise_matrix import noise_as_given
from ..machine.devices import use_bfloat16
from ..machine.ranks import Ranks
from ..machine.threads import one_blas_thread
from ..nets.augmentation import as_augmentation
from ..nets.ensembles import combine_networks
from ..nets.net import JointNet, build_net
from ..networks import network_factory
from ..rows.storage import choose_place
from .begin import BeginRule, Waiting
from .labels import GivenLabels, Labels
from .outputs import bytes_of_outputs, remember_outputs
from .parameters import NetSettings, resolve_batch_size
from .problem import Problem
from .state import FitState, Phase
from .trainer import NO_MEAN, Stage, Trainer

__all__ = ["Parts"]


@dataclass
class Parts:
    """Networks, trainers, labels as given, and the state to begin with.

    Parameters
    ----------
    params : JointOptimizationClassifier
        Its parameters, checked; it is left as it is.
    problem : Problem
        The data.
    generator : torch.Generator
        For the order of rows.
    ranks : Ranks
        The processes that share the batches.
    """

    params: Any
    problem: Problem
    generator: torch.Generator
    ranks: Ranks

    def start(self) -> FitState:
        """Give the state before the first epoch."""
        params, problem, given = self.params, self.problem, self.given
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
            mean=NO_MEAN,
        )

    def threads(self, net: JointNet) -> contextlib.ExitStack:
        """Compute inside the block with as many threads as a net is worth, which is not held meanwhile."""
        rows, ours = self.problem.rows, self.problem.witness is None or isinstance(self.params.witness, str)
        with contextlib.ExitStack() as stack:
            if ours:  # a witness of the user's may compute by BLAS
                stack.enter_context(one_blas_thread())
            stack.enter_context(net.threads(rows, min(net.batch_size, len(rows))))
            return stack.pop_all()

    @cached_property
    def _window(self) -> int | float:
        return min(self.params.window, self.params.max_epochs)

    @cached_property
    def _place(self) -> str:
        """Where the outputs are remembered, and with them the labels."""
        n_bytes = bytes_of_outputs(len(self.problem.codes), len(self.problem.classes), self._window)
        return choose_place(n_bytes, self.problem.device)

    @cached_property
    def given(self) -> GivenLabels:
        """Labels as given, which of them stay, and where all labels lie."""
        problem, home = self.problem, self.problem.device if self._place == "device" else torch.device("cpu")
        kept = problem.checks.answered().rows
        if problem.folds is not None:
            kept = np.union1d(kept, np.flatnonzero(problem.beyond_judgement()))
        codes, learned, fixed = (torch.from_numpy(of).to(home) for of in (problem.codes, problem.learned, kept))
        weight = None if problem.sample_weight is None else problem.sample_weight.to(home)
        return GivenLabels(codes, learned, fixed, weight, len(problem.classes))

    @cached_property
    def begin(self) -> BeginRule:
        """When labels are first updated."""
        return BeginRule(self.params.begin, self.params.max_epochs, rows_wait=self.problem.held_out is not None)

    @cached_property
    def joint_stage(self) -> Stage:
        """Step 1 of the training."""
        params = self.params
        return Stage(
            name="joint optimisation",
            lr_parameter="lr",
            alpha=params.alpha,
            beta=params.beta,
            max_grad_norm=self._net_settings.max_grad_norm,
            schedule=params.lr_schedule,
            max_epochs=params.max_epochs,
            prior_momentum=self._net_settings.prior_momentum,
        )

    @cached_property
    def retraining_stage(self) -> Stage:
        """Step 2 of the training."""
        params = self.params
        return Stage(
            name="retraining",
            lr_parameter="lr" if self._net_settings.retrain_lr is None else "net_params['retrain_lr']",
            alpha=0.0,
            beta=0.0,
            max_grad_norm=self._net_settings.max_grad_norm,
            schedule="steps",
            max_epochs=params.retrain_epochs,
        )

    def trainer(self, net: JointNet, stage: Stage) -> Trainer:
        """Give what trains a net in one of the steps."""
        problem, in_step_1 = self.problem, stage is self.joint_stage
        return Trainer(
            net,
            problem.rows,
            stage,
            self.generator,
            self.given.learned,
            problem.sample_weight,
            folds=problem.folds if in_step_1 else None,
            held_out=problem.held_out if in_step_1 else None,
            ranks=self.ranks,
        )

    def retraining_net(self) -> JointNet:
        """Give the network of step 2, initialised anew."""
        lr = self._net_settings.retrain_lr
        return self._build_net(self.params.lr if lr is None else lr, n_networks=1)

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
