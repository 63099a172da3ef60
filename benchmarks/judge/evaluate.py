"""How good the judge is on tables that it has not seen, beside the former rules and cleanlab.

    python benchmarks/judge/evaluate.py                 from the corpus file; writes results/judge.json
    python benchmarks/judge/evaluate.py --kinds trees "trees and logistic"      what `judge_labels` is given
    python benchmarks/judge/evaluate.py --ablate        one feature left out at a time

Weights are learned anew with whole sources left out; all else is what the package does. Of each fit up to 280 rows are
judged; what is said of it as a whole comes from all. cleanlab gives a row that it marks the predicted label.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import f1_score, roc_auc_score

sys.path.insert(0, str(Path(__file__).parents[1]))

from noisyfit.judgement import decision, judge
from noisyfit.judgement.decision import choose_rows, interval_of, outwards
from noisyfit.judgement.judge import FIT_FEATURES, ROW_FEATURES, Odds, Prior, Setting, least_agreement

import corpus
from corpus import Fit
from learn import FOLDS, GROUPS, folds_of, learn_known, left_out, shift_and_slope
from results import RESULTS, write_json

RIVALS = Path(__file__).parent / "rivals.csv"
MUCH_NOISE = ("symmetric_40", "symmetric_50", "asymmetric_40")
OF_FRONTIER = (
    *("fits", "given right", "labels right", "lost more than a point", "lost more than five", "worst"),
    *(
        "right without noise",
        "interval holds",
        "interval's width, median",
        "fits where a class loses half of its right labels",
    ),
)
SOME = 10  # changes of confidence .99 from which on a fit's are counted


def outcome(fit: Fit, odds: tuple[np.ndarray, np.ndarray], prior: Prior) -> dict[str, Any]:
    """Give what becomes of a fit's labels."""
    named = np.full_like(odds[1], np.inf) if fit.n_classes == 2 else odds[1]
    of_rows = Odds(fit.proposed, odds[0], named)
    opinion = prior.opinion(odds[0], Setting(fit.setting, None, None))
    wrong = opinion.mean_share(odds[0])
    knows = least_agreement(fit.setting) >= decision._LEAST_AGREEMENT
    rows = choose_rows(fit.given, of_rows, opinion) if knows else []
    changed = np.zeros(len(fit.rows), bool)
    changed[rows] = True
    confidence = np.where(changed, wrong * expit(named), 1 - wrong)
    right = np.where(changed, fit.wrong & fit.named, ~fit.wrong)
    low, high = outwards(interval_of(opinion.total_shares(odds[0]) / len(wrong), opinion))
    sure = changed & (confidence >= 0.99)
    n_true_kept = np.bincount(fit.given[~fit.wrong & ~changed], minlength=fit.n_classes)
    n_true = np.bincount(fit.given[~fit.wrong], minlength=fit.n_classes)
    figures: dict[str, Any] = {"name": fit.name, "noise": fit.noise, "true": fit.wrong.mean()}
    figures |= {"given": (~fit.wrong).mean(), "right": right.mean(), "changed": changed.mean(), "rate": wrong.mean()}
    figures |= {"low": low, "high": high, "calibration": calibration_error(confidence, right)}
    figures |= {"sure": sure.sum(), "sure_right": right[sure].sum(), "confidences": confidence, "rights": right}
    figures["right halved"] = int((n_true_kept < n_true / 2).sum())
    if 0 < fit.wrong.sum() < len(fit.wrong):
        suspects = {"f1": changed, "f1 of half": wrong > 0.5}
        figures |= {name: f1_score(fit.wrong, marks, zero_division=0) for name, marks in suspects.items()}
        figures["auroc"] = roc_auc_score(fit.wrong, wrong)
    return figures


def calibration_error(confidence: np.ndarray, right: np.ndarray, n_bins: int = 10) -> float:
    """Expected calibration error: mean distance of confidence and share of right labels, over bins of equal width."""
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    parts = [bins == b for b in range(n_bins) if (bins == b).any()]
    return float(sum(part.mean() * abs(confidence[part].mean() - right[part].mean()) for part in parts))


def evaluate(fits: list[Fit], kind: str) -> pd.DataFrame:
    """Judge each fit of a kind by weights that have not seen its source."""
    return decide(fits, kind, left_out(fits))


