"""
Reading the label report
========================

What each column says, how many labels to look at, how far the confidence can be trusted, and where to draw the line
between changing a label and leaving it.
"""

# %%
# 40 % of the labels of the digits are changed to another digit. The true labels are kept to judge the report by;
# nothing that the report holds comes from them.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

from noisyfit import JointOptimizationClassifier
from noisyfit.noise import corrupt_labels, symmetric_noise

X, y_clean = load_digits(return_X_y=True)
y_noisy = corrupt_labels(y_clean, symmetric_noise(10, 0.4), random_state=0)
clf = JointOptimizationClassifier(random_state=0).fit(X, y_noisy)

# %%
# The columns
# -----------
# A row a sample, in the order of X. What was found is a soft label, a probability for each class:
#
# - ``given_label``: the label as it came.
# - ``predicted_label``: the most probable class.
# - ``is_label_issue``: whether the label was corrected.
# - ``label_quality``: the probability of the given label. Low is suspicious.
# - ``corrected_label``: the label to go on with.
# - ``confidence``: the probability of the corrected label.
report = clf.label_report()
print(report.sort_values("label_quality").iloc[[0, 1, 600, 800, -1]].to_string(float_format="{:.4f}".format))

# %%
# In short, and by class
# ----------------------
# The summary counts the changes; the table, how many rows each class had and has, and in the last column how many it
# should have.
print(clf.summary())
changed = report[report["is_label_issue"]]
counts = pd.DataFrame(
    {
        "given": report["given_label"].value_counts(),
        "moved away": changed["given_label"].value_counts(),
        "moved here": changed["corrected_label"].value_counts(),
        "corrected": report["corrected_label"].value_counts(),
        "true": pd.Series(y_clean).value_counts(),
    }
)
print(counts.rename_axis("label").to_string())

# %%
# How many to look at
# -------------------
# Sorted by ``label_quality``, wrong labels come first. Of the first k rows, how many are wrong, and how many of all
# wrong labels are among them? The estimated noise rate, which needs no true labels, says about where to stop
# (dotted) where errors are random, as here; of labels by people it finds too few wrong.
is_wrong = (y_noisy != y_clean)[np.argsort(report["label_quality"].to_numpy(), kind="stable")]
k = np.arange(1, len(is_wrong) + 1)
n_estimated = clf.noise_rate_ * len(report)
for first in (100, 300, round(n_estimated)):
    print(f"of the first {first} labels {is_wrong[:first].mean():.1%} are wrong")

ax = plt.subplots(figsize=(7, 3.4), layout="constrained")[1]
ax.plot(k, 100 * is_wrong.cumsum() / k, label="wrong, of the first k")
ax.plot(k, 100 * is_wrong.cumsum() / is_wrong.sum(), label="found, of all wrong ones")
ax.axvline(n_estimated, color="black", linestyle=":", label="estimated number of wrong ones")
ax.set(xlabel="k, labels looked at in order of label_quality", ylabel="%", xlim=(0, len(k)), ylim=(0, 104))
ax.legend(fontsize="small")
ax.grid(alpha=0.3)

# %%
# How far to trust the confidence
# -------------------------------
# Rows of about the same ``confidence``, and how many of their corrected labels are right. On the diagonal the
# confidence is what it says; the number beside each point is that of its rows. Most are in the last group.
edges = [0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1]
groups = (
    report.assign(right=report["corrected_label"] == y_clean)
    .groupby(pd.cut(report["confidence"], edges), observed=True)
    .agg(rows=("right", "size"), mean_confidence=("confidence", "mean"), right=("right", "mean"))
)
print(groups.rename_axis("group").to_string(float_format="{:.1%}".format))

ax = plt.subplots(figsize=(5, 4.4), layout="constrained")[1]
ax.plot([30, 100], [30, 100], color="grey", linestyle="--", linewidth=1)
ax.plot(100 * groups["mean_confidence"], 100 * groups["right"], marker="o", linestyle="")
for group in groups.itertuples():
    at = (100 * group.mean_confidence, 100 * group.right)
    ax.annotate(str(group.rows), at, xytext=(-6, 4), textcoords="offset points", ha="right", fontsize="small")
ax.set(xlabel="mean confidence (%)", ylabel="corrected labels that are right (%)", xlim=(30, 104), ylim=(30, 104))
ax.grid(alpha=0.3)

# %%
# Where to draw the line
# ----------------------
# A label is changed where ``confidence`` exceeds ``label_quality`` by more than the parameter ``margin``, 0 by default.
# Training does not depend on it, so that the report of one fit shows what any margin does. A higher one makes fewer
# changes, more of them right, and leaves more errors in. It pays where a wrong change costs more than a missed one.
lead = report["confidence"] - report["label_quality"]
margins = np.arange(100) / 100
n_changes, right_changes, right_labels = [], [], []
for margin in margins:
    change = report["is_label_issue"] & (lead > margin)
    right = report["corrected_label"].where(change, report["given_label"]) == y_clean
    n_changes.append(change.sum())
    right_changes.append(100 * right[change].mean())
    right_labels.append(100 * right.mean())
    if margin in (0, 0.5, 0.9):
        print(f"margin {margin:.1f}: {n_changes[-1]} changes, {right_changes[-1]:.1f} % of them right")

figure, (number, share) = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained", sharex=True)
number.plot(margins, n_changes)
number.set(xlabel="margin", ylabel="labels changed", ylim=(0, None))
share.plot(margins, right_changes, label="of the changes")
share.plot(margins, right_labels, label="of all labels")
share.set(xlabel="margin", ylabel="right (%)")
share.legend(fontsize="small", loc="lower left")
for ax in (number, share):
    ax.grid(alpha=0.3)
plt.show()
