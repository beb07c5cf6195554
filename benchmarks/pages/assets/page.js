"use strict";
(() => {
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  // dragging zooms with a mouse; with a finger it must scroll the page
  const dragmode = matchMedia("(hover: hover) and (pointer: fine)").matches ? "zoom" : false;
  const wide = matchMedia("(min-width: 700px)");
  const config = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false };
  const state = {};
  const initial = page.initial ?? {};
  for (const name of Object.keys(page.controls)) state[name] = initial[name] ?? 0;
  // a page may bring more: `settle` mends choices that do not go together, `show` writes text, `build` makes figures
  const more = window.pageExtension?.({ page, state, shortened }) ?? {};

  // what depends on a control: figure ids by control
  const dependent = {};
  for (const [id, figure] of Object.entries(page.figures)) {
    const conditions = figure.build ? [] : [...figure.traces, ...figure.patches].map((part) => part.when);
    const cuts = figure.build ? [] : figure.traces.flatMap((part) => part.until ?? []);
    for (const name of [...(figure.controls ?? []), ...cuts, ...conditions.flatMap(Object.keys)]) {
      (dependent[name] ??= new Set()).add(id);
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

  // both ends of a name on an axis, in whole characters of escaped text: names of variants differ at either
  function shortened(name, length) {
    const characters = name.match(/&#?\w+;|./gsu) ?? [];
    if (characters.length <= length) return name;
    const first = Math.floor(length / 2);
    return [...characters.slice(0, first), "…", ...characters.slice(first - length + 1)].join("");
  }

  function draw(id) {
    const element = document.getElementById(`plot-${id}`);
    if (!element) return;
    const spec = page.figures[id];
    const figure = spec.build ? more.build(spec) : spec;
    const styles = getComputedStyle(root);
    const layout = resolved({ ...figure.layout, dragmode }, styles);
    for (const patch of figure.patches.filter((p) => applies(p.when))) {
      for (const [path, value] of Object.entries(resolved(patch.layout, styles))) assign(layout, path, value);
    }
    const names = layout.yaxis?.ticktext;
    if (names && !wide.matches) layout.yaxis.ticktext = names.map((name) => shortened(name, 24));
    const traces = figure.traces.filter((t) => applies(t.when)).map((t) => resolved(completed(t), styles));
    Plotly.react(element, traces, layout, config);
  }

  // of a trace with `until`, as many points as that control has come to; a map with `names` says what its cells are
  function completed({ trace, until, names }) {
    const n = state[until] + 1;
    if (until) return { ...trace, x: trace.x.slice(0, n), y: trace.y.slice(0, n) };
    if (!names) return trace;
    const said = (value) => (value === null ? "–" : value.toPrecision(3));
    const hovertext = trace.z.map((row, k) => row.map((z, i) => `target ${names[k]}<br>source ${names[i]}<br>${said(z)}`));
    return { ...trace, hovertext };
  }

  function drawAll() { Object.keys(page.figures).forEach(draw); }

  function showState() {
    for (const [name, choice] of Object.entries(state)) {
      root.dataset[name] = page.controls[name][choice] ?? "";
      for (const input of document.querySelectorAll(`input[type=radio][data-control="${name}"]`)) {
        input.checked = Number(input.value) === choice;
      }
      for (const slider of document.querySelectorAll(`input[type=range][data-control="${name}"]`)) slider.value = choice;
      for (const text of document.querySelectorAll(`output[data-control="${name}"]`)) text.textContent = page.controls[name][choice];
      for (const select of document.querySelectorAll(`select[data-control="${name}"]`)) select.value = choice;
    }
    for (const part of document.querySelectorAll("[data-when]")) part.hidden = !applies(JSON.parse(part.dataset.when));
    for (const { id, when, text } of page.captions ?? []) {
      const caption = document.getElementById(`note-${id}`);
      if (caption && applies(when)) caption.textContent = text;
    }
    more.show?.();
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
    for (const [name, choice] of Object.entries(state)) if (choice !== (initial[name] ?? 0)) chosen.set(name, page.controls[name][choice]);
    history.replaceState(null, "", `#${chosen}`);
  }

  function choose(name, choice) {
    const before = { ...state };
    state[name] = choice;
    more.settle?.();
    showState();
    writeAddress();
    const changed = Object.keys(state).filter((key) => state[key] !== before[key]);
    new Set(changed.flatMap((key) => [...(dependent[key] ?? [])])).forEach(draw);
  }

  for (const kind of ["change", "input"]) {
    document.addEventListener(kind, ({ target }) => {
      // a slider tells of every step as `input`; all others of a choice as `change`
      const wanted = target.type === "range" ? "input" : "change";
      if (target.dataset?.control && kind === wanted) choose(target.dataset.control, Number(target.value));
    });
  }
  addEventListener("hashchange", () => { if (readAddress()) { more.settle?.(); showState(); drawAll(); } });
  dark.addEventListener("change", drawAll);
  wide.addEventListener("change", drawAll);

  // a button that steps a slider to its end; who asks for less motion has the slider alone
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  for (const button of document.querySelectorAll("button[data-play]")) {
    const name = button.dataset.play;
    const slider = document.querySelector(`input[type=range][data-control="${name}"]`);
    let timer = 0;
    const label = (word) => {
      button.textContent = word;
      button.setAttribute("aria-label", `${word} ${button.dataset.what}`);
    };
    const stop = () => {
      clearInterval(timer);
      timer = 0;
      delete root.dataset.playing;
      label("Play");
      showState();
    };
    const play = () => {
      root.dataset.playing = "true";
      label("Pause");
      if (state[name] >= Number(slider.max)) choose(name, 0);
      timer = setInterval(() => {
        if (state[name] >= Number(slider.max)) stop();
        else choose(name, state[name] + 1);
      }, Math.max(80, Math.min(400, 8000 / (Number(slider.max) + 1))));
    };
    const follow = () => { button.hidden = calm.matches; if (timer) stop(); };
    button.addEventListener("click", () => (timer ? stop() : play()));
    button.hidden = calm.matches;
    calm.addEventListener("change", follow);
  }

  readAddress();
  more.settle?.();
  showState();
  drawAll();
  root.dataset.rendered = "true";
})();
