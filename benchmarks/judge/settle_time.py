"""Seconds that checks take on many rows: choosing rows to look at, and settling the others by fifty answers.

    python benchmarks/judge/settle_time.py [--rows 1000000] [--classes 10]

Probabilities are made up; no network is needed. Writes results/settle_time.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from made_up_labels import judged

from results import write_json

RUNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=10)
    args = parser.parse_args()
    verdict, true = judged(args.rows, args.classes)
    seconds: dict[str, list[float]] = {"rows_to_check": [], "settle": []}
    for _ in range(RUNS):
        verdict.settle({})
        start = time.perf_counter()
        rows = verdict.rows_to_check(50).index
        seconds["rows_to_check"].append(time.perf_counter() - start)
        start = time.perf_counter()
        verdict.settle({row: true[row] for row in rows})
        seconds["settle"].append(time.perf_counter() - start)
    medians = {name: round(float(np.median(times)), 3) for name, times in seconds.items()}
    print(medians, {name: [round(x, 2) for x in times] for name, times in seconds.items()})
    write_json("settle_time", {"rows": args.rows, "classes": args.classes, "runs": RUNS, "median seconds": medians})


if __name__ == "__main__":
    main()
