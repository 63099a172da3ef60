"""The review page in a real browser."""

from __future__ import annotations

import base64
import csv
import json
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from noisyfit import apply_decisions, judge_labels, save_review

BROWSER, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(
        not (BROWSER.exists() and DRIVER.exists()),
        reason=f"needs {BROWSER} and {DRIVER}: apt-get install chromium chromium-driver",
    ),
]
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1280,900",
]
HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script><img src=x onerror='window.hacked = 2'>",
    "a \"quoted\" 'label', with a comma",
    "two\nlines\r\nor three",
    "back\\slash {{ 7 * 7 }}",
    "line\u2028separator",
    "مرحبا (rtl)",
    "",
    "=1+1",
    "@SUM(A1)",
    "+1",
    "-1",
    " \t",
    "nul\0 \x01 \x7f",
    "\ufeff\ufffe",
    "$\\frac{$",
    "x" * 600,
]


class Page:
    """A page of `save_review` in the browser, and what a reader does on it."""

    def __init__(self, driver, downloads):
        self.driver, self.downloads = driver, downloads

    def open(self, path):
        self.driver.get(path.as_uri())
        return self

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.driver.execute_script("return document.querySelector(arguments[0]).textContent", selector)

    def run(self, script, *args):
        return self.driver.execute_script(script, *args)

    def press(self, *keys):
        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def select(self, name, text):
        Select(self.find(f"#filter-{name}")).select_by_visible_text(text)
        self.run("document.getElementById('sample').focus()")

    @property
    def row(self):
        return int(re.search(r"Row ([\d,]+)", self.text("#sample-heading"))[1].replace(",", ""))

    @property
    def progress(self):
        return self.text("#progress-text")

    def export(self, ending):
        """Export to a folder of its own."""
        self.find(f"#export-{ending}").click()
        wait(self.driver, lambda _: any(path.stat().st_size for path in self.downloads.glob(f"*.{ending}")))
        wait(self.driver, lambda _: not list(self.downloads.glob("*.crdownload")))
        (path,) = self.downloads.glob(f"*.{ending}")
        return path.rename(Path(tempfile.mkdtemp(dir=self.downloads)) / path.name)

    def take_in(self, path):
        self.find("#import-file").send_keys(str(path))

    def requests(self):
        """Give the addresses asked for since the last call, but for the page, its data and the browser's own pages."""
        entries = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]
        return [
            url for url in urls if not url.startswith(("file:", "data:", "blob:file:", "chrome:", "chrome-untrusted:"))
        ]


def wait(driver, condition):
    WebDriverWait(driver, 20, poll_frequency=0.05).until(condition)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    downloads = tmp_path_factory.mktemp("downloads")
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield Page(driver, downloads)
    driver.quit()


