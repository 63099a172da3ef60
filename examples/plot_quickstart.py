"""
Quickstart: which of my labels are wrong?
=========================================

Fit on noisy labels, read the corrected ones, look at what changed.
"""

# %%
# Thirty per cent of the labels of the digits are wrong: each is flipped to the next digit.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from noisyfit import JointOptimizationClassifier
from noisyfit.displays import LabelHistoryDisplay, LabelTransitionDisplay
from noisyfit.noise import corrupt_labels, pair_flip_noise

X, y_clean = load_digits(return_X_y=True)
y_noisy = corrupt_labels(y_clean, pair_flip_noise(10, 0.3), random_state=0)

clf = JointOptimizationClassifier(random_state=0).fit(X, y_noisy)
print(f"right before: {(y_noisy == y_clean).mean():.1%}, after: {(clf.corrected_labels_ == y_clean).mean():.1%}")

# %%
# One row per training sample. Low ``label_quality`` is suspicious; sort as you like.
report = clf.label_report()
print(report.sort_values("label_quality").head())

# %%
# Which given label became which: the flips stand beside the diagonal.
LabelTransitionDisplay.from_estimator(clf)

# %%
# What happened when. The true labels are for this picture only.
LabelHistoryDisplay.from_estimator(clf, y_clean=y_clean)
plt.show()
