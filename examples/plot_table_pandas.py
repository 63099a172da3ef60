"""
A table with pandas and string labels
=====================================

The report keeps the index of the table, so suspects lead back to their records.
"""

# %%
import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_breast_cancer

from noisyfit import JointOptimizationClassifier
from noisyfit.displays import LabelTransitionDisplay
from noisyfit.noise import asymmetric_noise, corrupt_labels

data = load_breast_cancer(as_frame=True)
X = data.data.set_index(pd.Index([f"patient {i:03d}" for i in range(len(data.data))]))
y_clean = pd.Series(data.target_names[data.target], index=X.index, name="diagnosis")

# %%
# A quarter of the malignant cases were entered as benign. Columns range from 0.001 to 4,000: the default network
# standardises them itself.
y_noisy = pd.Series(corrupt_labels(y_clean, asymmetric_noise(2, 0.25, {1: 0}), random_state=0), index=X.index)

clf = JointOptimizationClassifier(random_state=0).fit(X, y_noisy)
print(f"right before: {(y_noisy == y_clean).mean():.1%}, after: {(clf.corrected_labels_ == y_clean).mean():.1%}")

# %%
# The most suspicious records, by the index of the table, with a column of it beside them.
suspects = clf.label_report().query("is_label_issue").sort_values("label_quality")
print(suspects.join(X["mean radius"]).head(8).to_string())

# %%
LabelTransitionDisplay.from_estimator(clf)
plt.show()