@pytest.fixture
def page(browser):
    """The browser with nothing kept from other tests; whatever a test does, no error and no request come of it."""
    browser.driver.get_log("browser")
    browser.requests()
    yield browser
    errors = [entry for entry in browser.driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors
    assert not browser.requests()
    browser.run("window.dispatchEvent(new Event('pagehide')); try { localStorage.clear() } catch {}")


def make_report(given, corrected, index=None):
    given, corrected = np.asarray(given), np.asarray(corrected)
    n_samples = len(given)
    return pd.DataFrame(
        {
            "given_label": given,
            "predicted_label": corrected,
            "is_label_issue": given != corrected,
            "label_quality": np.linspace(0.1, 0.4, n_samples),
            "corrected_label": corrected,
            "confidence": np.linspace(0.9, 0.5, n_samples),
        },
        index=index,
    )


@pytest.fixture
def report():
    """Six suspects of rows 0 to 5 in this order, then rows 6 and 7."""
    return make_report(list("aabbccab"), list("bcacabab"), index=[f"key {i}" for i in range(8)])


@pytest.fixture
def opened(page, tmp_path, report):
    return page.open(save_review(tmp_path / "page.html", report, [f"text {row}" for row in range(8)]))


def test_a_sample_and_its_labels(opened):
    assert opened.text("#sample-heading") == "Row 0 key 0"
    assert (opened.text("#given"), opened.text("#proposed")) == ("a", "b")
    assert opened.text("#content") == "text 0"
    assert [bar.text for bar in opened.find_all("#bars .number")] == ["10 %", "90 %"]
    widths = opened.run("return [...document.querySelectorAll('.fill')].map((bar) => bar.style.width)")
    assert widths == ["10%", "90%"]
    assert opened.progress == "0 of 6 suspects decided"
    assert len(opened.find_all("#list li")) == 6


def test_decisions_by_keys(opened, report):
    opened.press("a")
    assert (opened.row, opened.progress) == (1, "1 of 6 suspects decided")
    assert "Row 0 accepted: b. Now row 1: given a, proposed c" in opened.text("#status")
    opened.press("k", "s")
    assert opened.row == 3
    opened.press("o")
    assert opened.find("#chooser").is_displayed()
    opened.press("a", Keys.ENTER)
    assert opened.row == 4
    badges = opened.run("return [...document.querySelectorAll('#list .badge')].map((badge) => badge.textContent)")
    assert badges == ["accepted", "kept", "skipped", "a", "", ""]
    decided = json.loads(opened.export("json").read_text("utf-8"))
    assert (decided["format"], decided["version"]) == ("noisyfit decisions", 1)
    assert re.fullmatch("[0-9a-f]{32}", decided["fingerprint"])
    assert decided["decisions"][3] == {
        "row": 3,
        "index": "key 3",
        "given_label": "b",
        "proposed_label": "c",
        "decision": "other",
        "label": "a",
    }
    y = report["given_label"]
    for path in (opened.export("json"), opened.export("csv")):
        assert apply_decisions(y, path).to_list() == list("babaccab")
        assert apply_decisions(y.to_list(), path) == list("babaccab")


def test_decisions_by_buttons(opened):
    for name in ("accept", "keep", "skip"):
        opened.find(f"[data-do={name}]").click()
    opened.find("[data-do=other]").click()
    Select(opened.find("#options")).select_by_visible_text("a")
    if opened.find("#chooser").is_displayed():
        opened.find("#chooser .accept").click()
    opened.find("[data-do=previous]").click()
    assert opened.text("#state") == "other label: a"
    opened.find("[data-do=undo]").click()
    assert (opened.row, opened.progress) == (3, "3 of 6 suspects decided")
    opened.find("[data-do=previous]").click()
    opened.find("#clear").click()
    assert (opened.row, opened.progress) == (2, "2 of 6 suspects decided")
    opened.find("#list li:last-child button").click()
    assert opened.row == 5


def test_moves_and_undo(opened):
    for keys, row in [
        ([Keys.ARROW_RIGHT, Keys.ARROW_DOWN, "j", "n"], 4),
        ([Keys.ARROW_LEFT, Keys.ARROW_UP, "p"], 1),
        (["a", "a"], 3),
        (["u"], 2),
        (["u"], 1),
        (["u"], 1),
        ([Keys.ARROW_LEFT] * 3, 0),
        (["n"] * 9, 5),
    ]:
        opened.press(*keys)
        assert opened.row == row
    assert opened.progress == "0 of 6 suspects decided"
    opened.press("a")
    assert "That was the last of the list" in opened.text("#status")
    assert opened.row == 5


def test_another_label_that_is_the_given_or_the_proposed_one(opened):
    opened.press("o", Keys.ENTER)  # the proposed label is chosen at first
    opened.press("o", "a", Keys.ENTER)
    opened.press("o", Keys.ESCAPE)
    opened.press("o", Keys.ARROW_UP, Keys.ENTER)
    decisions = json.loads(opened.export("json").read_text("utf-8"))["decisions"]
    assert [(line["decision"], line["label"]) for line in decisions] == [
        ("accept", "b"),
        ("keep", "a"),
        ("accept", "a"),
    ]


def test_keys_right_after_escape_go_to_the_page_though_the_browser_has_not_said_that_the_chooser_is_closed(opened):
    opened_at_first, was_open = opened.run(
        """
        const chooser = document.getElementById("chooser");
        const pressed = { key: "o", bubbles: true };
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", pressed));
        const openedAtFirst = chooser.open;
        chooser.dispatchEvent(new Event("cancel"));
        const wasOpen = chooser.open;
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", pressed));
        return [openedAtFirst, wasOpen];
        """
    )
    opened.run("return new Promise((resolve) => setTimeout(resolve, 100))")  # the event of the closing comes in here
    assert opened_at_first
    assert not was_open
    assert opened.run("return document.activeElement.id") == "query"


def test_the_keys_can_be_turned_off_and_leave_fields_alone(opened):
    opened.find("#filter-low").send_keys("aks")
    opened.find("#shortcuts").click()
    opened.run("document.activeElement.blur()")
    opened.press("a", "k")
    assert opened.progress == "0 of 6 suspects decided"
    opened.find("#shortcuts").click()
    opened.press("a")
    assert opened.progress == "1 of 6 suspects decided"


def test_filters(opened):
    opened.select("given", "a")
    assert len(opened.find_all("#list li")) == 2
    opened.select("proposed", "c")
    assert [opened.row, opened.text("#queue-heading")] == [1, "1 sample"]
    opened.find("#filters-clear").click()
    opened.select("scope", "all samples")
    assert len(opened.find_all("#list li")) == 8
    opened.find("#filters-clear").click()
    low = opened.find("#filter-low")
    low.clear()
    low.send_keys("80", Keys.TAB)
    assert len(opened.find_all("#list li")) == 2
    opened.find("#filter-low").send_keys(Keys.ESCAPE)
    assert opened.run("return document.activeElement.id") == "sample"
    opened.find("#filters-clear").click()
    opened.select("state", "undecided")
    opened.press("p", "a")
    assert (opened.row, len(opened.find_all("#list li"))) == (1, 5)
    opened.press("u")
    assert (opened.row, len(opened.find_all("#list li"))) == (0, 6)
    opened.press("a")
    opened.select("state", "decided")
    assert (opened.row, len(opened.find_all("#list li"))) == (0, 1)
    opened.select("state", "– kept")
    assert opened.find("#empty").is_displayed()
    opened.press("a", "o", "u", Keys.ARROW_LEFT)
    opened.find("#empty-clear").click()
    assert len(opened.find_all("#list li")) == 6


def test_a_pair_is_chosen_in_the_table(opened):
    opened.find("button[data-given='1'][data-proposed='2']").click()
    assert (opened.row, opened.text("#queue-heading")) == (3, "1 sample")
    assert opened.run("return document.activeElement.id") == "sample"


def test_progress_is_kept(opened):
    opened.press("a", "k")
    opened.driver.refresh()
    assert (opened.row, opened.progress) == (2, "2 of 6 suspects decided")


def test_a_page_of_another_report_starts_anew(opened, tmp_path, report):
    opened.press("a")
    opened.open(save_review(tmp_path / "other.html", report.assign(confidence=0.5)))
    assert opened.progress == "0 of 6 suspects decided"


def keep(page, content):
    """Put something where the page keeps its progress, and open it again."""
    page.run("window.dispatchEvent(new Event('pagehide'))")  # what is to be saved is saved now, and not when it is left
    key = f"noisyfit-review:{json.loads(page.text('#data'))['page']}"  # the page's own, which need not be the only one
    page.run("localStorage.setItem(arguments[0], arguments[1])", key, content)
    page.driver.refresh()


@pytest.mark.parametrize(
    "content",
    [
        "[[0",
        "[1]",
        "[null]",
        "[[]]",
        "1",
        "null",
        '"accept"',
        '{"0": "accept"}',
        '[[0, "toString", 0]]',
        '[[0, ["accept"], 1]]',
        '[["0", "accept", 1]]',
        '[[99, "accept", 1]]',
        '[[0, "accept", 0]]',  # another label than the page proposes
        '[[0, "keep", 1]]',
        '[[0, "other", "length"]]',
        '[[0, "other", 1.5]]',
        '[[0, "other", 99]]',
        '[[0, "accept", 1], [1]]',
        "[" * 100_000,
        json.dumps([[0, "accept", 0]] * 20_000),
    ],
    ids=lambda content: content[:20],
)
def test_kept_progress_that_cannot_be_read(opened, content):
    opened.press("a")
    keep(opened, content)
    assert opened.progress == "0 of 6 suspects decided"
    assert "cannot be read" in opened.find("#notice").text
    opened.press("a", "k")
    opened.driver.refresh()
    assert (opened.row, opened.progress) == (2, "2 of 6 suspects decided")


def test_pages_of_equal_labels_keep_progress_apart(opened, tmp_path, report):
    opened.press("a")
    texts = [f"text {row}" for row in range(8)]
    others = [
        {"X": [*texts[:-1], "another text"]},
        {"X": None},
        {"X": texts, "title": "Other labels"},
        {"X": texts, "transition_matrix": np.eye(3)},
    ]
    for number, other in enumerate(others):
        opened.open(save_review(tmp_path / f"{number}.html", report, **other))
        assert opened.progress == "0 of 6 suspects decided"
        opened.press("a", "a")
    opened.open(save_review(tmp_path / "again.html", report, texts))
    assert opened.progress == "1 of 6 suspects decided"
    opened.open(tmp_path / "page.html")
    assert opened.progress == "1 of 6 suspects decided"


def test_pages_that_ask_about_other_rows_keep_progress_apart(page, tmp_path):
    rng = np.random.default_rng(0)
    y, proba = rng.integers(0, 2, 60), rng.dirichlet([1, 1], 60)
    verdict = judge_labels(y, proba)
    written = {"report": verdict.label_report(), "judged": verdict}
    page.open(save_review(tmp_path / "a.html", **written))
    page.press("a")
    page.open(save_review(tmp_path / "b.html", **written, n_checks=20))
    assert page.progress == "0 of 20 checked"
    page.open(save_review(tmp_path / "c.html", **written))
    assert page.progress == "1 of 50 checked"


def test_answers_are_not_taken_over_by_other_proposals(opened, tmp_path, report):
    opened.press("a", "a")
    changed = report.assign(corrected_label=list("cbcacbab"), predicted_label=list("cbcacbab"))
    opened.open(save_review(tmp_path / "page.html", changed, [f"text {row}" for row in range(8)], overwrite=True))
    assert opened.progress == "0 of 6 suspects decided"


def test_without_local_storage(page, tmp_path, report):
    refuse = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no') } })"
    script = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": refuse})
    try:
        page.open(save_review(tmp_path / "page.html", report))
        assert "keeps no progress" in page.find("#notice").text
        page.press("a")
        assert page.progress == "1 of 6 suspects decided"
        page.export("json")  # else the browser would ask before it leaves the page
    finally:
        page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
        page.driver.get("about:blank")


def test_hand_over(opened, report):
    opened.press("a", "a", "o", "c", Keys.ENTER)
    mine = opened.export("json")
    opened.press("u", "u", "u")
    opened.press("a", "k")
    opened.take_in(mine)
    wait(opened.driver, lambda _: opened.find("#conflict").is_displayed())
    assert opened.text("#conflict-text").startswith("One sample is decided otherwise")
    opened.find("#conflict-mine").click()
    assert opened.progress == "3 of 6 suspects decided"
    opened.press("u")
    assert opened.progress == "2 of 6 suspects decided"
    opened.take_in(mine)
    wait(opened.driver, lambda _: opened.find("#conflict").is_displayed())
    opened.find("#conflict-theirs").click()
    assert opened.progress == "3 of 6 suspects decided"
    assert json.loads(opened.export("json").read_text()) == json.loads(mine.read_text())
    assert apply_decisions(report["given_label"], mine).to_list() == list("bccbccab")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no json", "it is no JSON file"),
        ({"format": "x"}, "it is no export of a review page"),
        ({"version": 2}, "its version is 2"),
        ({"fingerprint": "0"}, "it belongs to another report"),
        ({"decisions": 1}, "it holds no list"),
        ({"decisions": [{"row": 99, "decision": "keep"}]}, "it holds {"),
        ({"decisions": [{"row": 0, "decision": "toString"}]}, "it holds {"),
        ({"decisions": [{"row": 0, "decision": "other", "label": "zebra"}]}, 'the label "zebra" of row 0 is not one'),
    ],
)
def test_a_file_that_cannot_be_imported(opened, tmp_path, change, message):
    content = json.loads(opened.export("json").read_text("utf-8"))
    path = tmp_path / "bad.json"
    path.write_text(change if isinstance(change, str) else json.dumps(content | change), encoding="utf-8")
    opened.take_in(path)
    wait(opened.driver, lambda _: opened.find("#notice").is_displayed())
    assert message in opened.text("#notice")
    assert opened.progress == "0 of 6 suspects decided"


