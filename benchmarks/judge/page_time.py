"""Milliseconds from a key to the finished layout of the review page, for fifty checks on many rows, in Chromium.

    python benchmarks/judge/page_time.py [--rows 50000] [--classes 10]       writes results/page_time.json

Needs /usr/bin/chromium and /usr/bin/chromedriver, and selenium (extra `test`). Probabilities are made up. The page is
loaded five times; each time fifty keys decide the rows to check.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from selenium import webdriver

sys.path.insert(0, str(Path(__file__).parents[1]))

from made_up_labels import judged

from noisyfit import save_review

from results import write_json

RUNS = 5
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900")
KEYS = """
  return [..."akaskakaak".repeat(5)].map((key) => {
    const start = performance.now();
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    document.body.getBoundingClientRect();
    return performance.now() - start;
  });
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=10)
    args = parser.parse_args()
    verdict, _ = judged(args.rows, args.classes)
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    milliseconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        path = save_review(Path(folder) / "page.html", verdict.label_report(), judged=verdict)
        for _ in range(RUNS):
            driver.get(path.as_uri())
            driver.execute_script("localStorage.clear()")
            driver.refresh()
            time.sleep(1)  # the page gets ready while a reader looks at the first row
            milliseconds += driver.execute_script(KEYS)
    driver.quit()
    figures = {"median": np.median(milliseconds), "95 %": np.quantile(milliseconds, 0.95), "most": max(milliseconds)}
    rounded = {name: round(float(value), 1) for name, value in figures.items()}
    print(rounded)
    write_json("page_time", {"rows": args.rows, "classes": args.classes, "keys": len(milliseconds), "ms": rounded})


if __name__ == "__main__":
    main()
