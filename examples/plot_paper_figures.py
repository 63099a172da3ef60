"""
The paper's figures in a minute
===============================

A network learns wrong labels by heart if one lets it; joint optimisation of network and labels does not. That is the
claim of Tanaka et al. (CVPR 2018), shown here on scikit-learn's digits. The page "The paper's figures" has CIFAR-10.
"""

# %%
# Half of the labels are redrawn over all ten digits, the true one included, as in the paper. The true labels, and the
# test rows, are for the pictures only.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from skorch.callbacks import Callback

from noisyfit import JointOptimizationClassifier
from noisyfit.displays import LabelHistoryDisplay
from noisyfit.noise import corrupt_labels, uniform_noise

X, y = load_digits(return_X_y=True)
X = X.astype("float32")  # what the network takes: the callback below calls it directly
X_train, X_test, y_clean, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
y_noisy = corrupt_labels(y_clean, uniform_noise(10, 0.5), random_state=0)
print(f"labels that are right as given: {(y_noisy == y_clean).mean():.1%}")


# %%
# What a network predicts after each epoch. skorch calls this; the classes are the digits 0 to 9, so that a class
# number is the label.
class Watch(Callback):
    def on_train_begin(self, net, **kwargs):
        self.given_predicted, self.test_accuracy = [], []

    def on_epoch_end(self, net, **kwargs):
        self.given_predicted.append((net.predict_proba(X_train).argmax(axis=1) == y_noisy).mean())
        self.test_accuracy.append((net.predict_proba(X_test).argmax(axis=1) == y_test).mean())


# %%
# One network, a constant learning rate and labels that forget the given ones: the paper's method, with its weights
# alpha and beta for this kind of noise and its share of the epochs before the labels are first updated. Network and
# learning rate are the library's. With weights of 0 and no update it is plain training.
paper = JointOptimizationClassifier.paper_params(noise="symmetric", rate=0.5)
names = ("alpha", "beta", "gamma", "class_prior", "cross_fit", "window", "lr_schedule")
shared = {name: paper[name] for name in names} | {"begin": paper["begin"] / paper["max_epochs"], "random_state": 0}
methods = {
    "plain training": {"alpha": 0, "beta": 0, "begin": 60},
    "joint, soft labels": {"label_update": "soft"},
    "joint, hard labels": {"label_update": "hard"},
}
fitted, watched = {}, {}
for name, params in methods.items():
    watched[name] = Watch()
    clf = JointOptimizationClassifier(**shared | params, net_params={"callbacks": [watched[name]]})
    fitted[name] = clf.fit(X_train, y_noisy)
summary = {
    name: {
        "given labels predicted": watched[name].given_predicted[-1],
        "test accuracy, best": max(watched[name].test_accuracy),
        "last": watched[name].test_accuracy[-1],
        "labels right": (clf.corrected_labels_ == y_clean).mean(),
    }
    for name, clf in fitted.items()
}
print(pd.DataFrame(summary).T.to_string(float_format="{:.1%}".format))

# %%
# What the library draws of a fit with joint optimisation, where the true labels are known: given labels before the
# first update, then corrected ones.
figure, axes = plt.subplots(2, 2, figsize=(8, 5.6), layout="constrained", sharex=True, sharey="row")
displays = {}
for name, column in zip(list(methods)[1:], axes.T, strict=True):
    displays[name] = LabelHistoryDisplay.from_estimator(fitted[name], y_clean=y_clean, ax=column)
    column[0].set_title(name)

# %%
# The paper's figures. Plain training predicts ever more of the given labels, wrong ones too, while its test accuracy
# falls. So do the networks of joint optimisation until the labels are updated (dotted line); from then on there are
# few wrong labels left to learn. Last panel: soft labels get further than hard ones, but more slowly, unlike in the
# paper.
figure, ((loss, given), (test, recovery)) = plt.subplots(2, 2, figsize=(7, 6), layout="constrained", sharex=True)
for number, (name, clf) in enumerate(fitted.items()):
    style = {"color": f"C{number}", "linewidth": 1.2}
    epochs = clf.history_["epoch"]
    loss.plot(epochs, clf.history_["L_c"], label=name, **style)
    given.plot(epochs, 100 * np.array(watched[name].given_predicted), **style)
    test.plot(epochs, 100 * np.array(watched[name].test_accuracy), **style)
    if name in displays:
        recovery.plot(epochs, 100 * displays[name].recovery, **style)
first_update = round(shared["begin"] * len(epochs))
for ax in (loss, given, test, recovery):
    ax.axvline(first_update, color="black", linestyle=":", linewidth=1)
    ax.grid(alpha=0.3)
loss.set(ylabel="nats", title="Training loss L_c", ylim=(0, None))
given.set(ylabel="%", title="Given labels predicted", ylim=(40, 100))
test.set(xlabel="epoch", ylabel="%", title="Test accuracy")
recovery.set(xlabel="epoch", ylabel="%", title="Right labels, once updated", ylim=(92, 97))
figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=3)
plt.show()
