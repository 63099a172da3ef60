"""
Fifty checks
============

A person looks at fifty labels, and all the others are settled: how many are wrong, which are changed, and how many of
the changes are right at least. Here the true labels play the person.
"""

# %%
# Data: digits whose labels a poor annotator gave
# -----------------------------------------------
# A quarter of the labels is wrong, where the pictures mislead. From such labels alone nobody can tell for certain an
# error from an unusual digit.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from noisyfit import JointOptimizationClassifier
from noisyfit.noise import weak_annotator_labels

X, truth = load_digits(return_X_y=True)
y_noisy = weak_annotator_labels(X, truth, rate=0.25, random_state=0)

clf = JointOptimizationClassifier(random_state=0).fit(X, y_noisy)
print(clf.summary())

# %%
# Which rows to look at
# ---------------------
# Most are rows where a look tells most; some seem right, because errors hide there, too. It is a sample: every row had
# its known chance, so that the answers prove something about the rows that nobody looks at.
rows = clf.rows_to_check(50)
print(rows.head(10))

# %%
# What they say settles the rest
# ------------------------------
# Nothing is trained. ``settle`` may be called again with more rows; ``settle({})`` goes back to where the fit ended.
right, widths = [], []
for n in range(0, 51, 5):
    clf.settle({})
    clf.settle({row: truth[row] for row in rows.index[:n]})
    right.append((clf.corrected_labels_ == truth).mean())
    widths.append(clf.noise_rate_interval_)
print(clf.summary())

# %%
# Labels that are right, and the interval of the share of wrong ones, after each five checks. Up to 20 it rests on
# experience with other data sets, from there on the sample alone: it is wider, and it holds whatever the judge thinks.
fig, (left, middle) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
checks = np.arange(0, 51, 5)
left.plot(checks, 100 * np.array(right), "o-")
left.axhline(100 * (y_noisy == truth).mean(), color="grey", linestyle=":", label="as given")
left.set(xlabel="rows checked", ylabel="labels right, %")
left.legend()
low, high = 100 * np.array(widths).T
middle.fill_between(checks, low, high, alpha=0.3, step=None, label="95 % interval")
middle.axhline(100 * (y_noisy != truth).mean(), color="black", linestyle=":", label="truth")
middle.axvline(20, color="grey", linewidth=1)
middle.set(xlabel="rows checked", ylabel="labels wrong, %")
middle.legend()
plt.show()

# %%
# A bound for those who need one
# ------------------------------
# With ``guarantee`` other labels change only if the checks prove, with that certainty, that it is no loss.
clf.settle({row: truth[row] for row in rows.index}, guarantee=0.95)
print(clf.expected_gain_)
