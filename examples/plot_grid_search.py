"""
Choosing alpha and beta with noisy labels only
==============================================

There are no clean labels to tune on. Accuracy on held-out *noisy* labels is a fair guide to accuracy on clean ones,
with more than two classes: wrong labels lower every setting's score alike. (Log-loss favours settings that hedge.)
"""

# %%
import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import resample

from noisyfit import JointOptimizationClassifier, label_report
from noisyfit.noise import corrupt_labels, symmetric_noise

X, y_clean = resample(*load_digits(return_X_y=True), n_samples=500, replace=False, random_state=0)
y_noisy = corrupt_labels(y_clean, symmetric_noise(10, 0.4), random_state=0)

pipeline = Pipeline([("scale", MinMaxScaler()), ("clf", JointOptimizationClassifier(max_epochs=20, random_state=0))])
grid = {"clf__alpha": [0.4, 0.8, 1.6], "clf__beta": [0.0, 0.4, 0.8]}
search = GridSearchCV(pipeline, grid, cv=3, scoring="accuracy").fit(X, y_noisy)
print("chosen by noisy accuracy:", search.best_params_)

# %%
# The search is a classifier like any other; the label report is found inside it.
report = label_report(search)
print(f"right before: {(y_noisy == y_clean).mean():.1%}, after: {(report['corrected_label'] == y_clean).mean():.1%}")

# %%
# Mean accuracy on the held-out noisy labels: with 60 % of them right, no setting can score much above 0.6.
scores = pd.DataFrame(search.cv_results_).pivot(
    index="param_clf__alpha", columns="param_clf__beta", values="mean_test_score"
)
ax = plt.figure(layout="constrained").add_subplot()
image = ax.imshow(scores, cmap="viridis")
ax.set(xlabel="beta", ylabel="alpha", title="accuracy on noisy labels")
ax.set_xticks(range(len(scores.columns)), scores.columns)
ax.set_yticks(range(len(scores.index)), scores.index)
for (i, j), score in [((i, j), scores.iloc[i, j]) for i in range(len(scores)) for j in range(scores.shape[1])]:
    ax.text(j, i, f"{score:.3f}", ha="center", va="center", color="white")
plt.show()
