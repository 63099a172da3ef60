"""What `speed.py` runs against each other: ours, and what a competent person would write or use instead."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from skorch import NeuralNetClassifier
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from noisyfit import JointOptimizationClassifier
from noisyfit.losses import joint_loss, objective_gradient
from noisyfit.machine.devices import use_bfloat16
from noisyfit.nets.augmentation import crop_flip

from cifar10n import SlimNet
from made_up import draw_table, mlp

ALPHA, BETA, WINDOW, BEGIN = 0.8, 0.4, 10, 2
# the method of the paper: the hand-written loops do the same, step by step
PAPER = {
    "alpha": ALPHA,
    "beta": BETA,
    "begin": BEGIN,
    "window": WINDOW,
    "cross_fit": 0,
    "class_prior": "uniform",
    "lr_schedule": "constant",
    "net_params": {"max_grad_norm": None},
    "random_state": 0,
    "device": "cpu",
}
PLAIN = PAPER | {"alpha": 0.0, "beta": 0.0}


class Race(NamedTuple):
    """Two things to time in turn."""

    what: str
    against: str
    target: float
    ours: Callable[[], Any]
    theirs: Callable[[], Any]


def images(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(256, size=(n_rows, 3, 32, 32), dtype=np.uint8), rng.integers(10, size=n_rows)


def fit_by_hand(
    network: nn.Module,
    x: Tensor,
    y: np.ndarray,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    prepare: Callable[[Tensor], Tensor] | None = None,
    layout: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """Algorithm 1 of the paper as a loop over tensors, with the library's loss; gives the corrected labels."""
    network = copy.deepcopy(network).train().to(memory_format=layout)
    optimizer = torch.optim.SGD(network.parameters(), lr)
    n_rows, n_classes = len(x), 10
    labels = nn.functional.one_hot(torch.from_numpy(y), n_classes).float()
    prior = torch.full((n_classes,), 1 / n_classes)
    outputs = torch.empty(WINDOW, n_rows, n_classes)
    for epoch in range(epochs):
        for rows in torch.randperm(n_rows).split(batch_size):
            batch = x[rows] if prepare is None else prepare(x[rows]).contiguous(memory_format=layout)
            optimizer.zero_grad(set_to_none=True)
            logits = network(batch)
            step = objective_gradient(logits, labels[rows], prior, ALPHA, BETA)
            logits.backward(step.gradient)
            optimizer.step()
            outputs[epoch % WINDOW].index_copy_(0, rows, step.proba)
        if epoch + 1 >= BEGIN:
            labels = outputs[: min(epoch + 1, WINDOW)].mean(dim=0)
    return labels.argmax(dim=1)


def fit_of_mlp(batch_size: int) -> Race:
    (X, y), network = draw_table(100_000), mlp()
    shared = {"batch_size": batch_size, "lr": 0.05}
    clf = JointOptimizationClassifier(network, max_epochs=5, **shared, **PAPER)
    x = torch.from_numpy(X)
    return Race(
        f"fit, MLP 64-128-128-10, 100,000 rows, batch {batch_size}",
        "a hand-written loop over tensors",
        1.05,
        lambda: clf.fit(X, y),
        lambda: fit_by_hand(network, x, y, epochs=5, **shared),
    )


def prepare_images(batch: Tensor) -> Tensor:
    return crop_flip(batch.float().div_(255))


def fit_of_cnn(precision: str = "float32", target: float = 1.02, channels_last: bool = True) -> Race:
    X, y = images(2_000)
    network, shared = SlimNet(10), {"batch_size": 128, "lr": 0.05}
    params = PAPER | {"net_params": PAPER["net_params"] | {"precision": precision}}
    clf = JointOptimizationClassifier(network, max_epochs=2, augment="crop_flip", **shared, **params)
    x, layout = torch.from_numpy(X), torch.channels_last if channels_last else torch.contiguous_format
    return Race(
        f"fit, CNN on 32 x 32 images, crop and flip, batch 128, {precision}",
        f"a hand-written loop over tensors in float32, {'channels last' if channels_last else 'default layout'}",
        target,
        lambda: clf.fit(X, y),
        lambda: fit_by_hand(network, x, y, epochs=2, prepare=prepare_images, layout=layout, **shared),
    )


