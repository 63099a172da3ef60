"use strict";
// What people's answers prove, in the numbers of Python: sampling.py, Opinion of judge.py, choose_rows of decision.py
// and Inquiry of settling.py, function by function. Both are held to tests/data/checks.json. Nothing here knows a page.
const Checks = (() => {
  const STRATA = 5;
  const ENOUGH = 20;
  const WRONG_ANSWERS = 0.05;
  const CAUTION = 0.18;
  const Z = 1.959964;
  const Z_ONE_SIDED = 1.6448536269514722;
  const INTERVAL = [0.025, 0.975];
  const STEPS = 32;
  const LARGEST = 1e9;
  const LOWEST = -10; // of the grid of log odds
  const STEP = 0.05;
  const CELLS = 401;
  const UNKNOWN = -1;

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const dot = (a, b) => a.reduce((total, value, i) => total + value * b[i], 0);
  const expit = (x) => 1 / (1 + Math.exp(-x));
  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

  // ---------------------------------------------------------------- sampling.py

  function intervalOfShare({ sizes, lookedAt, found }, z = Z, { wrongAnswers = 0, missed = 0 } = {}) {
    const there = sizes.map((_, h) => h).filter((h) => sizes[h] > 0);
    if (!there.length) return [0, 1];
    const [N, n, k] = [sizes, lookedAt, found].map((values) => there.map((h) => values[h]));
    const weight = sharesOf(N);
    const high = upperShares(N, n, k, z).map((share) => Math.min(share / (1 - missed), 1));
    const low = upperShares(N, n, n.map((value, h) => value - k[h]), z).map((share) =>
      clamp((1 - share - wrongAnswers) / (1 - wrongAnswers), 0, 1),
    );
    return [dot(weight, low), dot(weight, high)];
  }

  function sharesOf(sizes) {
    const total = sum(sizes);
    return sizes.map((size) => size / total);
  }

  function upperShares(sizes, lookedAt, found, z) {
    const weight = sharesOf(sizes);
    const n = lookedAt.map((value) => Math.max(value, 1));
    const left = lookedAt.map((value, h) => (value > 0 ? 1 - value / sizes[h] : 0));
    const estimate = dot(weight, lookedAt.map((value, h) => (value > 0 ? found[h] / n[h] : 1)));
    const along = (pull) => weight.map((share, h) => likeliest(pull * share, lookedAt[h], found[h]));
    let [low, high] = [-Math.log(LARGEST), Math.log(LARGEST)];
    for (let step = 0; step < STEPS; step++) {
      const middle = (low + high) / 2;
      const shares = along(Math.exp(middle));
      const variance = sum(shares.map((p, h) => (weight[h] ** 2 * p * (1 - p) * left[h]) / n[h]));
      if (dot(weight, shares) - estimate <= z * Math.sqrt(variance)) low = middle;
      else high = middle;
    }
    return along(Math.exp(low));
  }

  function likeliest(pull, lookedAt, found) {
    if (!(lookedAt > 0)) return 1;
    const away = pull - lookedAt;
    const root = Math.sqrt(away * away + 4 * pull * found);
    // two forms of one root, so that nothing cancels
    return clamp(away >= 0 ? (away + root) / (2 * pull) : (2 * found) / Math.max(root - away, 1e-300), 0, 1);
  }

  // ---------------------------------------------------------------- Opinion

  const gridAt = (cell) => (cell === CELLS - 1 ? -LOWEST : cell * STEP + LOWEST);

  // What does not change with the checks is worked out once: the shares by each pair on the grid, and their order.
  function opinionOf(pairs, weights) {
    const n = weights.length;
    const shares = new Float64Array(CELLS * n);
    const orders = new Uint32Array(CELLS * n);
    for (let cell = 0; cell < CELLS; cell++) {
      const at = shares.subarray(cell * n, (cell + 1) * n);
      for (let i = 0; i < n; i++) at[i] = expit(pairs[2 * i] + Math.exp(pairs[2 * i + 1]) * gridAt(cell));
      orders.set(orderOf(at), cell * n);
    }
    return { pairs, weights, n, shares, orders };
  }

  const orderOf = (values) => Uint32Array.from(values, (_, i) => i).sort((a, b) => values[a] - values[b]);

  function surpriseAt({ pairs, n }, logOdds, isWrong) {
    const found = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      const shifted = pairs[2 * i] + Math.exp(pairs[2 * i + 1]) * logOdds;
      found[i] = softplus(isWrong ? -shifted : shifted);
    }
    return found;
  }

  // `surprises` are those of each check, as surpriseAt gives them
  function afterChecks(opinion, surprises) {
    const total = new Float64Array(opinion.n);
    for (const surprise of surprises) for (let i = 0; i < total.length; i++) total[i] += surprise[i];
    const least = total.reduce((a, b) => Math.min(a, b), Infinity);
    const weights = opinion.weights.map((weight, i) => weight * Math.exp(least - total[i]));
    const all = sum(weights);
    return { ...opinion, weights: weights.map((weight) => weight / all) };
  }

  function meanOnGrid({ shares, weights, n }) {
    const found = new Float64Array(CELLS);
    for (let cell = 0; cell < CELLS; cell++) {
      let total = 0;
      for (let i = 0; i < n; i++) total += weights[i] * shares[cell * n + i];
      found[cell] = total;
    }
    return found;
  }

  function cautiousOnGrid({ shares, orders, weights, n }, caution) {
    return Float64Array.from({ length: CELLS }, (_, cell) => {
      const part = [cell * n, (cell + 1) * n];
      return quantile(shares.subarray(...part), orders.subarray(...part), weights, caution);
    });
  }

  function quantile(values, order, weights, share) {
    const usual = 1 / order.length;
    const scale = Math.max(1 - usual, usual);
    let [total, before, at] = [0, 0, 0];
    for (let k = 0; k < order.length; k++) {
      const weight = weights[order[k]];
      total += weight;
      [before, at] = [at, (total - weight / 2 - usual / 2) / scale];
      if (at <= share) continue;
      if (k === 0) return values[order[0]];
      const [low, high] = [values[order[k - 1]], values[order[k]]];
      return ((high - low) / (at - before)) * (share - before) + low;
    }
    return values[order[order.length - 1]];
  }

  // Places of log odds on the grid: the cell below and the distance to it, and the nearest cell.
  function placesOnGrid(logOdds) {
    const places = { below: new Uint16Array(logOdds.length), beyond: new Float64Array(logOdds.length), nearest: new Uint16Array(logOdds.length) };
    logOdds.forEach((x, i) => {
      places.nearest[i] = clamp(roundToEven((x - LOWEST) / STEP), 0, CELLS - 1);
      if (!(x > LOWEST)) return; // below the grid as at its end
      let cell = Math.min(Math.floor((x - LOWEST) / STEP), CELLS - 1);
      if (gridAt(cell) > x) cell--;
      else if (cell < CELLS - 1 && gridAt(cell + 1) <= x) cell++;
      places.below[i] = cell;
      places.beyond[i] = cell === CELLS - 1 ? 0 : x - gridAt(cell);
    });
    return places;
  }

  function roundToEven(x) {
    const rounded = Math.round(x);
    return rounded - x === 0.5 && rounded % 2 ? rounded - 1 : rounded;
  }

  // numpy.interp, rounded to 32 bits
  function alongGrid({ below, beyond }, values) {
    const slopes = new Float64Array(CELLS);
    for (let cell = 0; cell < CELLS - 1; cell++) slopes[cell] = (values[cell + 1] - values[cell]) / (gridAt(cell + 1) - gridAt(cell));
    const found = new Float32Array(below.length);
    for (let i = 0; i < found.length; i++) {
      const cell = below[i];
      found[i] = slopes[cell] * beyond[i] + values[cell];
    }
    return found;
  }

  function totalShares({ shares, n }, nearest, marks, weight) {
    const inCell = new Float64Array(CELLS);
    for (let i = 0; i < nearest.length; i++) if (marks[i]) inCell[nearest[i]] += weight[i];
    const totals = new Float64Array(n);
    for (let cell = 0; cell < CELLS; cell++) {
      if (inCell[cell]) for (let i = 0; i < n; i++) totals[i] += shares[cell * n + i] * inCell[cell];
    }
    return totals;
  }

  // ---------------------------------------------------------------- decision.py

  function chooseRows(inquiry, opinion) {
    const { given, fixed, places, onePlusNamed, nRows } = inquiry;
    const wrong = alongGrid(places, meanOnGrid(opinion));
    const gain = alongGrid(places, cautiousOnGrid(opinion, CAUTION));
    for (let i = 0; i < nRows; i++) gain[i] = Math.fround(Math.min(wrong[i], gain[i]) * onePlusNamed[i]) - 1;
    const margin = Math.fround(inquiry.margin);
    const chosen = new Uint8Array(nRows);
    const candidates = new Float64Array(inquiry.nClasses);
    for (let i = 0; i < nRows; i++) {
      if (!(gain[i] > margin) || fixed?.[i]) continue;
      chosen[i] = 1;
      candidates[given[i]]++;
    }
    const most = mostToLose(inquiry, wrong);
    const isFull = Uint8Array.from(candidates, (number, label) => number > most[label]);
    if (isFull.some(Boolean)) keepLargest(chosen, gain, given, isFull, most);
    return chosen;
  }

  function mostToLose({ given, proposed, named, nRows, nClasses }, wrong) {
    const [has, stays, comes] = [0, 1, 2].map(() => new Float64Array(nClasses));
    for (let i = 0; i < nRows; i++) {
      has[given[i]]++;
      stays[given[i]] += Math.fround(1 - wrong[i]);
      comes[proposed[i]] += Math.fround(wrong[i] * named[i]);
    }
    // ranks count from 0 and must lie below
    return has.map((size, label) => Math.max(0, Math.ceil(Math.max(Math.floor(size / 2), size - (stays[label] + comes[label])))));
  }

  // Of classes that would lose too many, the largest gains stay, of equal ones the first.
  function keepLargest(chosen, gain, given, isFull, most) {
    const bits = new Uint32Array(gain.buffer); // of positive floats, in the order of their values
    const rows = [];
    for (let i = 0; i < chosen.length; i++) if (chosen[i] && isFull[given[i]]) rows.push(i);
    // one number holds gain and row, which a typed array sorts without a function
    const scale = 2 ** 21;
    const keys = rows.length && rows[rows.length - 1] < scale ? Float64Array.from(rows, (i) => (0xffffffff - bits[i]) * scale + i).sort() : null;
    const ordered = keys ? Array.from(keys, (key) => key % scale) : rows.sort((a, b) => gain[b] - gain[a] || a - b);
    const kept = new Float64Array(isFull.length);
    for (const i of ordered) if (kept[given[i]]++ >= most[given[i]]) chosen[i] = 0;
  }

  function expectedGain(inquiry, changed, opinion, nKnownWrong) {
    let nChanged = 0;
    for (let i = 0; i < changed.length; i++) nChanged += changed[i];
    const gains = totalShares(opinion, inquiry.places.nearest, changed, inquiry.onePlusNamed).map(
      (total) => (total - nChanged + nKnownWrong) / inquiry.nRows,
    );
    const order = orderOf(gains);
    const [low, high] = INTERVAL.map((share) => quantile(gains, order, opinion.weights, share));
    return { mean: dot(gains, opinion.weights), low, high };
  }

  // ---------------------------------------------------------------- settling.py

  // The judgement, from typed arrays by row and an opinion's pairs and weights; wrong are log odds, named is a share.
  function inquiryOf({ given, proposed, stratum, wrong, named, fixed, pairs, weights, margin, knows, orders, atFit }) {
    const sizes = new Array(STRATA).fill(0);
    for (const h of stratum) sizes[h]++;
    const most = (labels) => labels.reduce((a, b) => Math.max(a, b), 0);
    return {
      given, proposed, stratum, wrong, named, fixed, margin, knows, orders, atFit, sizes,
      nRows: given.length,
      nClasses: 1 + Math.max(most(given), most(proposed)),
      onePlusNamed: named.map((share) => 1 + share),
      places: placesOnGrid(wrong),
      opinion: opinionOf(pairs, weights),
      surprises: new Map(),
    };
  }

  // Judge all labels again; labels are class numbers or UNKNOWN, each row once.
  function settle(inquiry, rows, labels) {
    const known = [];
    for (let i = 0; i < rows.length; i++) if (labels[i] !== UNKNOWN) known.push({ row: rows[i], label: labels[i] });
    const isWrong = ({ row, label }) => label !== inquiry.given[row];
    const opinion = afterChecks(inquiry.opinion, known.map((check) => keptSurprise(inquiry, check.row, isWrong(check))));
    const chosen = inquiry.knows || known.length >= ENOUGH ? chooseRows(inquiry, opinion) : new Uint8Array(inquiry.nRows);
    if (known.length >= ENOUGH && balance(inquiry, known, chosen) < 0) chosen.fill(0);
    const changed = chosen.slice();
    for (const { row } of known) changed[row] = 0;
    const expected = expectedGain(inquiry, changed, opinion, known.filter(isWrong).length);
    const sample = sampleOf(inquiry, rows, known, chosen);
    const found = { nLookedAt: rows.length, nAnswers: known.length, nSampled: sample.nSampled, chosen, changed };
    if (found.nSampled < ENOUGH) return { ...found, gain: expected, promise: null };
    const [low, high] = gainOf(sample);
    return { ...found, gain: { mean: clamp(expected.mean, low, high), low, high }, promise: promiseOf(sample) };
  }

  // What the changes would make right of the rows that are known, less what they would make wrong.
  function balance({ given, proposed }, known, chosen) {
    return sum(known.filter(({ row }) => chosen[row]).map(({ row, label }) => (proposed[row] === label) - (given[row] === label)));
  }

  function keptSurprise({ opinion, wrong, surprises }, row, isWrong) {
    const key = 2 * row + isWrong;
    if (!surprises.has(key)) surprises.set(key, surpriseAt(opinion, wrong[row], isWrong));
    return surprises.get(key);
  }

  // Rows that were drawn: all in each order up to the first that was not looked at.
  function drawnOf({ nRows, orders, atFit }, rows) {
    const [seen, drawn] = [new Uint8Array(nRows), new Uint8Array(nRows)];
    for (const row of rows) seen[row] = 1;
    for (const order of orders) {
      const end = order.subarray(0, rows.length).findIndex((row) => !seen[row]);
      for (const row of order.subarray(0, end < 0 ? rows.length : end)) drawn[row] = 1;
    }
    for (const row of atFit) drawn[row] = 0;
    return drawn;
  }

  function sampleOf(inquiry, rows, known, chosen) {
    const { given, proposed, stratum } = inquiry;
    const drawn = drawnOf(inquiry, rows);
    const [all, changes] = [inquiry.sizes.slice(), new Array(STRATA).fill(0)];
    for (let i = 0; i < chosen.length; i++) if (chosen[i]) changes[stratum[i]]++;
    const apart = new Set(inquiry.atFit); // no sample stands for these
    for (const row of apart) {
      all[stratum[row]]--;
      if (chosen[row]) changes[stratum[row]]--;
    }
    const answers = [];
    for (const { row, label } of known) {
      if (apart.has(row)) continue;
      const [isGiven, isProposed] = [given[row] === label, proposed[row] === label];
      const [isDrawn, isChosen] = [drawn[row] === 1, chosen[row] === 1];
      answers.push({ stratum: stratum[row], isDrawn, isChosen, isGiven, isProposed, isRight: isChosen ? isProposed : isGiven });
    }
    const nWrong = known.filter(({ row, label }) => label !== given[row]).length;
    const nSampled = answers.filter(({ isDrawn }) => isDrawn).length;
    return { all, changes, answers, nSampled, nWrong, nKnown: known.length, nRows: inquiry.nRows, nMistaken: 2 * WRONG_ANSWERS * answers.length };
  }

  function beyondSample(sizes, answers, found, z, errors) {
    const [lookedAt, ofStratum] = [new Array(STRATA).fill(0), new Array(STRATA).fill(0)];
    for (const answer of answers.filter(({ isDrawn }) => isDrawn)) {
      lookedAt[answer.stratum]++;
      ofStratum[answer.stratum] += Number(found(answer));
    }
    // what is known is taken off, whoever asked for it
    const [nAmong, nFound] = [sum(sizes), sum(answers.map((answer) => Number(found(answer))))];
    const ends = intervalOfShare({ sizes, lookedAt, found: ofStratum }, z, errors);
    return ends.map((share) => clamp(share * nAmong - nFound, 0, nAmong - answers.length));
  }

  function promiseOf({ all, changes, answers, nSampled, nWrong, nKnown, nRows, nMistaken }) {
    const ofChanges = answers.filter(({ isChosen }) => isChosen);
    const isRight = (answer) => answer.isRight;
    const errors = { wrongAnswers: WRONG_ANSWERS };
    const sureWrong = Math.max(nWrong - nMistaken, 0);
    const [low, high] = beyondSample(all, answers, (answer) => !answer.isGiven, Z, errors);
    const share = [(low + sureWrong) / nRows, (high + nWrong) / nRows];
    const leastRight = beyondSample(all, answers, isRight, Z_ONE_SIDED)[0] + nKnown - nMistaken;
    const rightChanges = beyondSample(changes, ofChanges, isRight, Z_ONE_SIDED, errors)[0] + sureWrong;
    return {
      nAnswers: nSampled,
      share,
      wrong: [Math.floor(100 * share[0]) / 100, Math.ceil(100 * share[1]) / 100],
      rightAfter: Math.max(leastRight, 0) / nRows,
      changes: sum(changes) - ofChanges.length + nWrong,
      changesRight: Math.floor(rightChanges + 1e-6),
    };
  }

  function gainOf({ changes, answers, nWrong, nRows, nMistaken }) {
    const ofChanges = answers.filter(({ isChosen }) => isChosen);
    const value = ({ isProposed, isGiven }) => (isProposed - isGiven + 1) / 2;
    const [low, high] = beyondSample(changes, ofChanges, value, Z, { wrongAnswers: WRONG_ANSWERS, missed: WRONG_ANSWERS });
    const nLeft = sum(changes) - ofChanges.length;
    const least = Math.max(nWrong - 2 * nMistaken, -nWrong); // a right label that was called wrong is lost
    return [(2 * low - nLeft + least) / nRows, (2 * high - nLeft + nWrong) / nRows];
  }

  // ---------------------------------------------------------------- numbers from Python

  function unpack(text, Type) {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    return new Type(bytes.buffer);
  }

  // `given` is by row of the inquiry
  function inquiryFrom(kept, given) {
    return inquiryOf({
      given,
      proposed: unpack(kept.proposed, Int32Array),
      stratum: unpack(kept.stratum, Uint8Array),
      wrong: unpack(kept.wrong, Float32Array),
      named: unpack(kept.named, Float32Array),
      fixed: kept.fixed === null ? null : unpack(kept.fixed, Uint8Array),
      pairs: unpack(kept.pairs, Float64Array),
      weights: unpack(kept.weights, Float64Array),
      margin: kept.margin,
      knows: kept.knows,
      orders: kept.orders.map((order) => unpack(order, Int32Array)),
      atFit: kept.at_fit,
    });
  }

  return { ENOUGH, UNKNOWN, intervalOfShare, inquiryFrom, opinionOf, afterChecks, settle, surpriseAt, unpack };
})();
