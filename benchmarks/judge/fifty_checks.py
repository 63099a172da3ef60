"""What a person's checks are worth: labels right, harm, and whether what is promised holds.

    python benchmarks/judge/fit_corpus.py ... --out FOLDER          outputs of all rows; some hundred fits will do
    python benchmarks/judge/fifty_checks.py --fits FOLDER           writes results/fifty_checks.json
    python benchmarks/judge/fifty_checks.py --fits FOLDER --name fifty_checks_suite     of fit_corpus.py --suite
    python benchmarks/judge/fifty_checks.py --fits FOLDER --vary    other constants; results/fifty_checks_varied.json

Checks are answered by the true labels; in "5 % wrong" by another class in one answer of twenty. The judge's weights are
learned with the set's source left out; all else is what the package does. In every column the checked rows have their
true label, so that only what is inferred for the others differs.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import joblib
import numpy as np
import pandas as pd
from cleanlab.rank import get_label_quality_scores
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).parents[1]))

from noisyfit.judgement import decision, sampling
from noisyfit.judgement.decision import Judgement, judge
from noisyfit.judgement.judge import Prior, prior_for
from noisyfit.judgement.sampling import Counts, interval_of_share, looking_order
from noisyfit.judgement.settling import Checks, Inquiry

import corpus
from corpus import WITNESSES
from learn import FOLDS, GROUPS, folds_of, inputs_of, learn_known, learn_trees, shift_and_slope
from results import write_json

KIND = "networks and trees"
NUMBERS = (20, 35, 50, 100)
DRAWS = 5
WRONG_ANSWERS = 0.05


def priors_without_sources() -> tuple[list[Prior], dict[str, int]]:
    """Give a prior for each fold of sources, learned from the others, and the fold of each source."""
    fits = [fit for fit in corpus.read() if fit.witnesses in GROUPS["several"]]
    fold = folds_of(fits, FOLDS)
    odds: list[Any] = [None] * len(fits)
    trees = []
    for i in range(FOLDS):
        trees.append(learn_trees([fit for fit, own in zip(fits, fold, strict=True) if own != i]))
        for j in np.flatnonzero(fold == i):
            odds[j] = tuple(tree.log_odds(inputs_of(fits[j])) for tree in trees[i])
    known, pairs = learn_known(fits, odds)
    priors = [Prior(*trees[i], known[fold != i], pairs[fold != i]) for i in range(FOLDS)]
    return priors, {fit.source: own for fit, own in zip(fits, fold, strict=True)}


def judged(arrays: dict[str, np.ndarray], prior: Prior) -> tuple[Judgement, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Judge a fit's labels; give the judgement, given and true class numbers, and the witnesses."""
    witnesses = corpus.witnesses_of(arrays, WITNESSES[KIND])
    given, true = corpus.codes_of(arrays, "given"), corpus.codes_of(arrays, "clean")
    with mock.patch.object(decision, "prior_for", lambda n: prior if n > 1 else prior_for(n)):
        return judge(witnesses, given), given, true, witnesses


def answers(true: np.ndarray, rows: np.ndarray, n_classes: int, wrong: float, draws: np.random.RandomState) -> Checks:
    """Look at rows, and mistake some for another class."""
    mistaken = draws.rand(len(rows)) < wrong
    labels = np.where(mistaken, (true[rows] + draws.randint(1, n_classes, len(rows))) % n_classes, true[rows])
    return Checks(rows, labels)


def study(name: str, noise: str, arrays: dict[str, np.ndarray], prior: Prior) -> list[dict[str, Any]]:
    """Give a line for each number of checks and draw."""
    judgement, given, true, witnesses = judged(arrays, prior)
    n_rows, found = len(given), []
    for draw in range(DRAWS):
        order = Inquiry(given, judgement).rows_to_check(NUMBERS[-1], draw)
        randomly = np.random.RandomState(1000 + draw).permutation(n_rows)
        for n in NUMBERS:
            if n > n_rows // 3:
                continue
            facts: dict[str, Any] = {"name": name, "noise": noise, "rows": n_rows, "draw": draw, "checks": n}
            facts |= outcome(given, true, judgement, order[:n], draw)
            facts |= of_random_rows(given, true, witnesses[1], randomly[:n])
            found.append(facts)
    return found


