"""
Texts: from wrong labels to corrected ones
==========================================

Texts become rows of numbers first, an embedding each; the rest is as for any table. The texts here are on every machine
that runs noisyfit: descriptions of functions and classes in four libraries. The label is the library.
"""

# %%
# What stands in a docstring before its parameters, for all that scipy.stats, torch.nn, scikit-learn and pandas offer.
# How many there are depends on the installed versions.
import importlib
import inspect

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from noisyfit import JointOptimizationClassifier
from noisyfit.noise import corrupt_labels, symmetric_noise

parts = ("cluster", "decomposition", "ensemble", "feature_selection", "linear_model", "metrics", "model_selection",
         "neighbors", "preprocessing", "svm")  # fmt: skip
places = {
    "pandas": [pd, pd.DataFrame, pd.Series],
    "scipy.stats": [stats],
    "sklearn": [importlib.import_module(f"sklearn.{part}") for part in parts],
    "torch.nn": [torch.nn, torch.nn.functional],
}


def descriptions(place):
    for name, thing in vars(place).items():
        if name.startswith("_") or not callable(thing):
            continue
        docstring = (inspect.getdoc(thing) or "").split("\nParameters\n")[0].split("\nReturns\n")[0]
        text = " ".join(" ".join(docstring.split("\n\n")[:3]).split())
        if len(text) >= 20:
            yield text


found = {library: sorted({text for place in places[library] for text in descriptions(place)}) for library in places}
texts = [text for library in found for text in found[library]]
y_clean = np.repeat(list(found), [len(found[library]) for library in found])
print(pd.Series(y_clean).value_counts().to_string())

# %%
# TF-IDF in 100 dimensions needs no download. Embeddings of a language model take the place of the whole pipeline:
# ``X = SentenceTransformer("all-MiniLM-L6-v2").encode(texts)``.
embedding = make_pipeline(
    TfidfVectorizer(sublinear_tf=True, stop_words="english"), TruncatedSVD(100, random_state=0), Normalizer()
)
X = embedding.fit_transform(texts)

# %%
# 30 % of the labels are changed to another library. The true ones are for scores and the picture only.
y_noisy = corrupt_labels(y_clean, symmetric_noise(4, 0.3), random_state=0)
clf = JointOptimizationClassifier(random_state=0).fit(X, y_noisy)
print(f"right before: {(y_noisy == y_clean).mean():.1%}, after: {(clf.corrected_labels_ == y_clean).mean():.1%}")

# %%
# The embedding sets the limit. TF-IDF knows words but not what they mean, and some descriptions would fit several of
# the libraries. For comparison: how often logistic regression on the *true* labels is right about texts it has not
# seen.
reference = cross_val_score(LogisticRegression(C=10, max_iter=1000), X, y_clean, cv=5).mean()
print(f"logistic regression on true labels, five folds: {reference:.1%}")

# %%
# The most suspicious texts. Reading them is enough to see that the given library is wrong.
report = clf.label_report().assign(true_label=y_clean, text=[text[:60] for text in texts])
suspects = report.sort_values("label_quality").head(10)
columns = ["given_label", "corrected_label", "confidence", "text"]
print(suspects[columns].to_string(index=False, float_format="{:.3f}".format))

# %%
# Of the changes that are wrong, the five that the classifier was surest of.
mistaken = report.query("is_label_issue and corrected_label != true_label").sort_values("confidence", ascending=False)
print(mistaken[["true_label", *columns]].head().to_string(index=False, float_format="{:.3f}".format))

# %%
# All texts on a plane, texts with the same words side by side. Wrong labels are the dots in a foreign colour.
plane = TSNE(random_state=0).fit_transform(X)
colours = dict(zip(clf.classes_, ("tab:blue", "tab:orange", "tab:green", "tab:red"), strict=True))
order = np.random.RandomState(0).permutation(len(texts))  # else the last class would cover the others
figure, axes = plt.subplots(1, 2, figsize=(7, 4.6), layout="constrained", sharex=True, sharey=True)
for ax, title, labels in zip(axes, ("as given", "corrected"), (y_noisy, clf.corrected_labels_), strict=True):
    ax.scatter(*plane[order].T, s=9, c=[colours[label] for label in labels[order]])
    ax.set(title=f"{title}: {(labels != y_clean).mean():.1%} wrong", xticks=[], yticks=[], aspect="equal")
handles = [plt.Line2D([], [], marker="o", linestyle="", color=colour) for colour in colours.values()]
figure.legend(handles, list(colours), loc="outside lower center", ncols=4, title="label")
plt.show()
