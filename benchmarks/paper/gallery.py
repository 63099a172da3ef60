"""Gallery: which images change their label, the most and the least certain changes.

python benchmarks/paper/gallery.py --data FOLDER
"""

from __future__ import annotations

from typing import Any

import numpy as np

from noisyfit.displays import LabelGalleryDisplay

from harness import Budget, Result, Settings, Study, main
from joint import fit

N_OF_EACH = 20
CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def runs(budget: Budget, seeds: list[int]) -> list[Settings]:
    return [{"labels": "human_worse", "seed": seeds[0]}]


def run(settings: Settings, budget: Budget) -> Result:
    data = budget.load(settings["labels"], settings["seed"])
    clf, result = fit(budget, data, settings["seed"])
    report = clf.label_report()
    changed = report[report["is_label_issue"]].sort_values("confidence", ascending=False)
    changed["true_label"] = data.y_clean[changed.index]
    return {
        "recovery": result["recovery"],
        "n_changed": len(changed),
        "rightly": float((changed["corrected_label"] == changed["true_label"]).mean()),
        "shown": [
            {"image": int(row), **values}
            for part in (changed.head(N_OF_EACH), changed.tail(N_OF_EACH).iloc[::-1])
            for row, values in part[["given_label", "corrected_label", "true_label", "confidence"]].T.to_dict().items()
        ],
    }


def draw(done: list[tuple[Settings, Result]], budget: Budget) -> Any:
    ((settings, result),) = done
    images = budget.load(settings["labels"], settings["seed"]).X.transpose(0, 2, 3, 1)
    captions = [
        f"{CLASSES[int(shown['given_label'])]} →\n{CLASSES[int(shown['corrected_label'])]} {shown['confidence']:.0%}"
        + ("" if shown["corrected_label"] == shown["true_label"] else f"\n({CLASSES[int(shown['true_label'])]})")
        for shown in result["shown"]
    ]
    rows = np.array([shown["image"] for shown in result["shown"]])
    display = LabelGalleryDisplay(images[rows], captions, N_OF_EACH).plot()
    title = "Human labels changed, with their confidence; in brackets the true class where it is another"
    display.ax_.set_title(f"{title}\n{result['n_changed']} changed, {result['rightly']:.0%} of them rightly", pad=14)
    return display.figure_


if __name__ == "__main__":
    main(Study("gallery", runs, run, draw))
