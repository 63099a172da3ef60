"""
Clean the labels of handwritten digits
======================================

What ``make demo`` runs: 40 % of the training labels of scikit-learn's digits are changed, and found again.
"""

# %%
# Real images, wrong labels
# -------------------------
# The true labels are kept for scoring; ``fit`` never sees them.
import time
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from noisyfit import JointOptimizationClassifier
from noisyfit.displays import LabelGalleryDisplay
from noisyfit.metrics import label_error_scores, recovery_accuracy
from noisyfit.noise import corrupt_labels, symmetric_noise

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
y_noisy = corrupt_labels(y_train, symmetric_noise(n_classes=10, rate=0.4), random_state=0)

# %%
# Fit, and the same network trained plainly
# -----------------------------------------
# With all weights 0, one network and labels that are updated only after the last epoch, it is plain training.
start = time.perf_counter()
clf = JointOptimizationClassifier(random_state=0, verbose=1).fit(X_train, y_noisy)
seconds = time.perf_counter() - start
plain = JointOptimizationClassifier(alpha=0, beta=0, cross_fit=0, begin=60, random_state=0)
plain.fit(X_train, y_noisy)

report = clf.label_report()
scores = label_error_scores(y_train, y_noisy, report)
print(f"\n{len(y_noisy)} digits, fitted in {seconds:.1f} s")
print(f"labels that are right:  as given {recovery_accuracy(y_train, y_noisy):6.1%}")
print(f"                        corrected {recovery_accuracy(y_train, clf.corrected_labels_):5.1%}")
print(f"test accuracy:          trained plainly {plain.score(X_test, y_test):.1%}")
print(f"                        noisyfit {clf.score(X_test, y_test):12.1%}")
print(f"wrong labels found:     {scores['recall']:.1%} of them, {scores['precision']:.1%} of the marked ones are wrong")
print(f"estimated noise rate:   {clf.noise_rate_:.1%}")

# %%
# The ten most suspicious samples
# -------------------------------
suspects = report.sort_values(["label_quality", "confidence"], ascending=[True, False]).head(10)
print("\nThe ten most suspicious samples:")
print(
    suspects[["given_label", "corrected_label", "label_quality", "confidence"]].to_string(float_format="{:.4f}".format)
)

captions = [
    f"{given} → {corrected}\n{confidence:.0%}"
    for given, corrected, confidence in zip(
        suspects["given_label"], suspects["corrected_label"], suspects["confidence"], strict=True
    )
]
display = LabelGalleryDisplay(X_train[suspects.index].reshape(-1, 8, 8), captions, n_certain=len(suspects)).plot()
picture = Path("demo_output") / "suspects.png"
picture.parent.mkdir(exist_ok=True)
display.figure_.savefig(picture, dpi=150)
print(f"\nTheir picture: {picture}")
