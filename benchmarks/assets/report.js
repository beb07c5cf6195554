"use strict";
(() => {
  const page = JSON.parse(document.getElementById("report-data").textContent);
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  // dragging zooms with a mouse; with a finger it must scroll the page
  const dragmode = matchMedia("(hover: hover) and (pointer: fine)").matches ? "zoom" : false;
  const config = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false };
  const state = {};
  for (const name of Object.keys(page.controls)) state[name] = 0;

  // what depends on a control: figure ids by control
  const dependent = {};
  for (const [id, figure] of Object.entries(page.figures)) {
    for (const part of [...figure.traces, ...figure.patches]) {
      for (const name of Object.keys(part.when)) (dependent[name] ??= new Set()).add(id);
    }
  }

  const applies = (when) => Object.entries(when).every(([name, choices]) => choices.includes(state[name]));

  // a deep copy with every "var(--name)" replaced by its value in the current colour scheme
  function resolved(node, styles) {
    if (Array.isArray(node)) return node.map((item) => resolved(item, styles));
    if (node && typeof node === "object") {
      return Object.fromEntries(Object.entries(node).map(([key, item]) => [key, resolved(item, styles)]));
    }
    const match = typeof node === "string" && /^var\((--[\w-]+)\)$/.exec(node);
    return match ? styles.getPropertyValue(match[1]).trim() : node;
  }

  function assign(target, path, value) {
    const keys = path.split(".");
    const last = keys.pop();
    for (const key of keys) target = target[key] ??= {};
    target[last] = value;
  }

  function draw(id) {
    const element = document.getElementById(`plot-${id}`);
    const figure = page.figures[id];
    if (!element) return;
    const styles = getComputedStyle(root);
    const layout = resolved({ ...figure.layout, dragmode }, styles);
    for (const patch of figure.patches.filter((p) => applies(p.when))) {
      for (const [path, value] of Object.entries(resolved(patch.layout, styles))) assign(layout, path, value);
    }
    const traces = figure.traces.filter((t) => applies(t.when)).map((t) => resolved(t.trace, styles));
    Plotly.react(element, traces, layout, config);
  }

  function drawAll() { Object.keys(page.figures).forEach(draw); }

  function showState() {
    for (const [name, choice] of Object.entries(state)) {
      root.dataset[name] = page.controls[name][choice] ?? "";
      for (const input of document.querySelectorAll(`input[data-control="${name}"]`)) {
        input.checked = Number(input.value) === choice;
      }
      for (const select of document.querySelectorAll(`select[data-control="${name}"]`)) select.value = choice;
    }
    const note = document.getElementById("episode-note");
    if (note) note.textContent = page.notes[state.episode][state.method];
  }

  // "#method=PID&episode=..." or "?method=PID": names of choices; unknown ones are passed over
  function readAddress() {
    const given = [location.search.slice(1), location.hash.slice(1)].filter((part) => part.includes("="));
    for (const part of given) {
      for (const [name, value] of new URLSearchParams(part)) {
        const choice = page.controls[name]?.indexOf(value) ?? -1;
        if (choice >= 0) state[name] = choice;
      }
    }
    return given.length > 0;
  }

  function writeAddress() {
    const chosen = new URLSearchParams();
    for (const [name, choice] of Object.entries(state)) if (choice) chosen.set(name, page.controls[name][choice]);
    history.replaceState(null, "", `#${chosen}`);
  }

  document.addEventListener("change", ({ target }) => {
    const name = target.dataset?.control;
    if (!name) return;
    state[name] = Number(target.value);
    showState();
    writeAddress();
    dependent[name]?.forEach(draw);
  });
  addEventListener("hashchange", () => { if (readAddress()) { showState(); drawAll(); } });
  dark.addEventListener("change", drawAll);

  readAddress();
  showState();
  drawAll();
  root.dataset.rendered = "true";
})();
