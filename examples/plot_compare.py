"""
Plain training, cleanlab and noisyfit
=====================================

The same network, the same epochs, the same digits with 40 % of their labels changed: how many labels are right in the
end, and how good is the classifier? This is one draw; the README has the mean and spread of five.
"""

# %%
# A quarter of the digits is held out, with their true labels. Those of the training rows serve for scores only.
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cleanlab.classification import CleanLearning
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from noisyfit import JointOptimizationClassifier
from noisyfit.noise import corrupt_labels, symmetric_noise

X, y = load_digits(return_X_y=True)
X_train, X_test, y_clean, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
y_noisy = corrupt_labels(y_clean, symmetric_noise(10, 0.4), random_state=0)

# %%
# With these settings noisyfit's network is trained plainly: no term of the loss but the classification, one network,
# and labels that stay as given. What it then predicts for its own training rows is its proposal.
plain = JointOptimizationClassifier(alpha=0, beta=0, cross_fit=0, begin=60, random_state=0)


def train_plainly(X, y):
    clf = clone(plain).fit(X, y)
    return clf, clf.corrected_labels_


# %%
# cleanlab cross-validates that network in five folds, drops the rows whose labels look wrong, and trains on the others.
# For the rows that it marks it proposes its predicted label.
def clean_and_train(X, y):
    clf = CleanLearning(clone(plain), seed=0, find_label_issues_kwargs={"n_jobs": 1}).fit(X, y)
    issues = clf.get_label_issues()
    return clf, np.where(issues["is_label_issue"], issues["predicted_label"], y)


# %%
# noisyfit with its default settings.
def optimise_jointly(X, y):
    clf = JointOptimizationClassifier(random_state=0).fit(X, y)
    return clf, clf.corrected_labels_


# %%
table = {"as given": {"labels right": (y_noisy == y_clean).mean()}}
for name, fit in {"plain training": train_plainly, "cleanlab": clean_and_train, "noisyfit": optimise_jointly}.items():
    start = time.perf_counter()
    clf, labels = fit(X_train, y_noisy)
    seconds = time.perf_counter() - start
    right, accuracy = (labels == y_clean).mean(), (clf.predict(X_test) == y_test).mean()
    table[name] = {"labels right": right, "test accuracy": accuracy, "seconds": seconds}
table = pd.DataFrame(table).T
formats = {"labels right": "{:.1%}".format, "test accuracy": "{:.1%}".format, "seconds": "{:.1f}".format}
print(table.to_string(na_rep="", formatters=formats))

# %%
# cleanlab trains six networks, noisyfit three side by side, plain training one. Times on another machine differ, their
# order hardly.
figure, axes = plt.subplots(1, 3, figsize=(7, 2.6), layout="constrained", sharey=True)
colours = ["lightgrey", "tab:blue", "tab:orange", "tab:green"]
for ax, column in zip(axes, table, strict=True):
    values = table[column] if column == "seconds" else 100 * table[column]
    bars = ax.barh(table.index, values.fillna(0), color=colours)
    ax.bar_label(bars, [f"{value:.1f}" if value == value else "" for value in values], padding=2, fontsize="small")
    ax.set(xlabel="time (s)" if column == "seconds" else f"{column} (%)", xlim=(0, 1.25 * values.max()))
axes[0].invert_yaxis()
plt.show()