def fit_of_cnn_in_bfloat16(channels_last: bool) -> Race | None:
    return fit_of_cnn("auto", 0.5, channels_last) if _bfloat16_is_fast() else None


def _bfloat16_is_fast() -> bool:
    return use_bfloat16("auto", torch.device("cpu"), (3, 32, 32))


def against_skorch() -> Race:
    (X, y), network = draw_table(100_000), mlp()
    shared = {"batch_size": 512, "lr": 0.05, "max_epochs": 5}
    clf = JointOptimizationClassifier(network, **shared, **PAPER)
    net = NeuralNetClassifier(
        network, criterion=nn.CrossEntropyLoss, train_split=None, iterator_train__shuffle=True, verbose=0, **shared
    )
    return Race(
        "fit, MLP, 100,000 rows, batch 512",
        "skorch with cross entropy",
        0.55,
        lambda: clf.fit(X, y),
        lambda: net.fit(X, y),
    )


class PilImages(Dataset):
    """Images that are cropped, mirrored and normalised one at a time, as data sets of torchvision are."""

    def __init__(self, X: np.ndarray):
        self.X = X.transpose(0, 2, 3, 1)

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        image = ImageOps.expand(Image.fromarray(self.X[i]), border=4)
        left, top = torch.randint(0, 9, (2,)).tolist()
        image = image.crop((left, top, left + 32, top + 32))
        if torch.rand(()) < 0.5:
            image = ImageOps.mirror(image)
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)
        return (tensor - 0.5) / 0.25, i


def textbook_loss(logits: Tensor, labels: Tensor, prior: Tensor, alpha: float, beta: float) -> Tensor:
    """Eq. 3 as the paper writes it down."""
    proba = logits.softmax(dim=1)
    divergence = nn.functional.kl_div(logits.log_softmax(dim=1), labels, reduction="batchmean")
    mean = proba.mean(dim=0)
    imbalance = (prior * (prior / mean).log()).sum()
    entropy = -(proba * logits.log_softmax(dim=1)).sum(dim=1).mean()
    return divergence + alpha * imbalance + beta * entropy


def fit_through_pil(network: nn.Module, X: np.ndarray, y: np.ndarray, *, epochs: int, batch_size: int, lr: float):
    """The data path of the published port: images one at a time, four workers, outputs kept in NumPy."""
    network = copy.deepcopy(network).train()
    optimizer = torch.optim.SGD(network.parameters(), lr)
    labels = np.eye(10, dtype=np.float32)[y]
    outputs = np.zeros((len(y), WINDOW, 10), dtype=np.float32)
    prior = torch.full((10,), 0.1)
    for epoch in range(epochs):
        for batch, rows in DataLoader(PilImages(X), batch_size=batch_size, shuffle=True, num_workers=4):
            optimizer.zero_grad()
            logits = network(batch)
            textbook_loss(logits, torch.from_numpy(labels[rows]), prior, ALPHA, BETA).backward()
            optimizer.step()
            outputs[rows, epoch % WINDOW] = logits.detach().softmax(dim=1).numpy()
        if epoch + 1 >= BEGIN:
            labels = outputs[:, : min(epoch + 1, WINDOW)].mean(axis=1)
    return labels.argmax(axis=1)


def against_pil() -> Race:
    X, y = images(2_000)
    network, shared = SlimNet(10), {"batch_size": 128, "lr": 0.05}
    clf = JointOptimizationClassifier(network, max_epochs=2, augment="crop_flip", **shared, **PAPER)
    fast = _bfloat16_is_fast()
    return Race(
        f"fit, CNN with crop and flip, {'bfloat16' if fast else 'float32'}",
        "images through PIL, four workers",
        0.4 if fast else 0.75,
        lambda: clf.fit(X, y),
        lambda: fit_through_pil(network, X, y, epochs=2, **shared),
    )