def outcome(given: np.ndarray, true: np.ndarray, judgement: Judgement, rows: np.ndarray, draw: int) -> dict[str, Any]:
    """Settle by the true answers, and by some wrong ones."""
    n_rows, n_classes = judgement.soft_labels.shape
    unchecked = np.ones(n_rows, bool)
    unchecked[rows] = False

    def right(corrected: np.ndarray) -> float:
        return float((corrected == true)[unchecked].sum() + len(rows)) / n_rows

    facts: dict[str, Any] = {"given": right(given), "defaults": right(judgement.corrected)}
    for kind, wrong in {"": 0.0, ", 5 % wrong": WRONG_ANSWERS}.items():
        draws = np.random.RandomState(100 * draw + len(rows))
        checks = answers(true, rows, n_classes, wrong, draws)
        settled, promise = Inquiry(given, judgement, checks=checks, seeds=(draw,)).settled()
        assert promise is not None
        corrected, (low, high), rate = settled.corrected, promise.wrong, (given != true).mean()
        changed = corrected != given
        gain = (corrected == true).mean() - (given == true).mean()
        facts |= {
            f"rate holds{kind}": low <= rate <= high,
            f"width{kind}": high - low,
            f"right holds{kind}": promise.right_after <= (corrected == true).mean() + 1e-9,
            f"changes hold{kind}": promise.changes_right <= (corrected == true)[changed].sum(),
            f"gain holds{kind}": settled.expected_gain.low - 1e-9 <= gain <= settled.expected_gain.high + 1e-9,
        }
        if not wrong:
            facts |= {"settled": right(corrected), "changes": int(changed.sum()), "promised": promise.changes_right}
            facts["unchecked gain"] = ((corrected == true)[unchecked].mean()) - (given == true)[unchecked].mean()
            matrix = np.eye(n_classes)[true].T @ np.eye(n_classes)[given]
            matrix /= np.maximum(matrix.sum(axis=1, keepdims=True), 1)
            for of, T in {"T off, before": judgement.transition_matrix, "T off": settled.transition_matrix}.items():
                facts[of] = np.abs(T - matrix).mean()
    return facts


