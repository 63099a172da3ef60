"""Where networks know too little: share of right labels before and after, on few images and on grades of one quantity.

    python benchmarks/few_rows.py --data FOLDER

Images of CIFAR-10, with the network and epochs of `suite`; and the diabetes set of scikit-learn, its target cut into
three grades of equal size, with the defaults. The given labels of some are clean, so that each change is an error.
"""

from __future__ import annotations

import argparse
import os
import warnings
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes

from noisyfit import JointOptimizationClassifier
from noisyfit.metrics import recovery_accuracy

from cifar_data import load_cifar
from results import write_json
from suite import network_params

IMAGES = [(2000, "clean"), (1000, "clean"), (1000, "symmetric_40"), (1000, "human_worse")]


def right_before_and_after(X: Any, y_given: np.ndarray, y_clean: np.ndarray, **params: Any) -> dict[str, float]:
    clf = JointOptimizationClassifier(**params).fit(X, y_given)
    after = recovery_accuracy(y_clean, clf.corrected_labels_)
    return {"given": recovery_accuracy(y_clean, y_given), "corrected": after, "doubt": clf._evidence_.doubt}


def diabetes_in_grades() -> tuple[np.ndarray, np.ndarray]:
    X, target = load_diabetes(return_X_y=True)
    return X, np.searchsorted(np.quantile(target, [1 / 3, 2 / 3]), target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("NOISYFIT_DATA"), help="folder of the data; or NOISYFIT_DATA")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    runs = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X, y = diabetes_in_grades()
        runs["diabetes in three grades"] = right_before_and_after(X, y, y, random_state=args.seed)
        for n_images, labels in IMAGES:
            data = load_cifar(args.data, labels, n_images, args.seed)
            params = network_params("cifar10_5000", args.seed)
            runs[f"{n_images} images, {labels}"] = right_before_and_after(data.X, data.y_given, data.y_clean, **params)
    for name, found in runs.items():
        print(f"{name:28}", *(f"{figure} {value:.3f}" for figure, value in found.items()), sep="  ")
    write_json("few_rows", {"seed": args.seed, "runs": runs})


if __name__ == "__main__":
    main()
