"""Cross entropy against joint optimisation on a CIFAR-10 subset: same network, rows, settings and epochs.

    python benchmarks/cifar10n.py --data FOLDER --subset 5000 --epochs 40 --labels human_worse --seeds 0 1
    OMP_NUM_THREADS=1 torchrun --nproc-per-node=2 benchmarks/cifar10n.py --data FOLDER --subset 50000 --epochs 23 \
        --network fast --widths 32 64 128 --whiten --crop --one-cycle --begin 1.0 --methods noisyfit --seeds 0 \
        --score-last

Prints, for each method and seed and as mean and spread, the test accuracy of the best and the last epoch, the
recovery accuracy and how well the report finds the wrong labels; writes the same as JSON. 'best' picks the epoch by
test accuracy, which no user can: only 'last' is what one gets, or 'mirrored', for which each test image and its mirror
image are predicted. ``--score-last`` leaves 'best' out, and the time that scoring takes. With several processes under
torchrun the first one prints and writes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn

from noisyfit import JointOptimizationClassifier
from noisyfit.metrics import label_error_scores, recovery_accuracy
from noisyfit.rows.rows import as_rows

from cifar_data import LABEL_KINDS, Cifar, load_cifar
from results import mean_and_spread, write_json

# All methods share all settings but these; plain cross entropy is joint optimisation without its two terms, whose
# labels are replaced once, after the last epoch, so that its report exists. 'joint optimisation' is the paper's step 1
# with the weights, the clipping and the decaying rate of the library.
SHARED = {"lr": 0.1, "net_params": {"optimizer__momentum": 0.9, "optimizer__weight_decay": 5e-4}, "batch_size": 128}
PAPER = {"cross_fit": 0, "class_prior": "uniform"}
METHODS = {
    "cross entropy": {**PAPER, "alpha": 0.0, "beta": 0.0},
    "joint optimisation": {**PAPER, "begin": 0.3},
    "noisyfit": {},
}


class SlimNet(nn.Sequential):
    """Five convolutions behind a space-to-depth stem: memorises 5,000 images in a minute of CPU time."""

    def __init__(self, n_classes: int, widths=(24, 48, 48, 96, 96)):
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
        width_in = 12
        for i, width in enumerate(widths):
            layers += [nn.Conv2d(width_in, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if i in (1, 3) else []
            width_in = width
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width_in, n_classes))


class FastNet(nn.Sequential):
    """Few large convolutions behind a stem of 2 x 2: much arithmetic in few operations.

    `stem`, of shape (24, 3, 2, 2), holds weights of the first convolution, which then does not learn.
    """

    def __init__(self, n_classes: int, widths: tuple[int, ...] = (64, 256, 256), stem: torch.Tensor | None = None):
        first = nn.Conv2d(3, 24, 2, bias=False)
        layers: list[nn.Module] = [first, nn.BatchNorm2d(24), nn.GELU()]
        for width_in, width in itertools.pairwise((24, *widths)):
            layers += [nn.Conv2d(width_in, width, 3, padding=1, bias=False), nn.MaxPool2d(2)]
            layers += [nn.BatchNorm2d(width), nn.GELU()]
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.GELU()]
        super().__init__(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(widths[-1], n_classes))
        for convolution in [layer for layer in layers if isinstance(layer, nn.Conv2d)][1:]:
            nn.init.dirac_(convolution.weight.data[: convolution.in_channels])  # hands its input on: learns at once
        if stem is not None:
            first.weight = nn.Parameter(stem.clone(), requires_grad=False)


def whitening_stem(X: np.ndarray, n_images: int = 2000) -> torch.Tensor:
    """Give weights (24, 3, 2, 2) whose outputs are uncorrelated and of equal variance, each with its negative."""
    pixels = torch.from_numpy(X[:n_images]).float() / 255
    patches = (pixels - pixels.mean(dim=(0, 2, 3), keepdim=True)).unfold(2, 2, 1).unfold(3, 2, 1)
    patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
    whitening = (directions / (variances + 3e-5).sqrt()).T.reshape(12, 3, 2, 2)
    return torch.cat([whitening, -whitening])


NETWORKS = {"slim": SlimNet, "fast": FastNet}


def flip(x: torch.Tensor) -> torch.Tensor:
    """Mirror half of the images."""
    mirrored = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
    return torch.where(mirrored, x.flip(3), x)


class TestAccuracy(Callback):
    """Test accuracy after every epoch, for scoring only."""

    def __init__(self, data: Cifar):
        self.data = data

    def on_train_begin(self, net, **kwargs):
        self.rows, self.by_epoch = as_rows(self.data.X_test, torch.device(net.device)), []

    def on_epoch_end(self, net, **kwargs):
        predicted = net.predict_proba(self.rows).argmax(axis=1)
        self.by_epoch.append(float((predicted == self.data.y_test).mean()))


def run(method: str, data: Cifar, args: argparse.Namespace, seed: int) -> dict[str, float]:
    accuracy = TestAccuracy(data)
    params = {**SHARED, **METHODS[method], "max_epochs": args.epochs, "random_state": seed}
    params["augment"] = "crop_flip" if args.crop else flip
    if method == "cross entropy":
        params["begin"] = args.epochs
    if method == "noisyfit" and args.begin is not None:
        params["begin"] = args.begin
    callbacks = [] if args.score_last else [accuracy]
    if args.one_cycle:
        params["lr_schedule"] = "one_cycle"
    params["module"] = NETWORKS[args.network]
    params["module_params"] = {"widths": tuple(args.widths)} if args.widths else {}
    if args.whiten:
        params["module_params"]["stem"] = whitening_stem(data.X)
    params["net_params"] = SHARED["net_params"] | {"callbacks": callbacks}
    clf = JointOptimizationClassifier(**params)
    start = time.perf_counter()
    clf.fit(data.X, data.y_given)
    seconds = time.perf_counter() - start
    return {
        **({} if args.score_last else {"test_best": max(accuracy.by_epoch)}),
        "test_last": clf.score(data.X_test, data.y_test),
        "test_mirrored": mirrored_accuracy(clf, data),
        "given_right": recovery_accuracy(data.y_clean, data.y_given),
        "recovery": recovery_accuracy(data.y_clean, clf.corrected_labels_),
        **label_error_scores(data.y_clean, data.y_given, clf.label_report()),
        "noise_rate_estimate": clf.noise_rate_,
        "seconds" if args.score_last else "seconds_with_scoring": seconds,
    }


def mirrored_accuracy(clf: JointOptimizationClassifier, data: Cifar) -> float:
    """Test accuracy of the mean prediction for an image and its mirror image."""
    proba = clf.predict_proba(data.X_test) + clf.predict_proba(np.ascontiguousarray(data.X_test[..., ::-1]))
    return float((clf.classes_[proba.argmax(axis=1)] == data.y_test).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of cifar10_jpeg.npz; default: the environment variable NOISYFIT_DATA")
    parser.add_argument("--subset", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--labels", default="human_worse", help=LABEL_KINDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--network", default="slim", choices=NETWORKS)
    parser.add_argument("--widths", type=int, nargs="+", help="of slim's five convolutions or fast's three stages")
    parser.add_argument("--whiten", action="store_true", help="fast's first convolution whitens and does not learn")
    parser.add_argument("--crop", action="store_true", help="crop as well as mirror")
    parser.add_argument("--begin", type=float, help="noisyfit's first update, as a share of the epochs")
    parser.add_argument("--one-cycle", action="store_true", help="a rate that rises and falls, for all methods")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, metavar="METHOD")
    parser.add_argument("--score-last", action="store_true", help="test accuracy after the last epoch only")
    args = parser.parse_args()
    if args.whiten and args.network != "fast":
        parser.error("--whiten needs --network fast")
    runs = {method: [] for method in args.methods}
    is_first = int(os.environ.get("RANK", 0)) == 0
    for seed in args.seeds:
        data = load_cifar(args.data, args.labels, args.subset, seed)
        for method in args.methods:
            runs[method].append(run(method, data, args, seed))
            if is_first:
                print(f"seed {seed}, {method}:", {k: round(v, 4) for k, v in runs[method][-1].items()}, flush=True)
    if is_first:
        show_and_write(runs, args)


def show_and_write(runs: dict[str, list[dict[str, float]]], args: argparse.Namespace) -> None:
    print(f"\n{args.labels}, {args.subset} images, {args.epochs} epochs, seeds {args.seeds}: mean (spread)")
    for name in runs[args.methods[0]][0]:
        print(f"{name:22}", *(f"{method}: {mean_and_spread([r[name] for r in runs[method]])}" for method in runs))
    shown = {k: v for k, v in vars(args).items() if k != "data"}
    special = [args.network] * (args.network != "slim") + ["crop"] * args.crop + ["one_cycle"] * args.one_cycle
    write_json(
        "_".join(map(str, ["cifar10n", args.labels, args.subset, args.epochs, *special])),
        {"settings": shown, "shared": SHARED, "methods": METHODS, "runs": runs},
    )


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