def test_hostile_strings_are_shown_and_survive(page, tmp_path):
    report = make_report(HOSTILE, HOSTILE[1:] + HOSTILE[:1], index=HOSTILE)
    page.open(save_review(tmp_path / "page.html", report, HOSTILE, title=HOSTILE[0]))
    assert page.driver.title == HOSTILE[0]
    for place, text in enumerate(HOSTILE):
        assert page.row == place
        assert page.text("#given") == (text if text.strip() else json.dumps(text))
        assert page.text("#content") == text
        page.press("o")
        page.press(Keys.ESCAPE)
        wait(page.driver, lambda _: not page.find_all("dialog[open]"))
        page.press("a")
    assert page.run("return window.hacked") is None
    assert not page.find_all("img")
    for path in (page.export("json"), page.export("csv")):
        assert apply_decisions(HOSTILE, path) == HOSTILE[1:] + HOSTILE[:1]
        assert apply_decisions(pd.Series(HOSTILE, index=HOSTILE)[::-1], path)[HOSTILE[0]] == HOSTILE[1]
    with page.export("csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file, strict=True))
    assert [line["index"] for line in lines] == HOSTILE
    assert [line["label"] for line in lines] == HOSTILE[1:] + HOSTILE[:1]


def test_half_a_character_leaves_as_json_only(page, tmp_path):
    index = pd.Index(["x\udcff", "y"], dtype=object)
    page.open(save_review(tmp_path / "page.html", make_report(["a", "b"], ["b", "a"], index=index)))
    page.press("a", "a")
    page.find("#export-csv").click()
    assert "CSV cannot hold a label or key" in page.find("#notice").text
    y = pd.Series(["a", "b"], index=index)
    assert apply_decisions(y, page.export("json")).to_list() == ["b", "a"]
    assert not list(page.downloads.glob("*.csv"))


@pytest.mark.parametrize(
    ("y", "index"),
    [
        ([2**60 + 1, 2**60], None),
        ([1.0, 2.5], [1.0, 2.0]),
        ([True, False], [2**60 + 1, 2**60]),
        (["a", "b"], pd.MultiIndex.from_tuples([("x", 1), ("x", 2)])),
        (["a", "b"], pd.to_datetime(["2024-01-01", "2024-01-02"])),
        (["a", "b"], [5, 5]),
    ],
)
def test_types_survive(page, tmp_path, y, index):
    page.open(save_review(tmp_path / "page.html", make_report(y, y[::-1], index=index)))
    page.press("a", "a")
    for path in (page.export("json"), page.export("csv")):
        result = apply_decisions(pd.Series(y, index=index), path)
        assert result.to_list() == y[::-1]
    labels = [line["label"] for line in json.loads(page.export("json").read_text())["decisions"]]
    assert labels == y[::-1]
    assert list(map(type, labels)) == list(map(type, y))
    kept = page.export("json")
    page.press("u", "u")
    page.take_in(kept)
    wait(page.driver, lambda _: page.progress == "2 of 2 suspects decided")


def test_rows_of_a_table(page, tmp_path, report):
    table = pd.DataFrame({f"column {j}": [f"{row} {j}" for row in range(8)] for j in range(40)})
    table["column 1"] = "x" * 500
    page.open(save_review(tmp_path / "page.html", report, table))
    assert page.text(".values tr th") == "column 0"
    assert len(page.find_all(".values tr")) == 24
    assert len(page.text(".values tr:nth-child(2) td")) < 100
    page.find(".values tr:nth-child(2) button").click()
    assert page.text(".values tr:nth-child(2) td") == "x" * 500
    page.run("document.querySelector('#content > button').scrollIntoView()")
    page.find("#content > button").click()
    assert len(page.find_all(".values tr")) == 40


def test_long_texts_are_cut_until_asked(page, tmp_path, report):
    page.open(save_review(tmp_path / "page.html", report, ["word " * 1000] * 8))
    assert len(page.text(".text")) < 1000
    page.find("#content button").click()
    assert page.text(".text") == "word " * 1000


def test_samples_beyond_those_shown(page, tmp_path, report):
    page.open(save_review(tmp_path / "page.html", report, [f"text {row}" for row in range(8)], n_pictures=1))
    page.press("n")
    assert "Raise n_pictures" in page.text("#content")
    page.press("a")
    assert page.progress == "1 of 6 suspects decided"


def test_pictures(page, tmp_path, report):
    images = np.random.default_rng(0).integers(0, 255, (8, 16, 12, 3), dtype=np.uint8)
    page.open(save_review(tmp_path / "page.html", report, images))
    wait(page.driver, lambda _: page.run("return document.querySelector('.picture').naturalHeight") == 16)
    assert page.find(".picture").get_attribute("alt") == "Picture of row 0"
    assert len(page.find_all("#list img")) == 6


def test_no_suspects(page, tmp_path):
    page.open(save_review(tmp_path / "page.html", make_report(["a", "b"], ["a", "b"])))
    assert page.progress == "0 of 0 suspects decided"
    assert len(page.find_all("#list li")) == 2
    assert len(page.find_all("#bars dt")) == 1
    page.press("k")
    assert page.progress == "0 of 0 suspects decided, and 1 others"


def test_names_and_roles(opened):
    assert len(opened.find_all("main")) == len(opened.find_all("header")) == len(opened.find_all("h1")) == 1
    unnamed = opened.run("""
        const name = (node) => node.getAttribute("aria-label") ?? node.textContent.trim();
        const labelled = (node) => node.labels?.length || node.getAttribute("aria-label");
        return [
          ...[...document.querySelectorAll("button")].filter((node) => !name(node)),
          ...[...document.querySelectorAll("input, select")].filter((node) => !labelled(node)),
          ...[...document.querySelectorAll("img:not([alt])")],
        ].map((node) => node.outerHTML);
    """)
    assert unnamed == []
    assert opened.find("#status").get_attribute("aria-live") == "polite"
    assert opened.find("#list [aria-current]").get_attribute("data-place") == "0"
    assert {cell.get_attribute("scope") for cell in opened.find_all(".noise th")} == {"col", "row"}
    assert opened.run("return document.documentElement.lang") == "en"
    identifiers = opened.run("return [...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(set(identifiers)) == len(identifiers)


def test_all_can_be_reached_by_tab(opened):
    opened.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    seen = []
    for _ in range(40):
        opened.press(Keys.TAB)
        seen.append(
            opened.run("const n = document.activeElement; return n.id || n.dataset.do || n.className || n.tagName")
        )
        outline = opened.run("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or seen[-1] in ("sample", "BODY")
        if "item" in seen:
            break
    places = [seen.index(name) for name in ("skip-link", "export-csv", "filter-scope", "accept", "undo", "item")]
    assert places == sorted(places)
    assert seen.count("item") == 1  # one stop in the list, arrows within it
    opened.press(Keys.ARROW_DOWN)
    assert opened.run("return document.activeElement.dataset.place") == "1"


CONTRAST = """
  const parse = (colour) => {
    const numbers = colour.match(/[\\d.]+/g).map(Number);
    return numbers.length < 4 ? [...numbers, 1] : numbers;
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
  const ground = (node) => {
    if (!node) return [255, 255, 255];
    const colour = parse(getComputedStyle(node).backgroundColor);
    return colour[3] === 1 ? colour.slice(0, 3) : over(colour, ground(node.parentElement));
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const low = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.getClientRects().length || node.closest("[aria-disabled=true], script, style, option")) continue;
    const back = ground(node);
    const [a, b] = [light(over(parse(getComputedStyle(node).color), back)), light(back)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${node.outerHTML.slice(0, 100)}`);
  }
  return low;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(page, tmp_path, scheme):
    shares = np.linspace(0, 1, 12)
    given = np.repeat(np.arange(12), 20)
    corrected = np.where(np.tile(np.arange(20), 12) < 20 * shares[given], given, (given + 1) % 12)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        page.open(save_review(tmp_path / "page.html", make_report(given, corrected)))
        page.press("a", "k", "s", "o", "5", Keys.ENTER, "u")
        page.press("o", "5", Keys.ENTER, "p")
        levels = {cell.get_attribute("class").split()[0] for cell in page.find_all(".noise td")}
        assert len(levels) >= 10
        assert page.run(CONTRAST) == []
        page.press("o")
        assert page.run(CONTRAST) == []
        page.press(Keys.ESCAPE)
        shot = base64.b64decode(page.driver.get_screenshot_as_base64())
        assert len(shot) > 10_000
        is_dark = page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 27)"
        assert is_dark == (scheme == "dark")
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_narrow_screen(opened):
    size = {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    opened.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        opened.driver.refresh()
        assert opened.run("return document.documentElement.scrollWidth") <= 360
        assert not opened.find("#filters").is_displayed()
        opened.find("#filters-toggle").click()
        assert opened.find("#filters").is_displayed()
        assert opened.run("return document.documentElement.scrollWidth") <= 360
        accept = opened.run("return document.querySelector('[data-do=accept]').getBoundingClientRect().bottom")
        assert accept <= 700
    finally:
        opened.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_large_report_stays_quick(page, tmp_path):
    n_samples = 50_000
    rng = np.random.default_rng(0)
    given, corrected = rng.integers(0, 50, (2, n_samples))
    corrected = np.where(rng.random(n_samples) < 0.2, corrected, given)
    images = np.broadcast_to(rng.integers(0, 255, (1, 64, 64, 3), dtype=np.uint8), (n_samples, 64, 64, 3))
    report = make_report(given, corrected, index=[f"IMG_{i}" for i in range(n_samples)])
    start = time.perf_counter()
    page.open(save_review(tmp_path / "page.html", report, images))
    page.select("scope", "all samples")
    assert page.text("#page") == "1 of 1,000"
    n_nodes = page.run("return document.querySelectorAll('*').length")
    for _ in range(20):
        page.find("[data-do=page-on]").click()
    page.press(*"akasakas")
    assert page.progress.startswith("8 of ")
    assert page.text("#page") == "21 of 1,000"
    assert page.run("return document.querySelectorAll('*').length") < n_nodes + 500 < 10_000
    assert len(page.find_all("#list li")) == 50
    assert time.perf_counter() - start < 120
