"""
A folder of images, one folder per label
========================================

Images in the wrong folder are found, and images without a folder get a label proposed. In a shell:

.. code-block:: shell

    noisyfit clean digits --out labels.csv --review review.html --size 8
"""

# %%
# 500 digits as files. 20 % of them lie in another digit's folder, ten in none.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits

from noisyfit.command.cli import main
from noisyfit.displays import LabelGalleryDisplay
from noisyfit.noise import corrupt_labels, symmetric_noise

folder = Path("clean_images_output")
images, y = (part[:500] for part in (load_digits().images, load_digits().target))
y_given = corrupt_labels(y, symmetric_noise(10, 0.2), random_state=0)
for i, (image, label) in enumerate(zip(images, y_given, strict=True)):
    path = folder / "digits" / ("" if i < 10 else str(label)) / f"{i:03d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((16 * image).clip(0, 255).astype(np.uint8)).save(path)

# %%
main(["clean", str(folder / "digits"), "--out", str(folder / "labels.csv"), "--review", str(folder / "review.html"),
      "--size", "8", "--epochs", "30", "--quiet", "--force"])  # fmt: skip
labels = pd.read_csv(folder / "labels.csv", dtype={"given_label": "Int64"})
print(labels[labels["status"] != "kept"].head(8).to_string())

# %%
numbers = labels["path"].str.extract(r"(\d+)\.png")[0].astype(int)
truth = y[numbers]
print(f"right as given    {(labels['given_label'].fillna(-1) == truth).mean():.1%}")
print(f"right as cleaned  {(labels['corrected_label'] == truth).mean():.1%}")

# %%
# The surest changes, and the most doubtful ones.
changed = labels[labels["status"] == "changed"].sort_values("confidence", ascending=False)
shown = pd.concat([changed.head(10), changed.tail(10)])
captions = [f"{row.given_label} → {row.corrected_label}\n{row.confidence:.0%}" for row in shown.itertuples()]
LabelGalleryDisplay(images[numbers[shown.index]], captions, n_certain=10).plot()
plt.show()
