"""
Images, with a network of one's own
===================================

``module`` takes any torch network that gives logits: a class, whose ``in_channels`` and ``n_classes`` are filled in
from the data, a callable or an instance. Images stay uint8 in memory.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from noisyfit import JointOptimizationClassifier
from noisyfit.displays import LabelGalleryDisplay
from noisyfit.noise import corrupt_labels, symmetric_noise

digits = load_digits()
X = (digits.images[:, None] * 15).astype(np.uint8)  # (n, channels, height, width), 0 to 240
y_noisy = corrupt_labels(digits.target, symmetric_noise(10, 0.3), random_state=0)


class TinyConvNet(nn.Sequential):
    def __init__(self, in_channels, n_classes, width=32):
        super().__init__(
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * width, n_classes),
        )


def shift(x):
    """Move each image by up to a pixel: augmentation is any function of a batch, run on the device."""
    dx, dy = torch.randint(-1, 2, (2,)).tolist()
    return torch.roll(x, shifts=(dy, dx), dims=(2, 3))


# %%
# ``net_params`` has the optimizer and its keywords, and takes anything else of skorch.
clf = JointOptimizationClassifier(
    TinyConvNet,
    module_params={"width": 16},
    augment=shift,
    max_epochs=40,
    lr=0.05,
    net_params={"optimizer__momentum": 0.9, "optimizer__weight_decay": 1e-4},
    random_state=0,
).fit(X, y_noisy)
right_before, right_after = (y_noisy == digits.target).mean(), (clf.corrected_labels_ == digits.target).mean()
print(f"right before: {right_before:.1%}, after: {right_after:.1%}")

# %%
# The changes the network is most certain of, and those it is least certain of: the second row is for a human.
LabelGalleryDisplay.from_estimator(clf, X, n_images=20)
plt.show()