def against_cleanlab() -> Race:
    from cleanlab.classification import CleanLearning

    (X, y), network = draw_table(50_000), mlp()
    shared = {"batch_size": 512, "lr": 0.05, "max_epochs": 5}
    clf = JointOptimizationClassifier(network, **shared, **PAPER)
    plain = JointOptimizationClassifier(network, **shared, **PLAIN | {"begin": shared["max_epochs"]})

    def clean() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return CleanLearning(plain, seed=0).fit(X, y).get_label_issues()

    return Race(
        "corrected labels, 50,000 rows, one network", "cleanlab's CleanLearning", 0.25, lambda: clf.fit(X, y), clean
    )


def loss_of_batch(n_rows: int, target: float) -> Race:
    torch.manual_seed(0)
    logits = torch.randn(n_rows, 10, requires_grad=True)
    labels, prior = torch.rand(n_rows, 10).softmax(dim=1), torch.full((10,), 0.1)

    def repeat(loss: Callable[..., Tensor]) -> None:
        for _ in range(500):
            logits.grad = None
            loss(logits, labels, prior, ALPHA, BETA).backward()

    name = f"joint loss, forward and backward, {n_rows} x 10"
    return Race(name, "the textbook form", target, lambda: repeat(joint_loss), lambda: repeat(textbook_loss))


def cross_fitting(width: int, epochs: int, target: float) -> Race:
    (X, y), network = draw_table(5_000), mlp(width=width)
    shared = PAPER | {"batch_size": 128, "lr": 0.05, "max_epochs": epochs}
    one = JointOptimizationClassifier(network, **shared)
    five = JointOptimizationClassifier(network, **shared | {"cross_fit": 5})
    name = f"fit, five networks side by side, 64-{width}-{width}-10, 5,000 rows, {epochs} epochs"
    return Race(name, "one network", target, lambda: five.fit(X, y), lambda: one.fit(X, y))


def prediction() -> Race:
    X, y = draw_table(1_000_000)
    network = mlp()
    clf = JointOptimizationClassifier(network, max_epochs=1, batch_size=512, lr=0.05, **PAPER | {"begin": 1})
    clf.fit(X[:10_000], y[:10_000])
    bare, x = clf.net_.module_, torch.from_numpy(X)

    def bare_loop() -> Tensor:
        bare.eval()
        with torch.inference_mode():
            return torch.cat([bare(batch).softmax(dim=1) for batch in x.split(4096)])

    return Race(
        "predict_proba, 1,000,000 rows", "the bare network in a loop", 1.05, lambda: clf.predict_proba(X), bare_loop
    )


def grid_search() -> Race:
    (X, y), network = draw_table(5_000), mlp()
    clf = JointOptimizationClassifier(network, batch_size=128, lr=0.05, max_epochs=10, **PAPER)
    grid = {"alpha": [0.4, 0.8, 1.2], "beta": [0.2, 0.4, 0.8]}
    folds = list(StratifiedKFold(3).split(X, y))
    search = GridSearchCV(clf, grid, cv=folds, n_jobs=2, refit=False)

    def fit_each() -> None:
        for alpha, beta in itertools.product(*grid.values()):
            for train, test in folds:
                clf.set_params(alpha=alpha, beta=beta).fit(X[train], y[train]).score(X[test], y[test])

    return Race(
        "GridSearchCV, 9 settings x 3 folds, two jobs", "27 fits in turn", 0.65, lambda: search.fit(X, y), fit_each
    )


RACES: dict[str, Callable[[], Race | None]] = {
    "mlp_512": lambda: fit_of_mlp(512),
    "mlp_128": lambda: fit_of_mlp(128),
    "cnn": fit_of_cnn,
    "cnn_bfloat16": lambda: fit_of_cnn_in_bfloat16(channels_last=False),
    "cnn_bfloat16_channels_last": lambda: fit_of_cnn_in_bfloat16(channels_last=True),
    "skorch": against_skorch,
    "pil": against_pil,
    "cleanlab": against_cleanlab,
    "loss_128": lambda: loss_of_batch(128, 0.6),
    "loss_512": lambda: loss_of_batch(512, 0.45),
    "cross_fit_128": lambda: cross_fitting(128, 20, 2.5),
    "cross_fit_256": lambda: cross_fitting(256, 10, 5.0),
    "cross_fit_1024": lambda: cross_fitting(1024, 6, 5.0),
    "prediction": prediction,
    "grid_search": grid_search,
}
