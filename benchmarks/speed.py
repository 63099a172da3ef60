"""How much the library costs beside what one would write by hand or use instead.

    python benchmarks/speed.py
    python benchmarks/speed.py --races mlp_512 mlp_128 --rounds 15

Each race runs two things in turn in one process, in changing order, and reports the median of the rounds' ratios and
the ratio of the best times, which other work on the machine disturbs least; wall time and CPU time (of this process
alone, without its workers). Prints them, and writes JSON and a table; races that are not run keep the figures they had.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from results import RESULTS, write_json
from speed_cases import RACES, Race

WALL, CPU = 0, 1


def clock(run: Callable[[], Any]) -> tuple[float, float]:
    """Give wall and CPU seconds."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def hold(race: Race, rounds: int) -> dict[str, Any]:
    race.ours(), race.theirs()  # warm caches and workers
    ours, theirs = [], []
    for i in range(rounds):
        order = [(ours, race.ours), (theirs, race.theirs)]
        for times, run in order if i % 2 == 0 else reversed(order):
            times.append(clock(run))
    ratios = [a[WALL] / b[WALL] for a, b in zip(ours, theirs, strict=True)]
    cpu_ratios = [a[CPU] / max(b[CPU], 1e-9) for a, b in zip(ours, theirs, strict=True)]
    best, best_of_theirs = min(a[WALL] for a in ours), min(b[WALL] for b in theirs)
    return {
        "what": race.what,
        "against": race.against,
        "target": race.target,
        "ratio_of_bests": best / best_of_theirs,
        "median_ratio": statistics.median(ratios),
        "median_cpu_ratio": statistics.median(cpu_ratios),
        "best_seconds": best,
        "best_seconds_of_theirs": best_of_theirs,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
    }


def write_table(races: dict[str, dict[str, Any]]) -> None:
    """Write what the documentation shows."""
    with (RESULTS / "speed.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["what", "against", "target", "ratio of bests", "median", "median, CPU time", "threads"])
        for name in RACES:
            if name in races:
                race = races[name]
                ratios = [f"{race[ratio]:.2f}" for ratio in ("ratio_of_bests", "median_ratio", "median_cpu_ratio")]
                table.writerow([race["what"], race["against"], f"{race['target']:g}", *ratios, race["threads"]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", nargs="+", default=list(RACES), choices=RACES, metavar="RACE", help=", ".join(RACES))
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of refused or collapsed labels: the data are made up
    path = RESULTS / "speed.json"
    races = json.loads(path.read_text())["races"] if path.exists() else {}
    for name in args.races:
        race = RACES[name]()
        if race is None:
            print(f"{name}: not here, this processor has no fast bfloat16", flush=True)
            continue
        races[name] = result = hold(race, args.rounds)
        met = "met" if result["ratio_of_bests"] <= result["target"] else "MISSED"
        print(
            f"{result['what']}, against {result['against']}: bests {result['ratio_of_bests']:.3f}, median "
            f"{result['median_ratio']:.3f}, CPU {result['median_cpu_ratio']:.3f}; target {result['target']}, {met} "
            f"({result['best_seconds']:.2f} s)",
            flush=True,
        )
    write_json("speed", {"races": races})
    write_table(races)


if __name__ == "__main__":
    main()
