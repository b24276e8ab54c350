"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const quantities = data.quantities;
  const steps = [...document.querySelectorAll("article.step")];
  const matrix = document.getElementById("matrix");
  const slider = document.getElementById("slider");
  const samples = document.getElementById("sample");
  const WINDOW = 8; // samples of a batch side by side
  let current = 0;
  let shown = "";

  const sample = () => (samples ? Number(samples.value) : 0);

  // As the package writes it in its other formats.
  function number(value) {
    if (value === 0) return "0.0000";
    const size = Math.abs(value);
    if (size >= 1e-3 && size < 1e4) return value.toFixed(4);
    const [digits, exponent] = value.toExponential(2).split("e");
    return `${digits}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
  }

  function element(name, text, attributes = {}) {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  // The places of an axis that are shown: of the samples a few from the chosen one on.
  function places(quantity, axis) {
    const all = axis === 0 ? quantity.rows : quantity.columns;
    if (axis !== quantity.sampleAxis) return all.map((_, place) => place);
    const first = Math.max(0, Math.min(sample(), all.length - WINDOW));
    return all.map((_, place) => place).slice(first, first + WINDOW);
  }

  function cell(quantity, row, column) {
    const value = quantity.values[row][column];
    const share = quantity.largest > 0 ? Math.abs(value) / quantity.largest : 0;
    const made = element("td", number(value), { class: value < 0 ? "negative" : "positive" });
    made.style.setProperty("--share", share.toFixed(2));
    const at = quantity.sampleAxis === 1 ? column : quantity.sampleAxis === 0 ? row : -1;
    if (data.batch > 1 && at === sample()) made.classList.add("current");
    return made;
  }

  // What is left out of an axis, before the last place that is shown.
  const gap = (quantity, axis, list) =>
    axis !== quantity.sampleAxis && quantity.shape[axis] > list.length ? quantity.shape[axis] - list.length : 0;

  function heading(quantity, axis, place) {
    const index = (axis === 0 ? quantity.rows : quantity.columns)[place];
    return axis === quantity.sampleAxis ? `sample ${index + 1}` : quantity.unitNames[place] ?? `${index}`;
  }

  function showMatrix(key) {
    const quantity = quantities[key];
    if (!quantity) return;
    shown = key;
    matrix.className = quantity.kind;
    const origin = quantity.step === null ? "given" : `computed in step ${quantity.step}`;
    document.getElementById("matrix-name").textContent =
      `${quantity.symbol} (${quantity.shape.join(", ")}): ${quantity.name}, ${origin}`;
    const rows = places(quantity, 0);
    const columns = places(quantity, 1);
    const moreRows = gap(quantity, 0, rows);
    const moreColumns = gap(quantity, 1, columns);
    const head = element("tr", "");
    head.append(element("td", ""));
    const body = document.createDocumentFragment();
    columns.forEach((column, place) => {
      if (moreColumns && place === columns.length - 1) head.append(element("th", "\u22ef", { scope: "col" }));
      head.append(element("th", heading(quantity, 1, column), { scope: "col" }));
    });
    rows.forEach((row, place) => {
      if (moreRows && place === rows.length - 1) {
        const line = element("tr", "");
        line.append(element("th", "\u22ee", { scope: "row" }));
        body.append(line);
      }
      const line = element("tr", "");
      line.append(element("th", heading(quantity, 0, row), { scope: "row" }));
      columns.forEach((column, at) => {
        if (moreColumns && at === columns.length - 1) line.append(element("td", "\u22ef"));
        line.append(cell(quantity, row, column));
      });
      body.append(line);
    });
    matrix.querySelector("thead").replaceChildren(head);
    matrix.querySelector("tbody").replaceChildren(body);
    matrix.querySelector(".folded").textContent = folded(quantity, moreRows, moreColumns);
    for (const chip of document.querySelectorAll(".chip"))
      chip.setAttribute("aria-pressed", String(chip.dataset.key === key));
    for (const term of document.querySelectorAll("#player math .term"))
      term.classList.toggle("lit", term.dataset.key === key);
  }

  function folded(quantity, moreRows, moreColumns) {
    const parts = [];
    if (moreRows) parts.push(`${moreRows} rows`);
    if (moreColumns) parts.push(`${moreColumns} columns`);
    const axis = quantity.sampleAxis;
    if (axis !== null && quantity.shape[axis] > WINDOW) parts.push(`${quantity.shape[axis] - WINDOW} other samples`);
    return parts.length ? `Not shown: ${parts.join(", ")}.` : "";
  }

  // Every unit shows the last of its quantities that has been computed by now.
  function drawUnits(reached) {
    const step = steps[current];
    const lit = new Set([step.dataset.result, ...step.dataset.keys.split(" ")]);
    const side = step.classList.contains("backward") ? "backward" : "forward";
    for (const edges of document.querySelectorAll("svg .edges")) {
      edges.classList.toggle("lit", edges.dataset.keys.split(" ").some((key) => lit.has(key)));
      edges.classList.remove("forward", "backward");
      edges.classList.add(side);
    }
    for (const column of document.querySelectorAll("svg .column")) {
      const keys = column.dataset.keys.split(" ");
      column.classList.toggle("lit", keys.some((key) => lit.has(key)));
      const known = keys
        .filter((key) => quantities[key] && (quantities[key].sampleAxis !== null || key === "loss"))
        .filter((key) => !key.startsWith("slope") && key !== "y")
        .filter((key) => (quantities[key].step ?? 0) <= reached)
        .sort((one, other) => (quantities[one].step ?? 0) - (quantities[other].step ?? 0));
      drawColumn(column, known.length ? quantities[known[known.length - 1]] : null);
    }
  }

  function drawColumn(column, quantity) {
    column.classList.remove("forward", "backward");
    if (quantity) {
      column.classList.add(quantity.kind === "backward" ? "backward" : "forward");
      column.querySelector(".symbol").textContent = quantity.symbol;
    }
    for (const unit of column.querySelectorAll(".unit")) {
      const value = quantity ? valueOf(quantity, Number(unit.dataset.unit)) : null;
      unit.querySelector("text").textContent = value === null ? "" : short(value);
      unit.classList.toggle("below", value !== null && value < 0);
      unit.style.setProperty("--share", value === null || !quantity.largest ? 0 : Math.abs(value) / quantity.largest);
    }
  }

  function valueOf(quantity, unit) {
    if (quantity.sampleAxis === null) return quantity.values[0][0];
    const byColumns = quantity.sampleAxis === 1;
    const place = (byColumns ? quantity.rows : quantity.columns).indexOf(unit);
    if (place < 0) return null;
    return byColumns ? quantity.values[place][sample()] : quantity.values[sample()][place];
  }

  function short(value) {
    const size = Math.abs(value);
    if (value === 0) return "0";
    return size >= 0.005 && size < 1000 ? value.toFixed(size < 100 ? 2 : 0) : value.toExponential(0);
  }

  function bringIntoView() {
    const scroller = document.querySelector("svg").parentElement;
    const lit = document.querySelector("svg .lit");
    if (!lit || scroller.scrollWidth <= scroller.clientWidth) return;
    const box = lit.getBoundingClientRect();
    const frame = scroller.getBoundingClientRect();
    scroller.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2;
  }

  function go(index) {
    current = Math.max(0, Math.min(steps.length - 1, index));
    steps.forEach((step, place) => { step.hidden = place !== current; });
    slider.value = String(current + 1);
    document.getElementById("status").textContent = `Step ${current + 1} of ${steps.length}`;
    document.getElementById("back").disabled = current === 0;
    document.getElementById("next").disabled = current === steps.length - 1;
    drawUnits(current + 1);
    showMatrix(steps[current].dataset.result);
    bringIntoView();
  }

  document.getElementById("back").addEventListener("click", () => go(current - 1));
  document.getElementById("next").addEventListener("click", () => go(current + 1));
  slider.addEventListener("input", () => go(Number(slider.value) - 1));
  samples?.addEventListener("change", () => { drawUnits(current + 1); showMatrix(shown); });
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
    // What is wider than its place is scrolled by the same keys.
    const scroller = event.target.closest?.(".scroll");
    if (scroller && scroller.scrollWidth > scroller.clientWidth) return;
    const target = { ArrowRight: current + 1, ArrowLeft: current - 1 }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    go(target);
  });
  for (const name of ["pointerover", "focusin", "click"])
    document.addEventListener(name, (event) => {
      const term = event.target.closest?.("#player [data-key]");
      if (term && term.dataset.key !== shown) showMatrix(term.dataset.key);
    });
  const asked = /^#step=(\d+)$/.exec(location.hash);
  go(asked ? Number(asked[1]) - 1 : 0);
})();
