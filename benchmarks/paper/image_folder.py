"""A folder of images with labels from the web, one folder per class: the recipe for sets such as Clothing1M.

Clothing1M (one million photos, 14 classes, labels from the words around them) cannot be had freely. Those who have it
put its photos into one folder per noisy label, and the test photos into one per true label:

    python benchmarks/paper/image_folder.py --train FOLDER --test FOLDER --size 224 --epochs 10 --workers 8

Without --train it makes a small folder of CIFAR-10 images with human labels, to show that the recipe runs; 600 images
are too few to learn from:

    python benchmarks/paper/image_folder.py --data FOLDER
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from noisyfit import JointOptimizationClassifier
from noisyfit.metrics import recovery_accuracy

from harness import load_cifar


class ImageFolder(torch.utils.data.Dataset):
    """Images of a folder with one folder per class, scaled and cut to squares of `size`; labels are in `y`."""

    def __init__(self, folder: Path, size: int):
        self.paths = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        self.y = np.array([path.parent.name for path in self.paths])
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        with Image.open(self.paths[i]) as image:
            image.draft("RGB", (self.size, self.size))  # decode no more of a JPEG than is needed
            square = ImageOps.fit(image.convert("RGB"), (self.size, self.size))
        return torch.from_numpy(np.array(square)).permute(2, 0, 1)


def fit(train: ImageFolder, args: argparse.Namespace) -> JointOptimizationClassifier:
    """Fit with the authors' settings for asymmetric noise; a network of one's own belongs here, pretrained say."""
    workers = {"iterator_train__num_workers": args.workers, "iterator_valid__num_workers": args.workers}
    paper = JointOptimizationClassifier.paper_params("asymmetric", rate=0.4)
    paper |= {"max_epochs": args.epochs, "begin": max(1, args.epochs // 3), "retrain_epochs": args.epochs // 2}
    for name in ("precision", "retrain_lr"):  # what is fast here, and the rate of the first step
        del paper["net_params"][name]
    paper |= {"module": None, "augment": "crop_flip", "lr": args.lr, "net_params": paper["net_params"] | workers}
    return JointOptimizationClassifier(**paper, random_state=0, verbose=1).fit(train, train.y)


def write_small_folder(folder: Path, data: str | None) -> dict[Path, str]:
    """Write CIFAR-10 images by their human label, and test images by their true one; give the true labels by path."""
    cifar = load_cifar(data, "human_worse", 600, seed=0)
    true = {}
    for part, images, labels in (("train", cifar.X, cifar.y_given), ("test", cifar.X_test[::33], cifar.y_test[::33])):
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / part / str(label) / f"{i:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(path)
            if part == "train":
                true[path] = str(cifar.y_clean[i])
    return true


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, help="one folder per noisy label")
    parser.add_argument("--test", type=Path, help="one folder per true label")
    parser.add_argument("--data", help="without --train: folder of cifar10_jpeg.npz; default: NOISYFIT_DATA")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--lr", type=float, default=0.03)
    parser.add_argument("--workers", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        true = {} if args.train else write_small_folder(Path(made), args.data)
        train = ImageFolder(args.train or Path(made) / "train", args.size)
        clf = fit(train, args)
        print(clf.summary())
        if args.test or not args.train:
            test = ImageFolder(args.test or Path(made) / "test", args.size)
            print(f"right on {len(test)} test images: {clf.score(test, test.y):.1%}")
        if true:
            recovery = recovery_accuracy([true[path] for path in train.paths], clf.corrected_labels_)
            print(f"right labels: {recovery:.1%}")


if __name__ == "__main__":
    main()