def of_random_rows(given: np.ndarray, true: np.ndarray, trees: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """Look at random rows: the interval they give, and cleanlab's order of the labels cut where they say it is best."""
    n_rows = len(given)
    wrong = given != true
    low, high = interval_of_share(Counts(*(np.array([float(x)]) for x in (n_rows, len(rows), wrong[rows].sum()))))
    quality, proposed = get_label_quality_scores(given, trees), trees.argmax(axis=1)
    gain = (proposed == true) * 1.0 - (given == true)
    order = rows[np.argsort(quality[rows], kind="stable")]
    gains = np.append(0, np.cumsum(gain[order]))
    best = int(gains.argmax())
    cut = quality[order[best - 1]] if best else -1.0
    corrected = np.where(quality <= cut, proposed, given)
    corrected[rows] = true[rows]
    outwards = decision.outwards((low, high))
    return {
        "cleanlab": float((corrected == true).mean()),
        "random width": outwards[1] - outwards[0],
        "random holds": outwards[0] <= wrong.mean() <= outwards[1],
    }


def limit_of_width(judgement: Judgement, given: np.ndarray, true: np.ndarray, n: int) -> tuple[float, float]:
    """Give the width of a long-run 95 % interval with the best shares of all rows, and of one of random rows."""
    odds, wrong = judgement.grounds.odds.wrong, given != true
    shift, slope = shift_and_slope(odds, wrong)
    p, rate = expit(shift + np.exp(slope) * odds), wrong.mean()
    scale = 2 * sampling.Z * np.sqrt((1 - n / len(odds)) / n)
    return float(scale * np.sqrt(p * (1 - p)).mean()), float(scale * np.sqrt(rate * (1 - rate)))


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Give the figures, a column for each number of checks; shares in %."""
    holds = [name for name in runs if " hold" in name]
    columns = {}
    for n, own in runs.groupby("checks"):
        by_fit = own.groupby(["name", "noise"])[["given", "defaults", "settled", "cleanlab", "unchecked gain"]].mean()
        ahead = by_fit["settled"] - by_fit["defaults"]
        shares = {
            "given, checked rows right": by_fit["given"].mean(),
            "defaults, checked rows right": by_fit["defaults"].mean(),
            "cleanlab's order, best cut": by_fit["cleanlab"].mean(),
            "settled": by_fit["settled"].mean(),
            "fits more than a point below defaults": (ahead < -0.01).mean(),
            "worst below defaults": ahead.min(),
            "fits more than a point above": (ahead > 0.01).mean(),
            "fits whose unchecked rows lose more than a point": (by_fit["unchecked gain"] < -0.01).mean(),
            "worst of unchecked rows": by_fit["unchecked gain"].min(),
            "draws whose unchecked rows lose more than a point": (own["unchecked gain"] < -0.01).mean(),
            **{name: own[name].mean() for name in holds},
            "width": own["width"].mean(),
            "width of random rows": own["random width"].mean(),
            "median of the ratio": (own["width"] / own["random width"]).median(),
            "of changes promised right": own["promised"].sum() / max(own["changes"].sum(), 1),
            "T off by, before": own["T off, before"].mean(),
            "T off by": own["T off"].mean(),
        }
        columns[n] = {"fits": len(by_fit)} | {name: round(100 * float(x), 2) for name, x in shares.items()}
    return pd.DataFrame(columns)


def all_fits(folder: Path, only_of: str = "") -> Iterator[tuple[str, str, dict[str, np.ndarray]]]:
    for name, noise, arrays in corpus.fits_in(folder):
        if all(key in arrays for key in WITNESSES[KIND]) and only_of in name:
            yield name, noise, arrays


def vary(folder: Path, priors: list[Prior], fold: dict[str, int]) -> None:
    """Put others in the place of the constants: of the sample, of the allowance, and of what is changed."""
    samples: dict[str, dict[str, Any]] = {"as it is": {}}
    samples |= {f"{n} strata": {"STRATA": n} for n in (3, 4, 7, 10)}
    samples |= {f"least spread {x}": {"_LEAST_SPREAD": x} for x in (0.0, 0.05, 0.2)}
    fits, result = list(all_fits(folder)), {}
    for name, constants in samples.items():
        result[name] = _means(
            joblib.Parallel(2)(joblib.delayed(_widths)(f, priors, fold, constants) for f in fits[::3])
        )
    for share in (0.05, 0.07, 0.1):
        name = f"{share:.0%} wrong answers allowed for"
        result[name] = _means(
            joblib.Parallel(2)(joblib.delayed(_widths)(f, priors, fold, {}, share) for f in fits[::3])
        )
    for caution, vetoes in ((0.18, True), (0.18, False), (0.1, True), (0.1, False), (0.3, True)):
        found = joblib.Parallel(2)(joblib.delayed(_outcomes)(f, priors, fold, caution, vetoes) for f in fits)
        name = f"caution {caution}, {'no ' * (not vetoes)}veto"
        result[name] = _harm(pd.DataFrame([line for lines in found for line in lines]))
        print(f"{name}\n{pd.DataFrame(result[name]).to_string()}", flush=True)
    write_json("fifty_checks_varied", result)


def _means(found: list[Any]) -> dict[str, Any]:
    means = pd.DataFrame([line for lines in found for line in lines]).groupby("checks").mean().round(3)
    print(means.to_string(), flush=True)
    return means.to_dict()


def _harm(runs: pd.DataFrame) -> dict[str, Any]:
    """Give labels right in %, and the share of fits that are harmed, of means over the draws."""
    by_fit = runs.groupby(["checks", "name", "noise"]).mean().reset_index()
    by_fit["below defaults"] = by_fit["settled"] < by_fit["defaults"] - 0.01
    by_fit["harmed"] = by_fit["unchecked gain"] < -0.01
    columns = ["settled", "defaults", "below defaults", "harmed"]
    figures = (100 * by_fit.groupby("checks")[columns].mean()).round(2)
    figures["worst of unchecked"] = (100 * by_fit.groupby("checks")["unchecked gain"].min()).round(2)
    return figures.to_dict()


def _outcomes(fit: Any, priors: list[Prior], fold: dict[str, int], caution: float, vetoes: bool) -> list[Any]:
    name, noise, arrays = fit
    judgement, given, true, _ = judged(arrays, _own_prior(priors, fold, name))
    found = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(decision, "_CAUTION", caution))
        if not vetoes:
            stack.enter_context(mock.patch.object(Inquiry, "_balance", return_value=0))
        for draw in range(DRAWS):
            order = Inquiry(given, judgement).rows_to_check(NUMBERS[-1], draw)
            for n in (20, 50, 100):
                if n > len(given) // 3:
                    continue
                checks = Checks(order[:n], true[order[:n]])
                known = Inquiry(given, judgement, checks=checks, seeds=(draw,))
                unchecked = ~np.isin(np.arange(len(given)), order[:n])
                corrected = known.settled()[0].corrected
                right = {"settled": corrected, "defaults": judgement.corrected, "given": given}
                shares = {key: (labels == true)[unchecked].sum() for key, labels in right.items()}
                line: dict[str, Any] = {"checks": n, "name": name, "noise": noise}
                line |= {key: (count + n) / len(given) for key, count in shares.items()}
                line["unchecked gain"] = (shares["settled"] - shares["given"]) / unchecked.sum()
                found.append(line)
    return found


def _widths(fit: Any, priors: list[Prior], fold: dict[str, int], constants: Any, allowed: float = 0.0) -> list[Any]:
    name, _, arrays = fit
    judgement, given, true, _ = judged(arrays, _own_prior(priors, fold, name))
    with contextlib.ExitStack() as stack:
        for constant, value in constants.items():
            stack.enter_context(mock.patch.object(sampling, constant, value))
        wrong = judgement.grounds.opinion.mean_share(judgement.grounds.odds.wrong)
        strata, found = sampling.stratify(wrong), []
        for draw in range(DRAWS):
            order = looking_order(wrong, strata, 50, draw)
            for n in (20, 50):
                line: dict[str, Any] = {"checks": n}
                for kind, share in {"": 0.0, ", 5 % wrong": WRONG_ANSWERS}.items():
                    draws = np.random.RandomState(100 * draw + n)
                    checks = answers(true, order[:n], judgement.soft_labels.shape[1], share, draws)
                    counts = sampling.count(strata, checks.rows, checks.labels != given[checks.rows])
                    low, high = interval_of_share(counts, wrong_answers=allowed)
                    line |= {f"holds{kind}": low <= (given != true).mean() <= high, f"width{kind}": high - low}
                found.append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=Path, required=True, help="folder of fit_corpus")
    parser.add_argument("--only", default="", help="part of a set's name")
    parser.add_argument("--vary", action="store_true")
    parser.add_argument("--name", default="fifty_checks", help="of the file with the results")
    args = parser.parse_args()
    priors, fold = priors_without_sources()
    if args.vary:
        vary(args.fits, priors, fold)
        return
    own = functools.partial(_own_prior, priors, fold)
    fits = list(all_fits(args.fits, args.only))
    found = joblib.Parallel(2, verbose=1)(joblib.delayed(study)(n, z, a, own(n)) for n, z, a in fits)
    runs = pd.DataFrame([line for lines in found for line in lines])
    table = summarise(runs)
    print(table.to_string())
    widths = np.array([limit_of_width(*judged(a, own(n))[:3], 50) for n, z, a in fits if len(a["given"]) >= 150])
    limit = {"best shares, long run": widths[:, 0].mean(), "random rows, long run": widths[:, 1].mean()}
    print("width at 50 checks:", {name: round(100 * float(x), 2) for name, x in limit.items()})
    at_50 = runs[runs["checks"] == 50].groupby(["name", "noise"])[["settled", "defaults", "unchecked gain"]].mean()
    worst = (100 * at_50.assign(ahead=at_50["settled"] - at_50["defaults"])).round(1)
    print(worst.nsmallest(8, "ahead").to_string(), worst.nsmallest(8, "unchecked gain").to_string(), sep="\n")
    sets = {"fits": len(fits), "sets": len({n for n, _, _ in fits}), "draws": DRAWS, "rows": int(runs["rows"].median())}
    by_noise = runs[runs["checks"] == 50].groupby("noise")[["given", "defaults", "cleanlab", "settled"]].mean()
    print((100 * by_noise).round(1).to_string())
    rounded = {name: round(100 * float(x), 2) for name, x in limit.items()}
    noises = (100 * by_noise).round(1).T.to_dict()
    write_json(args.name, sets | {"by checks": table.to_dict(), "width": rounded, "by noise, 50": noises})


def _own_prior(priors: list[Prior], fold: dict[str, int], name: str) -> Prior:
    return priors[fold.get(corpus.corpus_data.source_of(name), 0)]


if __name__ == "__main__":
    main()
