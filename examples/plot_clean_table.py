"""
From a doubtful CSV file to a final one
=======================================

The whole way on the command line: clean, review, apply. The commands are run from Python here; in a shell they read

.. code-block:: shell

    noisyfit clean wines.csv --label grower --out cleaned.csv --review review.html
    noisyfit apply wines.csv decisions.csv --label grower --out final.csv
"""

# %%
# 178 wines of three growers; 20 % of the labels are wrong and five are missing.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_wine

from noisyfit.command.cli import main
from noisyfit.displays import LabelTransitionDisplay
from noisyfit.noise import corrupt_labels, symmetric_noise

folder = Path("clean_table_output")
folder.mkdir(exist_ok=True)
wine = load_wine(as_frame=True)
growers = np.array(["Alba", "Barolo", "Canelli"])
true_label = growers[wine.target]
table = wine.data.assign(bottle=[f"B{i:03d}" for i in range(178)], grower=corrupt_labels(
    true_label, symmetric_noise(3, 0.2), random_state=0
))  # fmt: skip
table.loc[:4, "grower"] = None
table.to_csv(folder / "wines.csv", index=False)

# %%
# Find the wrong labels, and write a page to review them on.
paths = {name: str(folder / f"{name}.csv") for name in ("wines", "cleaned", "decisions", "final")}
main(["clean", paths["wines"], "--label", "grower", "--out", paths["cleaned"], "--force", "--quiet",
      "--review", str(folder / "review.html")])  # fmt: skip
cleaned = pd.read_csv(paths["cleaned"])
print(cleaned.query("grower_status != 'kept'")[["bottle", "grower_given", "grower", "grower_confidence"]].head(8))

# %%
# On the page people accept a proposal or keep what was given, and export their decisions. A reviewer who knows the true
# label of every suspect would export this. The other rows are settled by the decisions; ``--only-decided`` would leave
# them as they were given. The page asks about 50 rows first, which prove more: see :doc:`plot_fifty_checks`.
suspects = cleaned[cleaned["grower_status"] != "kept"]
given = suspects["grower_given"].fillna("")
agreed = suspects["grower"] == true_label[suspects.index]
pd.DataFrame(
    {
        "row": suspects.index,
        "index": suspects.index,
        "given_label": given,
        "proposed_label": suspects["grower"],
        "decision": np.where(agreed, "accept", "keep"),
        "label": np.where(agreed, suspects["grower"], given),
    }
).to_csv(paths["decisions"], index=False)
main(["apply", paths["wines"], paths["decisions"], "--label", "grower", "--out", paths["final"], "--force"])

# %%
final = pd.read_csv(paths["final"], keep_default_na=False)["grower"]
for name, labels in {"given": table["grower"], "cleaned": cleaned["grower"], "reviewed": final}.items():
    print(f"right as {name:9} {(labels == true_label).mean():.1%}")
LabelTransitionDisplay.from_predictions(table["grower"].fillna("none").to_numpy(), final.to_numpy())
plt.show()
