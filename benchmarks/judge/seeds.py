"""Whether another seed gives the same verdict: shares of labels changed by fits that differ in `random_state` alone.

    python benchmarks/judge/seeds.py --keel FOLDER --data FOLDER

Small sets and overlapping classes are among them, where the former rules changed none or a tenth by the seed.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from noisyfit import JointOptimizationClassifier

import corpus_data
from results import write_json

PAIRS = [
    *((name, "none") for name in ("titanic", "haberman", "led7digit", "diabetes_grades", "tae", "mammographic")),
    *((name, "weak_25") for name in ("iris", "wine", "segment", "vehicle", "australian", "tae")),
    *((name, "symmetric_10") for name in ("wine", "saheart", "bupa", "banana", "carData.Chile.vote", "satimage")),
    *((name, "symmetric_30") for name in ("iris", "glass6", "crx", "dslabs.olive.area", "pima", "magic")),
    *((name, "pair_25") for name in ("vowel", "texture", "heart", "MASS.fgl.type", "sonar", "waveform5000")),
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keel", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    known = corpus_data.loaders(args.keel, args.data)
    rows = []
    for name, noise in [pair for pair in PAIRS if pair[0] in known]:
        pair = corpus_data.load(name, noise, args.keel, args.data)
        fits = [JointOptimizationClassifier(random_state=i).fit(pair.X, pair.y_given) for i in range(args.seeds)]
        changed = [float((clf.corrected_labels_ != pair.y_given).mean()) for clf in fits]
        right = [float((clf.corrected_labels_ == pair.y_clean).mean()) for clf in fits]
        rows.append({"set": name, "noise": noise, "given": float((pair.y_given == pair.y_clean).mean()),
                     "changed": changed, "spread": max(changed) - min(changed), "right": right})  # fmt: skip
        print(name, noise, np.round(changed, 3), np.round(right, 3), flush=True)
    spread = pd.DataFrame(rows)["spread"]
    none_or_tenth = sum(min(row["changed"]) == 0 and max(row["changed"]) >= 0.1 for row in rows)
    summary = {
        "fits": len(rows),
        "seeds": args.seeds,
        "share with a spread of at most 1.5 points": float((spread <= 0.015).mean()),
        "median spread": float(spread.median()),
        "largest spread": float(spread.max()),
        "between none and a tenth": int(none_or_tenth),
    }
    print(pd.Series(summary).to_string())
    write_json("judge_seeds", {"summary": summary, "runs": rows})


if __name__ == "__main__":
    main()
