"""What the runs of `suite` add up to, in a dozen figures.

    python benchmarks/suite_summary.py

Differences are taken on the seeds that both have run; means over seeds first, then over pairs. cleanlab is the best of
its forms that were run on a pair, chosen for each figure by the clean labels: more than a user could get from it.
Writes ``results/suite_summary.csv``, which the docs show.
"""

from __future__ import annotations

import pandas as pd

from results import RESULTS

SYNTHETIC = ("symmetric", "asymmetric", "pair")


def summarise(runs: pd.DataFrame) -> dict[str, str]:
    runs = runs.set_index(["pair", "seed"])
    ours_by_seed, plain, same_network = (runs[runs["method"] == m] for m in ("noisyfit", "plain", "cleanlab"))
    cleanlab = runs[runs["method"].str.startswith("cleanlab")].groupby(["pair", "seed"]).max(numeric_only=True)
    ours = ours_by_seed.groupby("pair").mean(numeric_only=True)

    def ahead_of(others: pd.DataFrame, figure: str) -> pd.Series:
        return (ours_by_seed[figure] - others[figure]).dropna().groupby("pair").mean()

    noisy = ours.index[ours["given"] <= 0.9]
    none = ours.index[ours.index.str.endswith("/none")]
    synthetic = ours.index[ours.index.str.split("/").str[1].str.startswith(SYNTHETIC)]
    real = ours.index.difference(synthetic).difference(none)
    ahead = ahead_of(cleanlab, "recovery").reindex(noisy).dropna()
    left = ((1 - ours_by_seed["recovery"]) / (1 - cleanlab["recovery"])).groupby("pair").mean().reindex(ahead.index)
    f1, auroc = (ahead_of(cleanlab, figure).reindex(noisy).dropna() for figure in ("f1", "auroc"))
    to_plain, to_refit, to_same = (ahead_of(others, "test") for others in (plain, cleanlab, same_network))
    rate_error = ours["noise_rate"] - (1 - ours["given"])
    ours_on_cpu, others_on_cpu = (r.loc[r["gpu"].isna(), "cpu_seconds"] for r in (ours_by_seed, same_network))
    cost = (ours_on_cpu / others_on_cpu).dropna().groupby("pair").mean()
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
        "the same, of its form with the same network": _share_won(to_same),
        "the same, where labels are wrong": _share_won(to_same.drop(none, errors="ignore")),
        "noise rate, furthest from the truth, random noise (points)": _lowest(-rate_error[synthetic].abs(), sign=-1),
        "the same, labels by people and rules (points)": _lowest(-rate_error[real].abs(), sign=-1),
        "calibration error, mean (points)": f"{100 * ours['calibration_error'].mean():.1f} ({len(ours)} pairs)",
        "CPU time, of cleanlab's with the same network, median": f"{cost.median():.2f} ({len(cost)} pairs)",
        "refused on": ", ".join(sorted({pair for pair, _ in ours_by_seed.index[ours_by_seed["refused"].notna()]})),
    }


def _lowest(points: pd.Series, sign: int = 1) -> str:
    return f"{100 * sign * points.min():.1f} on {points.idxmin()} ({len(points)} pairs)"


def _share_won(difference: pd.Series) -> str:
    return f"{int((difference > 0).sum())} of {len(difference)} pairs"


def main() -> None:
    runs = pd.read_json(RESULTS / "suite.jsonl", lines=True)
    table = pd.Series(summarise(runs), name="measured").rename_axis("figure")
    print(table.to_string())
    table.to_csv(RESULTS / "suite_summary.csv")


if __name__ == "__main__":
    main()