def decide(fits: list[Fit], kind: str, odds: list[tuple[np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """Judge each fit of a kind by log odds that were learned without its source, and by the sets of other sources."""
    known, pairs = learn_known(fits, odds)
    fold, found = folds_of(fits, FOLDS), []
    for i in range(FOLDS):
        prior = Prior(None, None, known[fold != i], pairs[fold != i])
        own = (j for j in np.flatnonzero(fold == i) if fits[j].witnesses == kind)
        found += [outcome(fits[j], odds[j], prior) for j in own]
    return pd.DataFrame(found)


def frontier(fits: list[Fit], kind: str, cautions: list[float]) -> pd.DataFrame:
    """Judge with other shares of known sets that need not expect a gain, and with other rules, by the same odds.

    On the fits with less than 40 % drawn noise.
    """
    odds, found = left_out(fits), {}
    variants: dict[str, list[Any]] = {f"caution {share}": [(decision, "_CAUTION", share)] for share in cautions}
    variants |= {f"{n} alike": [(judge, "ALIKE", n)] for n in (50, 100, 400, 800)}
    variants["however little is known"] = [(decision, "_LEAST_AGREEMENT", -np.inf)]
    variants["classes may vanish"] = [(decision, "_most_to_lose", lambda given, *_: np.full(given.max() + 1, np.inf))]
    for name, patches in variants.items():
        with contextlib.ExitStack() as stack:
            for patch in patches:
                stack.enter_context(mock.patch.object(*patch))
            runs = decide(fits, kind, odds)
        figures = summarise(runs[~runs["noise"].isin(MUCH_NOISE)])
        found[name] = {name: figures[name] for name in OF_FRONTIER}
    return pd.DataFrame(found).T


def limits(fits: list[Fit], kind: str) -> dict[str, float]:
    """Give labels right, in %, by the odds alone, and with what only the true labels of a set tell of them."""
    odds, found = left_out(fits), []
    for fit, (eta, nu) in zip(fits, odds, strict=True):
        if fit.witnesses != kind:
            continue
        named = np.ones(len(eta)) if fit.n_classes == 2 else expit(nu)
        gain = (fit.wrong & fit.named).astype(float) - ~fit.wrong
        shift, slope = shift_and_slope(eta, fit.wrong)
        plain, best = (expit(log_odds) * (1 + named) - 1 for log_odds in (eta, shift + np.exp(slope) * eta))
        by_order = np.cumsum(gain[np.argsort(-plain, kind="stable")]).max()
        gains = (0, gain[plain > 0].sum(), gain[best > 0].sum(), max(by_order, 0))
        found.append([(~fit.wrong).mean() + total / len(eta) for total in gains])
    names = ("given", "odds alone", "with the set's own shift and slope", "best cut of their order")
    return dict(zip(names, (100 * np.mean(found, axis=0)).round(2).tolist(), strict=True))


def summarise(runs: pd.DataFrame) -> dict[str, float]:
    """Give the figures of the table, shares in %."""
    gain, noisy, clean = runs["right"] - runs["given"], runs[runs["true"] > 0], runs[runs["noise"] == "none"]
    holds = (runs["low"] <= runs["true"]) & (runs["true"] <= runs["high"])
    surest = runs[runs["sure"] >= SOME]
    shares = {
        "given right": runs["given"].mean(),
        "labels right": runs["right"].mean(),
        "lost more than a point": (gain < -0.01).mean(),
        "lost more than five": (gain < -0.05).mean(),
        "worst": gain.min(),
        "right without noise": clean["right"].mean(),
        "gain, weak annotator": gain[runs["noise"].str.startswith("weak")].mean(),
        "interval holds": holds.mean(),
        "interval's width, median": (runs["high"] - runs["low"]).median(),
        "noise rate off by": (runs["rate"] - runs["true"]).abs().mean(),
        "calibration error": runs["calibration"].mean(),
        "calibration error, all rows": calibration_of_all(runs),
        "F1": noisy["f1"].mean(),
        "F1 of label quality below a half": noisy["f1 of half"].mean(),
        "AUROC": noisy["auroc"].mean(),
        "of changes of confidence .99 right": surest["sure_right"].sum() / max(surest["sure"].sum(), 1),
        "fits where a class loses half of its right labels": (runs["right halved"] > 0).mean(),
    }
    return {"fits": len(runs)} | {name: round(100 * float(share), 2) for name, share in shares.items()}


def calibration_of_all(runs: pd.DataFrame) -> float:
    """Give the calibration error of all rows of all fits together."""
    confidence, right = (np.concatenate(runs[name].to_list()) for name in ("confidences", "rights"))
    return calibration_error(confidence, right)


def beside_rivals(runs: pd.DataFrame, rivals: pd.DataFrame) -> pd.DataFrame:
    """Give labels right, F1 and AUROC in % by noise, on the fits that all have; others' of all rows of a fit."""
    kinds = ("right: ", "f1: ", "auroc: ")
    columns = [name for name in rivals if name.startswith(kinds)]
    complete = rivals.dropna(subset=[name for name in columns if name.startswith("right: ")])
    both = runs.merge(complete.rename(columns={"given": "given, all rows"}), on=["name", "noise"])
    both = both.rename(columns={kind[:-2]: f"{kind}judge" for kind in kinds})
    shown = ["given", *sorted(["right: judge", "f1: judge", "auroc: judge", *columns], key=lambda c: _rank(c, kinds))]
    for name in [c for c in shown if c.startswith("right: ")]:
        before = both["given" if name == "right: judge" else "given, all rows"]
        both[f"lost a point: {name[7:]}"] = both[name] < before - 0.01
    shown += [name for name in both if name.startswith("lost a point: ")]
    table = both.groupby("noise")[shown].mean()
    table.loc["all"] = both[shown].mean()
    return (100 * table).round(1).assign(fits=[*both.groupby("noise").size(), len(both)]).T


def _rank(column: str, kinds: tuple[str, ...]) -> int:
    return next(i for i, kind in enumerate(kinds) if column.startswith(kind))


def without(fits: list[Fit], feature: str) -> list[Fit]:
    """Give the corpus with one feature set to a constant."""
    if feature in ROW_FEATURES:
        column = ROW_FEATURES.index(feature)
        return [fit._replace(rows=np.where(np.arange(len(ROW_FEATURES)) == column, 0, fit.rows)) for fit in fits]
    column = FIT_FEATURES.index(feature)
    return [fit._replace(setting=np.where(np.arange(len(FIT_FEATURES)) == column, 0, fit.setting)) for fit in fits]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=Path, help="folder of fit_corpus: work out the rivals' figures from it first")
    parser.add_argument("--kinds", nargs="+", default=["networks and trees"], choices=corpus.WITNESSES)
    parser.add_argument("--caution", type=float, nargs="+", help="shares of known sets without a gain to compare")
    parser.add_argument("--limits", action="store_true", help="only say what true labels of a set would add")
    parser.add_argument("--ablate", action="store_true", help="leave one feature out at a time")
    args = parser.parse_args()
    if args.fits is not None:
        rows = [{"name": n, "noise": z, **corpus.rivals_of(a)} for n, z, a in corpus.fits_in(args.fits) if "trees" in a]
        pd.DataFrame(rows).round(5).to_csv(RIVALS, index=False)
    everything = corpus.read()
    if args.caution:
        for kind in args.kinds:
            fits = [fit for fit in everything if fit.witnesses in group_of(kind)]
            print(f"{kind}\n{frontier(fits, kind, args.caution).to_string()}")
        return
    if args.limits:
        for kind in args.kinds:
            print(kind, limits([fit for fit in everything if fit.witnesses in group_of(kind)], kind))
        return
    result: dict[str, Any] = {}
    for kind in args.kinds:
        fits = [fit for fit in everything if fit.witnesses in group_of(kind)]
        runs = evaluate(fits, kind)
        result[kind] = summarise(runs)
        print(f"\n{kind}\n{pd.Series(result[kind]).to_string()}")
        worst = runs.assign(lost=100 * (runs["given"] - runs["right"])).nlargest(10, "lost")
        print(worst[["name", "noise", "lost", "changed", "low", "high", "true"]].round(2).to_string(index=False))
        if kind == "networks and trees":
            table = beside_rivals(runs, pd.read_csv(RIVALS))
            print(f"\nbeside others, %\n{table.to_string()}")
            result["beside others"] = table.to_dict()
            table.rename_axis("figure").to_csv(RESULTS / "judge.csv")
        if args.ablate:
            result[f"{kind}, without"] = ablate(fits, kind)
    write_json("judge", result)


def group_of(kind: str) -> tuple[str, ...]:
    return next(kinds for kinds in GROUPS.values() if kind in kinds)


def ablate(fits: list[Fit], kind: str) -> dict[str, Any]:
    """Leave one feature at a time out of the trees; known sets are recognised by all of them as ever."""
    found = {}
    for feature in (*ROW_FEATURES, *FIT_FEATURES):
        figures = summarise(decide(fits, kind, left_out(without(fits, feature))))
        found[feature] = {name: figures[name] for name in ("labels right", "lost more than a point", "AUROC")}
        print(f"without {feature}: {found[feature]}", flush=True)
    return found


if __name__ == "__main__":
    main()
