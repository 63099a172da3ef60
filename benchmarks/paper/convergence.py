"""Does the alternation converge: the objective over all images after every θ-, Y- and T-step.

The labels are the mean of several epochs' outputs, made while training, and so not what would lower the objective
most; with the outputs of one epoch they nearly are.

    python benchmarks/paper/convergence.py --data FOLDER --jobs 2
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisyfit.algorithm.labels import GivenLabels, Labels, most_probable, next_labels
from noisyfit.algorithm.outputs import remember_outputs
from noisyfit.algorithm.trainer import Stage, Trainer
from noisyfit.judgement.noise_matrix import NoiseMatrix, estimate_noise, noise_as_given
from noisyfit.losses import class_prior_divergence, kl_classification_loss, prediction_entropy
from noisyfit.machine.devices import use_bfloat16
from noisyfit.machine.random_state import isolated_rng
from noisyfit.nets.net import JointNet, build_net
from noisyfit.rows.rows import as_rows

from harness import BATCH_SIZE, Budget, Cifar, Result, Settings, Study, main, mean_over_seeds, panels

ALPHA, BETA, BEGIN = 1.2, 0.8, 0.3
STEPS = ("θ", "Y", "T")


def runs(budget: Budget, seeds: list[int]) -> list[Settings]:
    return [{"window": window, "labels": "uniform_50", "seed": seed} for window in (1, 10) for seed in seeds]


def run(settings: Settings, budget: Budget) -> Result:
    data, device = budget.load(settings["labels"], settings["seed"]), torch.device(budget.device)
    prior = torch.full((10,), 0.1, device=device)
    stage = Stage("joint optimisation", "lr", ALPHA, BETA, 5.0, "decay", budget.epochs)
    codes = torch.from_numpy(data.y_given).to(device)
    given = GivenLabels(codes, codes, codes[:0], None, 10)
    labels, noise = Labels(codes, None, 10), noise_as_given(codes, 10)
    outputs, trace = remember_outputs(len(codes), 10, settings["window"], device), []
    with isolated_rng(settings["seed"], device) as generator:
        net = new_net(budget, data)
        trainer = Trainer(net, as_rows(data.X, device), stage, generator, codes)
        with trainer.session():
            for epoch in range(1, budget.epochs + 1):
                trainer.run_epoch(epoch, labels, prior, outputs)
                log_proba = outputs_of(net, data).log()
                trace.append({"epoch": epoch, "step": "θ", **objective(log_proba, labels, codes, noise, prior)})
                if epoch >= BEGIN * budget.epochs:
                    labels, _ = next_labels(labels, outputs.mean(), given, most_probable)
                    trace.append({"epoch": epoch, "step": "Y", **objective(log_proba, labels, codes, noise, prior)})
                    noise = estimate_noise(labels.distributions(), codes)
                    trace.append({"epoch": epoch, "step": "T", **objective(log_proba, labels, codes, noise, prior)})
    return {"trace": trace, "recovery": float((labels.codes.cpu().numpy() == data.y_clean).mean())}


def new_net(budget: Budget, data: Cifar) -> JointNet:
    device = torch.device(budget.device)
    return build_net(
        budget.make_network(),
        device=device,
        bfloat16=use_bfloat16(None, device, data.X.shape[1:]),
        augment=budget.augment,
        sparse=False,
        optimizer=torch.optim.SGD,
        lr=budget.lr,
        batch_size=BATCH_SIZE,
        net_params={"optimizer__momentum": 0.9, "optimizer__weight_decay": budget.weight_decay},
    )


def outputs_of(net: JointNet, data: Cifar) -> Tensor:
    """Give the outputs of all training images, without augmentation."""
    proba = net.predict_proba(as_rows(data.X, torch.device(net.device)))
    return torch.from_numpy(proba).clamp_min_(1e-12)


def objective(log_proba: Tensor, labels: Labels, given: Tensor, noise: NoiseMatrix, prior: Tensor) -> dict[str, float]:
    """Give the terms over all images, by the current labels and the current noise matrix."""
    targets = labels.distributions().cpu()
    log_evidence = noise.matrix.float().log()[:, given.cpu()].T
    return {
        "L_c": float(kl_classification_loss(log_proba, targets)),
        "L_p": float(class_prior_divergence(log_proba, prior.cpu())),
        "L_e": float(prediction_entropy(log_proba)),
        "L_o": -float((targets * log_evidence).sum(dim=1).mean()),
    }


def draw(done: list[tuple[Settings, Result]], budget: Budget) -> Any:
    figure, axes = panels(2, height=4)
    for ax, window in zip(axes, (1, 10), strict=True):
        (trace, *_) = [result["trace"] for settings, result in done if settings["window"] == window]
        place = dict(zip(STEPS, (0, 0.4, 0.7), strict=True))
        times = np.array([row["epoch"] + place[row["step"]] for row in trace])
        total = np.array([row["L_c"] + ALPHA * row["L_p"] + BETA * row["L_e"] for row in trace])
        ax.plot(times, total, color="grey", linewidth=0.8)
        for step, marker in zip(STEPS[:2], "ov", strict=True):
            chosen = np.array([row["step"] == step for row in trace])
            ax.plot(times[chosen], total[chosen], marker, markersize=4, label=f"after the {step}-step")
        ax.plot(times, [row["L_o"] for row in trace], ":", color="C3", label="L_o, which the T-step lowers")
        recovery = mean_over_seeds(done, "recovery", window=window)
        ax.set(xlabel="epoch", ylabel="nats", title=f"outputs of {window} epoch(s): {recovery:.1%} recovered")
        ax.legend(fontsize="small")
    figure.suptitle(f"L_c + {ALPHA} L_p + {BETA} L_e over all images, after every step")
    return figure


if __name__ == "__main__":
    main(Study("convergence", runs, run, draw))
