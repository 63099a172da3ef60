"""
A grid search on a cluster
==========================

joblib hands the fits of a search to dask, and dask to its workers. The cluster here is two processes on this machine;
for a real one only the address changes, and the scores stay the same.
"""

# %%
# Each worker imports this script when it starts. So what is at the top must be quick, and what starts the workers must
# stand under ``if __name__ == "__main__":``, or each of them would start workers of its own.
import logging
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from dask.distributed import Client, LocalCluster, get_task_stream
from joblib import parallel_config
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.utils import resample

from noisyfit import JointOptimizationClassifier
from noisyfit.noise import corrupt_labels, symmetric_noise

X, y_clean = resample(*load_digits(return_X_y=True), n_samples=400, replace=False, random_state=0)
y_noisy = corrupt_labels(y_clean, symmetric_noise(10, 0.4), random_state=0)

# %%
# Eight fits: four settings, two folds. A fixed ``random_state`` makes each of them the same wherever it runs. Only
# scores are compared here; without ``refit=False`` the best setting would be fitted once more, in this process.
search = GridSearchCV(
    JointOptimizationClassifier(max_epochs=10, random_state=0),
    {"alpha": [0.4, 0.8], "beta": [0.0, 0.4]},
    cv=2,
    scoring="accuracy",
    refit=False,
)

# %%
# The same search twice: in this process, then on two workers. Fits of small networks compute with one thread here as
# there, so that both give the same bits. Without a dashboard no port is opened to others, and dask's warnings about
# workers that are slow to close are of no use here.
if __name__ == "__main__":
    start = time.perf_counter()
    in_turn = search.fit(X, y_noisy).cv_results_
    seconds_in_turn = time.perf_counter() - start

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR) as cluster,
        Client(cluster) as client,  # elsewhere: Client("tcp://address-of-the-scheduler:8786")
        get_task_stream(client) as tasks,
        parallel_config(backend="dask"),
    ):
        on_cluster = search.fit(X, y_noisy).cv_results_

    scores = pd.DataFrame(in_turn["params"]).assign(
        in_turn=in_turn["mean_test_score"], on_cluster=on_cluster["mean_test_score"]
    )
    print(scores.to_string(index=False))
    np.testing.assert_array_equal(scores["on_cluster"], scores["in_turn"])

# %%
# Who did what, and when. A worker's first fit includes the import of torch: a search as short as this one does not
# make up for it, one of minutes or hours does.
if __name__ == "__main__":
    fits = [
        (task["worker"], part["start"], part["stop"])
        for task in tasks.data
        for part in task["startstops"]
        if part["action"] == "compute"
    ]
    begin = min(start for _, start, _ in fits)
    workers = sorted({worker for worker, _, _ in fits})
    ax = plt.subplots(figsize=(7, 2.6), layout="constrained")[1]
    ax.broken_barh([(0, seconds_in_turn)], (-0.35, 0.7), facecolor="lightgrey")
    for number, worker in enumerate(workers, start=1):
        spans = [(start - begin, stop - start) for name, start, stop in fits if name == worker]
        ax.broken_barh(spans, (number - 0.35, 0.7), facecolor="tab:blue", edgecolor="white")
    ax.set(xlabel="time (s)", title=f"{len(fits)} fits: all in turn, and on {len(workers)} workers")
    ax.set_yticks(range(len(workers) + 1), ["this process", *(f"worker {i + 1}" for i in range(len(workers)))])
    ax.invert_yaxis()
    plt.show()
