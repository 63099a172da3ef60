"""What the runs of `suite` add up to, in a dozen figures.

    python benchmarks/suite_summary.py

Means over seeds first, then over pairs. cleanlab is the best of its forms that were run on a pair, chosen for each
figure by the clean labels: more than a user could get from it. Writes ``results/suite_summary.csv``, which the docs
show.
"""

from __future__ import annotations

import pandas as pd

from results import RESULTS

SYNTHETIC = ("symmetric", "asymmetric", "pair")


def load_means() -> pd.DataFrame:
    """Give the figures of each pair and method, means over the seeds of the pair."""
    runs = pd.read_json(RESULTS / "suite.jsonl", lines=True)
    runs["was_refused"] = runs["refused"].notna()
    return runs.drop(columns=["seed", "refused"]).groupby(["pair", "method"]).mean()


def summarise(means: pd.DataFrame) -> dict[str, str]:
    ours, plain = (means.xs(method, level="method") for method in ("noisyfit", "plain"))
    cleanlab = means[means.index.get_level_values("method").str.startswith("cleanlab")].groupby("pair").max()
    noisy = ours.index[ours["given"] <= 0.9]
    none = ours.index[ours.index.str.endswith("/none")]
    synthetic = ours.index[ours.index.str.split("/").str[1].str.startswith(SYNTHETIC)]
    ahead = (ours["recovery"] - cleanlab["recovery"]).reindex(noisy).dropna()
    left = ((1 - ours["recovery"]) / (1 - cleanlab["recovery"])).reindex(ahead.index)
    f1 = (ours["f1"] - cleanlab["f1"]).reindex(noisy).dropna()
    auroc = (ours["auroc"] - cleanlab["auroc"]).reindex(noisy).dropna()
    to_plain = (ours["test"] - plain["test"]).dropna()
    to_refit = (ours["test"] - cleanlab["test"]).dropna()
    rate_error = (ours["noise_rate"] - (1 - ours["given"]))[synthetic]
    cost = (ours["cpu_seconds"] / means.xs("cleanlab", level="method")["cpu_seconds"]).dropna()
    return {
        "labels made worse, most (points)": _lowest(ours["recovery"] - ours["given"]),
        "labels changed without noise, most (points)": _lowest(-ours["changed"][none], sign=-1),
        "labels right, higher than cleanlab's on": _share_won(ahead),
        "labels right, least ahead of cleanlab (points)": _lowest(ahead),
        "label errors left, of cleanlab's, mean": f"{left.mean():.0%}",
        "F1 of suspects, ahead of cleanlab, mean (points)": f"{100 * f1.mean():.1f} ({len(f1)} pairs)",
        "AUROC, higher than cleanlab's on": _share_won(auroc),
        "test accuracy, least ahead of plain training (points)": _lowest(to_plain),
        "the same without noise (points)": _lowest(to_plain.reindex(none).dropna()),
        "test accuracy, higher than cleanlab's on": _share_won(to_refit),
        "noise rate, furthest from the truth (points)": _lowest(-rate_error.abs(), sign=-1),
        "calibration error, mean (points)": f"{100 * ours['calibration_error'].mean():.1f} ({len(ours)} pairs)",
        "CPU time, of cleanlab's with the same network, median": f"{cost.median():.2f} ({len(cost)} pairs)",
        "refused on": ", ".join(ours.index[ours["was_refused"] > 0]) or "no pair",
    }


def _lowest(points: pd.Series, sign: int = 1) -> str:
    return f"{100 * sign * points.min():.1f} on {points.idxmin()} ({len(points)} pairs)"


def _share_won(difference: pd.Series) -> str:
    return f"{int((difference > 0).sum())} of {len(difference)} pairs"


def main() -> None:
    table = pd.Series(summarise(load_means()), name="measured").rename_axis("figure")
    print(table.to_string())
    table.to_csv(RESULTS / "suite_summary.csv")


if __name__ == "__main__":
    main()
