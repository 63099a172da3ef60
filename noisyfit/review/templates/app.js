"use strict";
(() => {
  const PAGE_SIZE = 50;
  const SHORT_TEXT = 600;
  const SHORT_VALUE = 80;
  const FEW_COLUMNS = 24;
  const PAST = { accept: "accepted", keep: "kept", other: "other label", skip: "skipped" };

  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const nSamples = data.row.length;
  const storageKey = `noisyfit-review:${data.page}`;

  // Samples are numbered by rank, labels by class number. A decision is {decision, label, taken}; taken is set where
  // a proposal was taken together with all others, which is nobody's answer.
  const decisions = new Map();
  const history = []; // of lists of [rank, decision before]
  let view = [];
  let position = 0;
  let exported = true;
  let items = new Map(); // the list's elements by rank: a picture that stays is not decoded again
  const asking = data.inquiry ? openInquiry(data.inquiry) : null;
  let isChecking = Boolean(asking);
  let second = null; // by rank what another person decided of samples that both looked at
  const samplePlaces = new Map(data.samples.ranks?.map((rank, place) => [rank, place]));

  // ---------------------------------------------------------------- words

  const count = (number) => number.toLocaleString("en-US");
  const isNearBound = (share) => (share > 0 && share < 0.01) || (share > 0.99 && share < 1);
  // rounded down: only what is sure is 100 %
  const percent = (share) => `${isNearBound(share) ? (Math.floor(1000 * share) / 10).toFixed(1) : Math.round(100 * share)} %`;
  const labelText = (label) => data.classes[label].text;
  const keyText = (rank) => data.index.values[rank];
  const cut = (text, length) => (text.length > length ? `${text.slice(0, length)}…` : text);

  function spoken(label) {
    const text = labelText(label);
    return text.trim() ? text : JSON.stringify(text);
  }

  function element(name, className, text) {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function isolated(text, className) {
    const node = element("bdi", className, text.trim() ? text : JSON.stringify(text));
    node.title = text;
    return node;
  }

  function announce(text) {
    $("status").textContent = text;
  }

  function notify(text) {
    $("notice").textContent = text;
    $("notice").hidden = !text;
  }

  // ---------------------------------------------------------------- progress kept in the browser

  function openStorage() {
    try {
      const storage = window.localStorage;
      storage.setItem("noisyfit-review", "");
      storage.removeItem("noisyfit-review");
      return storage;
    } catch {
      return null;
    }
  }

  const storage = openStorage();
  let timer = 0;

  function save() {
    timer = 0;
    const kept = [...decisions].map(([rank, { decision, label, taken }]) => [data.row[rank], decision, label, ...(taken ? [1] : [])]);
    try {
      storage?.setItem(storageKey, JSON.stringify(kept));
    } catch {
      notify("The browser has no room to keep the progress. Export the decisions before you close the page.");
    }
  }

  function saveSoon() {
    exported = false;
    timer ||= window.setTimeout(save, 200);
  }

  function saveNow() {
    if (!timer) return;
    window.clearTimeout(timer);
    save();
  }

  function load(text) {
    let kept = [];
    try {
      kept = keptDecisions(text);
    } catch {
      notify("The progress kept in this browser cannot be read; the page starts anew.");
    }
    decisions.clear();
    if (asking) asking.found = null;
    for (const [rank, decision] of kept) decisions.set(rank, decision);
  }

  // Anything may lie there: other pages and programs share the room. What is not whole is not taken.
  function keptDecisions(text) {
    const ranks = ranksByRow();
    return JSON.parse(text ?? "[]").map(([row, decision, label, taken]) => {
      const rank = ranks.get(row);
      if (!isDecision(rank, decision, label)) throw new Error("it is not of this page");
      return [rank, { decision, label, ...(taken ? { taken: true } : {}) }];
    });
  }

  function isDecision(rank, decision, label) {
    if (rank === undefined || typeof decision !== "string" || !Object.hasOwn(PAST, decision)) return false;
    if (decision === "other") return Number.isInteger(label) && label >= 0 && label < data.classes.length;
    return label === (decision === "accept" ? data.proposed : data.given)[rank];
  }

  function ranksByRow() {
    return new Map(data.row.map((row, rank) => [row, rank]));
  }

  // ---------------------------------------------------------------- filters

  function readFilters() {
    const number = (id, otherwise) => ($(id).value === "" ? otherwise : Number($(id).value)) / 100;
    const code = (id) => ($(id).value === "" ? null : Number($(id).value));
    return {
      end: $("filter-scope").value === "suspects" ? data.n_suspects : nSamples,
      given: code("filter-given"),
      proposed: code("filter-proposed"),
      low: number("filter-low", 0) - 1e-9,
      high: number("filter-high", 100) + 1e-9,
      state: $("filter-state").value,
    };
  }

  function hasState(rank, state) {
    const decision = decisions.get(rank)?.decision;
    if (state === "undecided") return !decision;
    if (state === "decided") return Boolean(decision);
    return state === "" || decision === state;
  }

  // With filters a decision may take its sample out of the list.
  const isListed = (rank) => isChecking || hasState(rank, $("filter-state").value);

  function updateView() {
    if (isChecking) {
      view = asking.ranks.slice(0, asking.nAsked);
      return;
    }
    const { end, given, proposed, low, high, state } = readFilters();
    view = [];
    for (let rank = 0; rank < end; rank++) {
      if (given !== null && data.given[rank] !== given) continue;
      if (proposed !== null && data.proposed[rank] !== proposed) continue;
      if (data.confidence[rank] < low || data.confidence[rank] > high) continue;
      if (hasState(rank, state)) view.push(rank);
    }
  }

  function filter() {
    const before = view[position];
    updateView();
    position = Math.max(0, view.indexOf(before));
    render();
    announce(`${count(view.length)} samples pass the filters.`);
  }

  function setFilters(given, proposed) {
    $("filter-scope").value = data.n_suspects ? "suspects" : "all";
    $("filter-given").value = given;
    $("filter-proposed").value = proposed;
    $("filter-low").value = 0;
    $("filter-high").value = 100;
    $("filter-state").value = "";
  }

  function clearFilters() {
    setFilters("", "");
    filter();
  }

  function goTo(rank) {
    if (!view.includes(rank)) {
      setChecking(false);
      setFilters("", "");
      if (rank >= data.n_suspects) $("filter-scope").value = "all";
      updateView();
    }
    position = view.indexOf(rank);
    render();
    announce(describe());
    $("sample").focus();
  }

  function showPair(given, proposed) {
    setFilters(given, proposed);
    updateView();
    if (!view.length) $("filter-scope").value = "all";
    filter();
    $("sample").focus();
  }

  // ---------------------------------------------------------------- decisions

  function change(entries) {
    history.push(entries.map(([rank]) => [rank, decisions.get(rank)]));
    write(entries);
  }

  function write(entries) {
    for (const [rank, decision] of entries) {
      if (decision) decisions.set(rank, decision);
      else decisions.delete(rank);
    }
    if (asking) asking.found = null;
    saveSoon();
  }

  function decide(decision, label) {
    const rank = view[position];
    if (rank === undefined) return;
    change([[rank, { decision, label }]]);
    const isHidden = !isListed(rank);
    const isLast = position === view.length - 1;
    if (isHidden) updateView();
    position = Math.max(0, Math.min(isHidden ? position : position + 1, view.length - 1));
    render();
    const said = decision === "skip" ? "skipped" : `${PAST[decision]}: ${spoken(label)}`;
    announce(`Row ${data.row[rank]} ${said}. ${isLast ? "That was the last of the list." : describe()}${isChecking ? milestone() : ""}`);
  }

  function decideByName(name) {
    const rank = view[position];
    if (rank === undefined) return;
    if (name === "other") openChooser();
    else decide(name, name === "accept" ? data.proposed[rank] : data.given[rank]);
  }

  function choose(label) {
    const rank = view[position];
    if (label === data.given[rank]) decide("keep", label);
    else decide(label === data.proposed[rank] ? "accept" : "other", label);
  }

  function undo() {
    const entries = history.pop();
    if (!entries) return announce("Nothing to undo.");
    write(entries);
    updateView();
    const found = view.indexOf(entries[0][0]);
    if (found >= 0 && entries.length === 1) position = found;
    position = Math.max(0, Math.min(position, view.length - 1));
    render();
    announce(`Undone: row ${data.row[entries[0][0]]}${entries.length > 1 ? ` and ${entries.length - 1} more` : ""}.`);
  }

  function clearDecision() {
    const rank = view[position];
    change([[rank, undefined]]);
    updateView();
    position = Math.max(0, Math.min(position, view.length - 1));
    render();
    $("sample").focus();
    announce(`Decision of row ${data.row[rank]} cleared.`);
  }

  function move(to) {
    if (!view.length) return;
    const next = Math.max(0, Math.min(to, view.length - 1));
    if (next === position) return announce(next ? "This is the last of the list." : "This is the first of the list.");
    position = next;
    render();
    announce(describe());
  }

  function describe() {
    const rank = view[position];
    if (rank === undefined) return "No sample is left in the list.";
    const state = decisions.has(rank) ? `, ${PAST[decisions.get(rank).decision]}` : "";
    return (
      `${isChecking ? `${count(position + 1)} of ${count(view.length)}. ` : ""}Now row ${data.row[rank]}: given ${spoken(data.given[rank])}, proposed ${spoken(data.proposed[rank])}, ` +
      `${isChecking ? reason(rank) : `confidence ${percent(data.confidence[rank])}`}${state}.`
    );
  }

  // ---------------------------------------------------------------- the sample

  function renderCard() {
    const rank = view[position];
    const isEmpty = rank === undefined;
    $("card").hidden = isEmpty;
    $("empty").hidden = !isEmpty;
    for (const button of document.querySelectorAll("[data-do]")) {
      const name = button.dataset.do;
      button.setAttribute("aria-disabled", String(name === "undo" ? !history.length : isDisabled(name)));
    }
    if (isEmpty) return;
    $("sample-heading").replaceChildren(...heading(rank));
    $("given").replaceChildren(isolated(labelText(data.given[rank])));
    $("proposed").replaceChildren(isolated(labelText(data.proposed[rank])));
    $("bars").replaceChildren(...bars(rank));
    $("content").replaceChildren(...content(rank));
    renderState($("state"), decisions.get(rank), true);
    $("clear").hidden = !decisions.has(rank);
    if (asking) {
      $("reason").hidden = !isChecking;
      $("reason").textContent = isChecking ? reason(rank) : "";
    }
    renderTheirs(rank);
  }

  function isDisabled(name) {
    if (name === "previous" || name === "page-back") return position === 0;
    if (name === "next") return position >= view.length - 1;
    if (name === "page-on") return (Math.floor(position / PAGE_SIZE) + 1) * PAGE_SIZE >= view.length;
    return !view.length;
  }

  function heading(rank) {
    const nodes = [`Row ${count(data.row[rank])}`];
    if (keyText(rank) !== String(data.row[rank])) nodes.push(" ", isolated(keyText(rank), "key"));
    return nodes;
  }

  function renderState(badge, decision, isLong) {
    badge.className = `badge ${decision ? decision.decision : "undecided"}`;
    const past = decision && (decision.taken ? "taken" : PAST[decision.decision]);
    badge.textContent = past ?? (isLong ? "undecided" : "");
    if (decision?.decision === "other") badge.replaceChildren(isLong ? "other label: " : "", isolated(labelText(decision.label)));
  }

  function bars(rank) {
    const nodes = bar(data.given[rank], data.quality[rank], "given");
    if (data.changed[rank] === "1") nodes.push(...bar(data.proposed[rank], data.confidence[rank], "proposed"));
    return nodes;
  }

  function bar(label, share, className) {
    const term = element("dt");
    term.append(isolated(labelText(label)));
    const value = element("dd", className);
    const track = element("span", "track");
    const fill = element("span", "fill");
    fill.style.width = `${100 * share}%`;
    track.append(fill);
    value.append(track, element("span", "number", percent(share)));
    return [term, value];
  }

  function content(rank) {
    const { kind, values } = data.samples;
    if (kind === "none") return [];
    const sample = sampleOf(rank);
    if (sample === undefined) {
      const shown = `The page holds ${asking ? "" : "the first "}${count(values.length)} samples; this one is not among them.`;
      return [element("p", "absent", `${shown} Raise n_pictures to see more.`)];
    }
    if (kind === "pictures") return [picture(rank, "picture")];
    return kind === "texts" ? longText(sample) : tableRow(sample);
  }

  const sampleOf = (rank) => data.samples.values[data.samples.ranks ? samplePlaces.get(rank) : rank];

  function picture(rank, className) {
    const image = element("img", className);
    image.alt = className === "picture" ? `Picture of row ${data.row[rank]}` : "";
    image.decoding = "async";
    image.loading = "lazy";
    image.draggable = false;
    image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth <= 48));
    image.src = sampleOf(rank);
    return image;
  }

  function longText(text) {
    const body = element("p", "text", cut(text, SHORT_TEXT));
    body.dir = "auto";
    if (text.length <= SHORT_TEXT) return [body];
    return [body, expander("Show the whole text", () => (body.textContent = text))];
  }

  function expander(name, expand) {
    const button = element("button", "quiet", name);
    button.type = "button";
    button.addEventListener("click", () => {
      expand();
      button.remove();
      $("sample").focus();
    });
    return button;
  }

  function tableRow(values) {
    const { columns, n_columns: nColumns } = data.samples;
    const table = element("table", "values");
    table.append(element("caption", "unseen", "Values of this sample"));
    const body = table.createTBody();
    const add = (from, to) => values.slice(from, to).forEach((value, i) => body.append(tableLine(columns[from + i], value)));
    add(0, FEW_COLUMNS);
    const nodes = [table];
    if (values.length > FEW_COLUMNS) {
      nodes.push(expander(`Show all ${count(values.length)} values`, () => add(FEW_COLUMNS, values.length)));
    }
    if (nColumns > values.length) nodes.push(element("p", "absent", `${count(nColumns - values.length)} more columns are not in the page.`));
    return nodes;
  }

  function tableLine(name, value) {
    const line = element("tr");
    const head = element("th");
    head.scope = "row";
    head.append(isolated(name));
    const cell = element("td");
    cell.dir = "auto";
    cell.textContent = cut(value, SHORT_VALUE);
    if (value.length > SHORT_VALUE) {
      const more = element("button", "quiet", "more");
      more.type = "button";
      more.addEventListener("click", () => {
        cell.textContent = value;
        $("sample").focus();
      });
      cell.append(" ", more);
    }
    line.append(head, cell);
    return line;
  }

  // ---------------------------------------------------------------- the list

  function renderList() {
    const start = Math.floor(position / PAGE_SIZE) * PAGE_SIZE;
    const ranks = view.slice(start, start + PAGE_SIZE);
    const hadFocus = $("list").contains(document.activeElement);
    items = new Map(ranks.map((rank) => [rank, items.get(rank) ?? listItem(rank)]));
    $("list").replaceChildren(...items.values());
    $("list").start = start + 1;
    ranks.forEach((rank, i) => updateItem(items.get(rank), rank, start + i));
    const nPages = Math.max(1, Math.ceil(view.length / PAGE_SIZE));
    $("page").textContent = `${count(start / PAGE_SIZE + 1)} of ${count(nPages)}`;
    $("queue-heading").textContent = `${count(view.length)} ${view.length === 1 ? "sample" : "samples"}`;
    const current = items.get(view[position])?.firstChild;
    if (hadFocus) current?.focus({ preventScroll: true });
    if (current) keepInSight(current.parentElement);
  }

  function listItem(rank) {
    const item = element("li");
    const button = element("button", "item");
    button.type = "button";
    if (data.samples.kind === "pictures" && sampleOf(rank) !== undefined) button.append(picture(rank, "thumb"));
    const words = element("span", "words");
    const pair = element("span", "pair");
    pair.append(isolated(cut(labelText(data.given[rank]), SHORT_VALUE)), " → ", isolated(cut(labelText(data.proposed[rank]), SHORT_VALUE)));
    words.append(pair);
    const excerpt = element("span", "excerpt");
    excerpt.append(isolated(listExcerpt(rank)));
    words.append(excerpt);
    button.append(words, element("span", "badge"), element("span", "number", percent(data.confidence[rank])));
    item.append(button);
    return item;
  }

  function listExcerpt(rank) {
    if (data.samples.kind === "texts" && sampleOf(rank) !== undefined) return cut(sampleOf(rank), SHORT_VALUE);
    const key = keyText(rank);
    return key === String(data.row[rank]) ? `row ${count(data.row[rank])}` : cut(key, SHORT_VALUE);
  }

  function updateItem(item, rank, place) {
    const button = item.firstChild;
    button.dataset.place = place;
    const isCurrent = place === position;
    button.tabIndex = isCurrent ? 0 : -1;
    if (isCurrent) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    renderState(button.querySelector(".badge"), decisions.get(rank), false);
  }

  function keepInSight(item) {
    const list = $("list");
    const above = item.offsetTop - list.offsetTop;
    if (above < list.scrollTop) list.scrollTop = above;
    const below = above + item.offsetHeight - list.clientHeight;
    if (below > list.scrollTop) list.scrollTop = below;
  }

  function showProgress(text, done, of) {
    $("progress-text").textContent = text;
    $("progress").max = Math.max(1, of);
    $("progress").value = done;
  }

  function renderProgress() {
    const tally = { accept: 0, keep: 0, other: 0, skip: 0 };
    let suspects = 0;
    for (const [rank, { decision }] of decisions) {
      tally[decision]++;
      if (rank < data.n_suspects) suspects++;
    }
    const beyond = decisions.size - suspects;
    const parts = Object.entries(tally).filter(([, n]) => n).map(([name, n]) => `${count(n)} ${PAST[name]}`);
    $("progress-text").title = parts.join(", ");
    if (isChecking) {
      const done = view.filter(isLookedAt).length;
      return showProgress(`${count(done)} of ${count(view.length)} checked`, done, view.length);
    }
    const text = `${count(suspects)} of ${count(data.n_suspects)} suspects decided`;
    showProgress(`${text}${beyond ? `, and ${count(beyond)} others` : ""}`, suspects, data.n_suspects);
  }

  function render() {
    renderProgress();
    renderCard();
    renderSecond();
    if (isChecking) renderChecks();
    else renderList();
  }

  // ---------------------------------------------------------------- rows to check first

  // What stays as it is: the rows as ranks, in order, and what checks.js reckons with.
  function openInquiry(kept) {
    const rankOf = Checks.unpack(kept.rank, Int32Array);
    const inquiry = Checks.inquiryFrom(kept, rankOf.map((rank) => data.given[rank]));
    const settled = new Map(kept.checked.map((row, i) => [row, kept.labels[i]]));
    const rows = [...inquiry.orders[0]].filter((row) => !settled.has(row));
    const reasonOf = new Map([...inquiry.orders[0]].map((row, i) => [row, kept.reasons[i]]));
    const rowOf = new Int32Array(nSamples).fill(-1);
    rankOf.forEach((rank, row) => (rowOf[rank] = row));
    const ranks = rows.map((row) => rankOf[row]);
    return { inquiry, settled, ranks, rankOf, rowOf, reasonOf, classes: new Set(kept.classes), step: kept.n_checks, nAsked: kept.n_checks, found: null };
  }

  function isLookedAt(rank) {
    return decisions.has(rank) && !decisions.get(rank).taken;
  }

  const reason = (rank) => asking.reasonOf.get(asking.rowOf[rank]);

  // Answers by row; a label that no judged row has says only that the row was looked at.
  function answers() {
    const found = new Map(asking.settled);
    for (const [rank, { decision, label, taken }] of decisions) {
      const row = asking.rowOf[rank];
      if (taken || row < 0) continue;
      const isKnown = decision !== "skip" && asking.classes.has(label);
      if (isKnown || !found.has(row)) found.set(row, isKnown ? label : Checks.UNKNOWN);
    }
    return found;
  }

  // Once for all that is shown between two decisions.
  function settle() {
    if (!asking.found) {
      const found = answers();
      asking.found = Checks.settle(asking.inquiry, [...found.keys()], [...found.values()]);
    }
    return asking.found;
  }

  // What taking all proposals would change: proposals that are worth it in, those that no longer are out.
  function entriesToTake({ changed }) {
    const wanted = new Set();
    for (let row = 0; row < changed.length; row++) if (changed[row]) wanted.add(asking.rankOf[row]);
    for (const [row, label] of asking.settled) {
      const rank = asking.rankOf[row];
      if (label === data.proposed[rank]) wanted.add(rank);
    }
    const entries = [];
    for (const [rank, { taken }] of decisions) if (taken && !wanted.has(rank)) entries.push([rank, undefined]);
    for (const rank of wanted) {
      if (!decisions.has(rank)) entries.push([rank, { decision: "accept", label: data.proposed[rank], taken: true }]);
    }
    return entries;
  }

  function renderChecks() {
    const found = settle();
    $("checks-place").textContent = `${count(position + 1)} of ${count(view.length)}`;
    $("checks-known").replaceChildren(...known(found).map((text) => element("p", "", text)));
    $("checks-enough").textContent = enough(found);
    const skipped = firstLeftOut();
    $("checks-gap").hidden = skipped === undefined;
    if (skipped !== undefined) $("gap-text").textContent = `Row ${count(data.row[skipped])} was left out: answers after it do not count yet. `;
    const entries = found.promise ? entriesToTake(found) : [];
    const nTaken = [...decisions.values()].filter(({ taken }) => taken).length;
    $("take-all").hidden = !found.promise || (!entries.length && !nTaken);
    $("take-all").textContent = takeText(entries, nTaken);
    $("take-all").setAttribute("aria-disabled", String(!entries.length));
    const left = Math.min(asking.step, asking.ranks.length - asking.nAsked);
    $("more").hidden = left <= 0 || !view.every(isLookedAt);
    $("more").textContent = `${count(left)} more`;
  }

  function takeText(entries, nTaken) {
    const nNew = entries.filter(([, decision]) => decision).length;
    if (!entries.length) return `${count(nTaken)} proposals are taken`;
    return nTaken ? `Bring the ${count(nTaken)} taken proposals up to date` : `Take ${nNew === 1 ? "the proposal" : `all ${count(nNew)} proposals`}`;
  }

  // Plain words for what Checks.settle gives.
  function known({ nSampled, nAnswers, nLookedAt, promise }) {
    const texts = [];
    if (!promise) {
      texts.push(`${nSampled ? count(nSampled) : "None"} checked; from ${Checks.ENOUGH} on something can be said.`);
    } else {
      const [low, high] = promise.wrong.map((share) => Math.round(100 * share));
      texts.push(`${count(nSampled)} checked: ${low === high ? low : `${low} to ${high}`}\u00a0% of the labels are wrong.`, worth(promise));
    }
    const [untold, others] = [nLookedAt - nAnswers, nAnswers - nSampled];
    if (untold) texts.push(`${count(untold)} more ${untold === 1 ? "was" : "were"} looked at, but nobody could tell.`);
    if (others) texts.push(`${count(others)} more ${others === 1 ? "is" : "are"} known, but stand${others === 1 ? "s" : ""} for no other.`);
    return texts;
  }

  function worth({ changes, changesRight, rightAfter }) {
    const right = `at least ${(Math.floor(1000 * rightAfter) / 10).toFixed(1)}\u00a0% of all labels are right`;
    if (!changes) return `No change is worth it; ${right}.`;
    const made = changes === 1 ? "1 change" : `${count(changes)} changes`;
    return `Taking the proposals makes ${made}, of which at least ${count(changesRight)} ${changesRight === 1 ? "is" : "are"} right; ${right} afterwards.`;
  }

  // Intervals shrink with the root of the number of answers.
  function enough({ nSampled, promise }) {
    const more = Math.min(asking.step, asking.ranks.filter((rank) => !isLookedAt(rank)).length);
    if (!promise || !more) return "";
    const half = 50 * (promise.share[1] - promise.share[0]);
    const after = half * Math.sqrt(nSampled / (nSampled + more));
    const points = (value) => `±${value < 9.95 ? value.toFixed(1) : value.toFixed(0)}`;
    const said = `${count(more)} more rows would narrow the share of wrong labels from ${points(half)} to about ${points(after)} points`;
    return half - after < 1 ? `That is enough for most purposes: ${said}.` : `${said[0].toUpperCase()}${said.slice(1)}.`;
  }

  // Every tenth answer the numbers are spoken, too.
  function milestone() {
    const found = settle();
    return found.nSampled >= Checks.ENOUGH && found.nSampled % 10 === 0 ? ` ${known(found).join(" ")}` : "";
  }

  function firstLeftOut() {
    const first = view.findIndex((rank) => !isLookedAt(rank));
    return first >= 0 && view.slice(first).some(isLookedAt) ? view[first] : undefined;
  }

  function takeAll() {
    const entries = entriesToTake(settle());
    if (!entries.length) return;
    change(entries);
    render();
    announce(`${count(entries.length)} proposals taken. U takes all of them back.`);
  }

  function askMore() {
    asking.nAsked = Math.min(asking.nAsked + asking.step, asking.ranks.length);
    updateView();
    startAtFirstOpen();
    render();
    announce(describe());
    $("sample").focus();
  }

  function startAtFirstOpen() {
    const open = view.findIndex((rank) => (isChecking ? !isLookedAt(rank) : !decisions.has(rank)));
    position = open >= 0 ? open : isChecking ? view.length - 1 : 0;
  }

  function setChecking(value) {
    isChecking = value && Boolean(asking);
    document.body.classList.toggle("checking", isChecking);
    if (!asking) return;
    for (const button of document.querySelectorAll("[data-mode]")) {
      button.setAttribute("aria-pressed", String((button.dataset.mode === "check") === isChecking));
    }
    document.querySelector("[data-do=skip]").firstChild.data = isChecking ? "Can’t tell " : "Skip ";
  }

  function switchTo(mode) {
    const rank = view[position];
    setChecking(mode === "check");
    updateView();
    if (!isChecking && view.includes(rank)) position = view.indexOf(rank);
    else startAtFirstOpen();
    render();
    announce(describe());
  }

  // The browser compiles what it has run a few times: not at the first key, but while the first sample is looked at.
  function warmUp(times) {
    const { inquiry } = asking;
    const rows = [...inquiry.orders[0].subarray(0, Checks.ENOUGH + times)];
    Checks.settle(inquiry, rows, rows.map((row, i) => (i % 2 ? inquiry.given : inquiry.proposed)[row]));
    if (times > 1) window.setTimeout(warmUp, 100, times - 1);
  }

  function listenToChecks() {
    if (!asking) return;
    for (const button of document.querySelectorAll("[data-mode]")) button.addEventListener("click", () => switchTo(button.dataset.mode));
    $("take-all").addEventListener("click", () => $("take-all").getAttribute("aria-disabled") !== "true" && takeAll());
    $("more").addEventListener("click", askMore);
    $("gap-go").addEventListener("click", () => goTo(firstLeftOut()));
    window.setTimeout(warmUp, 100, 4);
  }

  // As many rows as were asked about when the page was left.
  function recallAsked() {
    const last = asking.ranks.findLastIndex(isLookedAt);
    asking.nAsked = Math.min(asking.step * Math.max(1, Math.ceil((last + 1) / asking.step)), asking.ranks.length);
  }

  // ---------------------------------------------------------------- another label

  function openChooser() {
    const rank = view[position];
    $("query").value = "";
    fillOptions();
    $("options").value = String(data.proposed[rank]);
    $("chooser").showModal();
    $("query").focus();
  }

  function fillOptions() {
    const query = $("query").value.toLowerCase();
    const found = data.classes.map((_, label) => label).filter((label) => labelText(label).toLowerCase().includes(query));
    const begins = (label) => labelText(label).toLowerCase().startsWith(query);
    found.sort((a, b) => begins(b) - begins(a) || a - b);
    $("options").replaceChildren(...found.map(option));
    $("options").selectedIndex = 0;
  }

  function option(label) {
    const node = element("option", "", cut(spoken(label), SHORT_VALUE));
    node.value = label;
    node.dir = "auto";
    node.title = labelText(label);
    return node;
  }

  function takeOption() {
    if ($("options").selectedIndex < 0) return;
    const label = Number($("options").value);
    closeChooser();
    choose(label);
  }

  function closeChooser() {
    $("chooser").close();
    leaveChooser();
  }

  function leaveChooser() {
    // until the next frame a key would go to the hidden field; but the event may come when the chooser is open again
    if (!$("chooser").open && $("chooser").contains(document.activeElement)) document.activeElement.blur();
  }

  function moveOption(step) {
    const options = $("options");
    options.selectedIndex = Math.max(0, Math.min(options.selectedIndex + step, options.length - 1));
    announce(options.selectedOptions[0]?.textContent ?? "");
  }

  // ---------------------------------------------------------------- export and import

  function records() {
    const ranks = [...decisions.keys()].sort((a, b) => data.row[a] - data.row[b]);
    return ranks.map((rank) => ({ rank, ...decisions.get(rank) }));
  }

  // Labels and keys are put in as the JSON text that Python wrote: JavaScript would turn 1.0 into 1.
  function exportedJson() {
    const lines = records().map(({ rank, decision, label, taken }) => {
      const fields = {
        row: data.row[rank],
        index: data.index.kind === "text" ? JSON.stringify(keyText(rank)) : keyText(rank),
        given_label: data.classes[data.given[rank]].json,
        proposed_label: data.classes[data.proposed[rank]].json,
        decision: JSON.stringify(decision),
        label: data.classes[label].json,
        ...(taken ? { looked_at: false } : {}),
      };
      return `{${Object.entries(fields).map(([name, value]) => `"${name}": ${value}`).join(", ")}}`;
    });
    const head = `"format": "noisyfit decisions", "version": 1, "fingerprint": ${JSON.stringify(data.fingerprint)}`;
    return `{${head}, "decisions": [\n${lines.join(",\n")}\n]}\n`;
  }

  function exportedCsv() {
    const names = ["row", "index", "given_label", "proposed_label", "decision", "label"];
    const someTaken = [...decisions.values()].some(({ taken }) => taken);
    const lines = records().map(({ rank, decision, label, taken }) => [
      data.row[rank],
      keyText(rank),
      labelText(data.given[rank]),
      labelText(data.proposed[rank]),
      decision,
      labelText(label),
      ...(someTaken ? [!taken] : []),
    ]);
    lines.unshift(someTaken ? [...names, "looked_at"] : names);
    return lines.map((line) => `${line.map(csvField).join(",")}\r\n`).join("");
  }

  function csvField(value) {
    const text = String(value);
    return /^[\w.+-]+$/.test(text) ? text : `"${text.replaceAll('"', '""')}"`;
  }

  // Half of a character, which UTF-8 cannot hold; JSON escapes it.
  const isHalved = (text) => /\p{Surrogate}/u.test(text);

  function exportCsv() {
    const text = exportedCsv();
    if (isHalved(text)) notify("CSV cannot hold a label or key of these decisions: half of a character. Export JSON instead.");
    else download(text, "text/csv;charset=utf-8", "csv");
  }

  function download(text, type, ending) {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = `decisions-${data.fingerprint.slice(0, 8)}.${ending}`;
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    exported = true;
    announce(`${count(decisions.size)} decisions exported as ${link.download}.`);
  }

  function imported(text) {
    let file;
    try {
      file = JSON.parse(text);
    } catch {
      throw new Error("it is no JSON file");
    }
    if (file?.format !== "noisyfit decisions") throw new Error("it is no export of a review page");
    if (file.version !== 1) throw new Error(`its version is ${file.version}, this page reads version 1`);
    if (file.fingerprint !== data.fingerprint) throw new Error("it belongs to another report");
    if (!Array.isArray(file.decisions)) throw new Error("it holds no list of decisions");
    const ranks = ranksByRow();
    return file.decisions.map((record) => importedEntry(record, ranks.get(record?.row)));
  }

  function importedEntry(record, rank) {
    const { decision } = record ?? {};
    if (rank === undefined || !Object.hasOwn(PAST, decision)) throw new Error(`it holds ${cut(JSON.stringify(record) ?? "", 120)}`);
    const taken = record.looked_at === false ? { taken: true } : {};
    if (decision === "accept") return [rank, { decision, label: data.proposed[rank], ...taken }];
    if (decision !== "other") return [rank, { decision, label: data.given[rank] }];
    const literal = JSON.stringify(record.label);
    const found = data.classes.flatMap(({ json }, label) => (JSON.stringify(JSON.parse(json)) === literal ? [label] : []));
    if (found.length !== 1) throw new Error(`the label ${cut(String(literal), 120)} of row ${record.row} is not one of this report's`);
    return [rank, { decision, label: found[0] }];
  }

  async function importFile() {
    const [file] = $("import-file").files;
    if (!file) return;
    try {
      const entries = imported(await file.text());
      notify("");
      // what somebody looked at goes before what was taken along with all others
      const fresh = entries.filter(([rank, { taken }]) => !decisions.has(rank) || (!taken && !isLookedAt(rank)));
      const both = entries.filter(([rank, { taken }]) => !taken && isLookedAt(rank));
      second = both.length ? new Map(both) : null;
      const conflicts = both.filter(differs);
      if (conflicts.length) askAboutConflicts(fresh, conflicts);
      else takeImported(fresh);
    } catch (error) {
      notify(`${file.name} cannot be imported: ${error.message}. Choose a JSON file that this page exported.`);
    }
    $("import-file").value = "";
  }

  function differs([rank, { decision, label }]) {
    const mine = decisions.get(rank);
    return mine && (mine.decision !== decision || mine.label !== label);
  }

  // Where two people looked at the same rows: how often they agree, and what the other one said of this row.
  const inTwoWays = () => [...second].filter(differs);

  function renderSecond() {
    $("second").hidden = !second;
    if (!second) return;
    const conflicts = inTwoWays();
    const [rows, are] = second.size === 1 ? ["row", "is"] : ["rows", conflicts.length === 1 ? "is" : "are"];
    $("second-text").textContent = `${count(conflicts.length)} of ${count(second.size)} ${rows} that both looked at ${are} decided in two ways.`;
    for (const id of ["second-next", "second-theirs"]) $(id).hidden = !conflicts.length;
  }

  function renderTheirs(rank) {
    const theirs = second?.get(rank);
    $("theirs").hidden = !theirs || !differs([rank, theirs]);
    if (!theirs) return;
    $("theirs").replaceChildren(`In the file: ${PAST[theirs.decision]}`);
    if (theirs.decision !== "skip") $("theirs").append(", ", isolated(labelText(theirs.label)));
  }

  function nextInTwoWays() {
    const ranks = inTwoWays().map(([rank]) => rank).sort((a, b) => a - b);
    goTo(ranks.find((rank) => rank > view[position]) ?? ranks[0]);
  }

  function lookAtConflicts(fresh) {
    takeImported(fresh);
    nextInTwoWays();
  }

  function listenToSecond() {
    $("second-next").addEventListener("click", nextInTwoWays);
    $("second-theirs").addEventListener("click", () => {
      takeImported(inTwoWays());
      $("sample").focus();
    });
    $("second-done").addEventListener("click", () => {
      second = null;
      render();
      $("sample").focus();
    });
  }

  function askAboutConflicts(fresh, conflicts) {
    const number = conflicts.length === 1 ? "One sample is" : `${count(conflicts.length)} samples are`;
    $("conflict-text").textContent =
      `${number} decided otherwise here than in the file; ${count(fresh.length)} of its decisions are new here. ` +
      `${count(second.size)} ${second.size === 1 ? "was" : "were"} looked at by both.`;
    $("conflict-look").onclick = () => lookAtConflicts(fresh);
    $("conflict-mine").onclick = () => takeImported(fresh);
    $("conflict-theirs").onclick = () => takeImported([...fresh, ...conflicts]);
    $("conflict").showModal();
  }

  function takeImported(entries) {
    $("conflict").close();
    if (entries.length) change(entries);
    if (asking) recallAsked();
    updateView();
    position = Math.max(0, Math.min(position, view.length - 1));
    render();
    announce(`${count(entries.length)} decisions imported.`);
  }

  // ---------------------------------------------------------------- events

  const COMMANDS = {
    accept: () => decideByName("accept"),
    keep: () => decideByName("keep"),
    other: () => decideByName("other"),
    skip: () => decideByName("skip"),
    next: () => move(position + 1),
    previous: () => move(position - 1),
    undo,
    "page-back": () => move((Math.floor(position / PAGE_SIZE) - 1) * PAGE_SIZE),
    "page-on": () => move((Math.floor(position / PAGE_SIZE) + 1) * PAGE_SIZE),
  };
  const KEYS = {
    a: "accept", k: "keep", o: "other", s: "skip", u: "undo", j: "next", n: "next", p: "previous",
    arrowright: "next", arrowdown: "next", arrowleft: "previous", arrowup: "previous",
  };

  function keyName(event) {
    const key = event.key.toLowerCase();
    const isForeign = key.length === 1 && key > "\u007f"; // a keyboard with another alphabet
    return isForeign && event.code.startsWith("Key") ? event.code.slice(3).toLowerCase() : key;
  }

  function onKey(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape" && event.target.closest("#filters")) return $("sample").focus();
    if (!$("shortcuts").checked || event.target.closest("input:not([type=checkbox]), select, textarea")) return;
    const name = KEYS[keyName(event)];
    if (!name || (event.key.startsWith("Arrow") && event.target.closest("[data-own-keys]"))) return;
    event.preventDefault();
    if (!event.repeat || name === "next" || name === "previous") COMMANDS[name]();
  }

  function onClick(event) {
    const button = event.target.closest("button");
    if (!button) return;
    const { do: name, place, given, proposed } = button.dataset;
    if (name && button.getAttribute("aria-disabled") !== "true") COMMANDS[name]();
    else if (place !== undefined) move(Number(place));
    else if (given !== undefined) showPair(given, proposed);
    else if ("close" in button.dataset) button.closest("dialog").close();
  }

  function listenToFilters() {
    let byPointer = false;
    document.addEventListener("pointerdown", () => (byPointer = true), true);
    document.addEventListener("keydown", () => (byPointer = false), true);
    $("filters").addEventListener("change", (event) => {
      filter();
      // else the next key, meant as a decision, would choose in the list that was clicked
      if (byPointer && event.target.matches("select")) $("sample").focus({ preventScroll: true });
    });
    $("filters").addEventListener("submit", (event) => {
      event.preventDefault();
      filter();
    });
    $("filters-toggle").addEventListener("click", () => {
      const isOpen = $("filters-toggle").getAttribute("aria-expanded") === "true";
      $("filters-toggle").setAttribute("aria-expanded", String(!isOpen));
    });
    $("filters-clear").addEventListener("click", clearFilters);
    $("empty-clear").addEventListener("click", () => {
      clearFilters();
      $("sample").focus();
    });
  }

  function listenToChooser() {
    $("chooser").addEventListener("close", leaveChooser);
    $("chooser").addEventListener("cancel", closeChooser); // the browser's own closing tells of itself late
    $("query").addEventListener("input", fillOptions);
    $("query").addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      moveOption(step);
    });
    $("options").addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      takeOption();
    });
    $("options").addEventListener("click", (event) => event.target.matches("option") && takeOption());
    $("chooser").querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      takeOption();
    });
  }

  function listenToFiles() {
    $("export-csv").addEventListener("click", exportCsv);
    $("export-json").addEventListener("click", () => download(exportedJson(), "application/json", "json"));
    $("import").addEventListener("click", () => $("import-file").click());
    $("import-file").addEventListener("change", importFile);
    window.addEventListener("pagehide", saveNow);
    window.addEventListener("beforeunload", (event) => {
      saveNow();
      if (!storage && !exported) event.preventDefault();
    });
    // the same page in another tab
    window.addEventListener("storage", (event) => {
      if (event.key !== storageKey) return;
      load(event.newValue);
      if (asking) recallAsked();
      updateView();
      position = Math.max(0, Math.min(position, view.length - 1));
      render();
    });
  }

  function start() {
    for (const id of ["filter-given", "filter-proposed"]) $(id).append(...data.classes.map((_, label) => option(label)));
    if (storage) load(storage.getItem(storageKey));
    else notify("This browser keeps no progress for this page. Export the decisions before you close it.");
    if (asking) recallAsked();
    setChecking(isChecking);
    clearFilters();
    startAtFirstOpen();
    render();
    announce("");
    $("clear").addEventListener("click", clearDecision);
    document.addEventListener("keydown", onKey);
    document.addEventListener("click", onClick);
    listenToFilters();
    listenToChooser();
    listenToFiles();
    listenToChecks();
    listenToSecond();
  }

  start();
})();
