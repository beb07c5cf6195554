"use strict";
// What a suite's page adds to page.js: plots made of records, the slider through the training, tables that sort.
window.pageExtension = ({ page, state, shortened }) => {
  const { weights = { entries: [] }, episodes = { entries: [] } } = page;
  const get = (id) => document.getElementById(id);
  const escaped = (text) => {
    const line = String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
    return line.replace(/\$/g, "&#36;"); // a pair of dollars would ask plotly for a formula
  };
  const figures = (value) => (value === null || value === undefined ? "–" : Number(value.toPrecision(3)).toString());
  const MUTED = "var(--muted)";

  // ------------------------------------------------------------------ which records there are

  const find = (group, choices) => group.entries.find((entry) => entry.key.every((choice, i) => choice === choices[i]));
  const chosen = (group) => find(group, group.controls?.map((name) => state[name]) ?? []);

  // choices that no record has are closed, in the order of the controls; what is chosen moves to an open one
  function settleGroup(group) {
    let left = group.entries;
    if (!left.length) return;
    (group.controls ?? []).forEach((name, i) => {
      const open = new Set(left.map((entry) => entry.key[i]));
      if (!open.has(state[name])) state[name] = Math.min(...open);
      left = left.filter((entry) => entry.key[i] === state[name]);
      close(name, open);
    });
  }

  function close(name, open) {
    for (const option of document.querySelectorAll(`select[data-control="${name}"] option`)) {
      option.hidden = option.disabled = !open.has(Number(option.value));
    }
  }

  function settle() {
    settleGroup(weights);
    settleGroup(episodes);
    const run = chosen(weights);
    if (run) {
      state.frame = Math.min(state.frame, run.steps.length - 1);
      const open = new Set(run.targets.map((target) => page.controls.wtarget.indexOf(target)));
      if (!open.has(state.wtarget)) state.wtarget = Math.min(...open);
      close("wtarget", open);
      if (!run.alignment) state.quantity = 0;
      const alignment = document.querySelector('input[data-control="quantity"][value="1"]');
      alignment.disabled = !run.alignment;
    }
    if (episodes.entries.length) {
      const others = [0, ...page.controls.agent.keys().map((agent) => agent + 1)].filter((k) => k === 0 || other(k));
      if (!others.includes(state.other)) state.other = 0;
      close("other", new Set(others));
    }
  }

  // the same episode by another agent, with the chosen training seed if it has that
  function other(choice) {
    const [variant, task, episode] = episodes.controls.map((name) => state[name]);
    const same = episodes.entries.filter(({ key }) => [variant, task, episode, choice - 1].every((k, i) => key[i] === k));
    return same.find(({ key }) => key[4] === state.eseed) ?? same[0];
  }

  // ------------------------------------------------------------------ plots

  const axis = (more) => ({
    gridcolor: "var(--rule)", zeroline: false, linecolor: "var(--rule)", tickfont: { color: MUTED }, hoverformat: ".4~g",
    automargin: true, ...more,
  });
  const title = (text) => ({ text, font: { color: MUTED, size: 12 }, standoff: 8 });
  const layout = (more) => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
    font: { family: "var(--sans)", size: 12, color: "var(--ink)" },
    hoverlabel: {
      bgcolor: "var(--raised)", bordercolor: "var(--rule)", font: { family: "var(--sans)", color: "var(--ink)" },
      namelength: -1, align: "left",
    },
    margin: { l: 8, r: 16, t: 10, b: 44 }, ...more,
  });

  function heatMap() {
    const run = chosen(weights);
    const isWeight = state.quantity === 0;
    const flat = run[isWeight ? "weight" : "alignment"][state.frame];
    const n = run.sources.length;
    const z = run.targets.map((_, row) => flat.slice(row * n, (row + 1) * n));
    const end = isWeight ? run.most_weight : run.most_alignment || 1;
    const scale = isWeight
      ? [0, 1, 2, 3, 4].map((k) => [k / 4, `var(--scale-${k})`])
      : [[0, "var(--low)"], [0.5, "var(--middle)"], [1, "var(--high)"]];
    const trace = {
      type: "heatmap", z, x: run.sources.map((_, k) => k), y: run.targets.map((_, k) => -k),
      colorscale: scale, zmin: isWeight ? 0 : -end, zmax: end, xgap: n > 40 ? 0 : 2, ygap: n > 40 ? 0 : 2,
      colorbar: { thickness: 10, outlinewidth: 0, tickfont: { color: MUTED }, nticks: 5 },
      hoverinfo: "text",
      hovertext: run.targets.map((target, row) => run.sources.map((source, k) =>
        `target ${escaped(target)}<br>source ${escaped(source)}<br>${figures(z[row][k])}`)),
      ...(n <= 8 && innerWidth > 500 ? { texttemplate: isWeight ? "%{z:.2f}" : "%{z:.3~g}" } : {}),
    };
    const names = (values, tasks, sign) => {
      const every = Math.ceil(tasks.length / 24);
      const kept = values.filter((_, k) => k % every === 0);
      return { tickvals: kept.map((k) => sign * k), ticktext: kept.map((k) => shortened(escaped(tasks[k]), 20)) };
    };
    return {
      traces: [{ trace, when: {} }], patches: [],
      layout: layout({
        xaxis: axis({ ...names(trace.x, run.sources, 1), tickangle: -40, fixedrange: true, title: title("Source") }),
        yaxis: axis({ title: title("Target"), ...names(trace.x.slice(0, run.targets.length), run.targets, -1), fixedrange: true }),
      }),
    };
  }

  const SHOWN = 6; // lines of a plot, one a colour; the sources that count most
  function weightLines() {
    const run = chosen(weights);
    const row = run.targets.indexOf(page.controls.wtarget[state.wtarget]);
    const frames = run[state.quantity === 0 ? "weight" : "alignment"];
    const n = run.sources.length;
    const last = (k) => Math.abs(frames.at(-1)[row * n + k] ?? 0);
    const order = run.sources.map((_, k) => k).sort((a, b) => last(b) - last(a)).slice(0, SHOWN);
    const traces = order.map((k, place) => ({
      when: {},
      trace: {
        type: "scatter", mode: frames.length > 1 ? "lines" : "markers", name: escaped(run.sources[k]), x: run.steps,
        y: frames.map((flat) => flat[row * n + k]),
        line: { color: `var(--task-${n > SHOWN ? place : k})`, width: run.sources[k] === run.targets[row] ? 3.5 : 1.75 },
        marker: { color: `var(--task-${n > SHOWN ? place : k})`, size: 8 },
      },
    }));
    const step = run.steps[state.frame];
    return {
      traces, patches: [],
      layout: layout({
        hovermode: "closest", showlegend: true,
        legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { color: MUTED, size: 11 } },
        xaxis: axis({ title: title("Training step") }),
        yaxis: axis({ rangemode: "tozero", nticks: 6 }),
        shapes: [{ type: "line", x0: step, x1: step, y0: 0, y1: 1, yref: "paper", line: { color: "var(--ink)", width: 1, dash: "dot" } }],
      }),
    };
  }

  const PANELS = ["Multiplier, 1 is the target or worth", "Price level: least winning cost",
    "Share of the budget spent, as predicted", "Constraint ratios so far, 1 is the limit", "Impressions won a tick, by slot"];

  // one colour an agent; whose colour is taken by the other one is drawn like text
  const look = (entry, first) => {
    const isTaken = first && first.colour % 8 === entry.colour % 8;
    return isTaken ? "var(--ink)" : `var(--method-${entry.colour % 8})`;
  };

  function episodeFigure() {
    const one = chosen(episodes);
    const two = state.other ? other(state.other) : undefined;
    const n = one.plan.length;
    const ends = Array.from({ length: n }, (_, t) => t + 1);
    const traces = [];
    const place = (panel) => ({ xaxis: "x", yaxis: panel ? `y${panel + 1}` : "y" });
    const line = (panel, name, y, style, more) => traces.push({
      when: {}, trace: { type: "scatter", mode: "lines", name, x: ends, y, line: style, ...place(panel), ...more },
    });
    let ratios = 0;
    for (const [entry, choice] of [[one, state.agent], [two, state.other - 1]]) {
      if (!entry) continue;
      const name = escaped(page.controls.agent[choice]);
      const colour = look(entry, entry === one ? undefined : one);
      const base = entry.base > 0 ? entry.base : 1;
      line(0, `${name}: multiplier`, entry.multiplier.map((x) => x === null ? null : x / base), { color: colour, width: 2, shape: "hvh" });
      line(1, `${name}: price`, entry.least_winning_cost, { color: colour, width: 2, shape: "hvh" });
      if (entry.budget_ratio) line(2, `${name}: spent`, entry.budget_ratio, { color: colour, width: 2 });
      for (const [kind, style] of Object.entries(episodes.ratios)) {
        const ratio = entry[`${kind}_ratio`];
        if (!ratio) continue;
        ratios += 1;
        line(3, `${name}: ${kind.replace("_", " ")}`, ratio, { color: colour, dash: style, width: 2 });
      }
      if (entry === two) {
        const won = ends.map((_, t) => [1, 2, 3].reduce((sum, k) => sum + (entry[`slot${k}`]?.[t] ?? 0), 0));
        line(4, `${name}: won`, won, { color: colour, dash: "dot", width: 2, shape: "hvh" });
      }
    }
    for (const k of [0, 1, 2]) {
      traces.push({
        when: {},
        trace: {
          type: "bar", name: k === 2 ? "slot 3 and below" : `slot ${k + 1}`, x: ends, y: one[`slot${k + 1}`] ?? [],
          marker: { color: `var(--slot-${k})`, line: { width: 0 } }, ...place(4),
        },
      });
    }
    line(2, "plan", one.plan, { color: MUTED, dash: "dash", width: 1.5 });
    const gap = 0.055;
    const height = (1 - gap * PANELS.length) / PANELS.length;
    const shape = { type: "line", x0: 0, x1: 1, xref: "paper", y0: 1, y1: 1, line: { color: MUTED, width: 1, dash: "dot" }, layer: "below" };
    const found = layout({
      barmode: "stack", bargap: 0.1, hovermode: "x unified", hoversubplots: "axis", annotations: [],
      xaxis: axis({ title: title("Tick"), range: [0.5, n + 0.5], anchor: "y5" }),
      shapes: [{ ...shape, yref: "y" }, { ...shape, yref: "y3" }, { ...shape, yref: "y4" }],
      margin: { l: 8, r: 12, t: 4, b: 44 },
    });
    PANELS.forEach((text, panel) => {
      const top = 1 - panel * (height + gap) - gap;
      found[panel ? `yaxis${panel + 1}` : "yaxis"] = axis({ domain: [top - height, top], nticks: 5, rangemode: "tozero", anchor: "x" });
      found.annotations.push({ text, x: 0, xref: "paper", xanchor: "left", y: top, yref: "paper", yanchor: "bottom", yshift: 3,
        showarrow: false, font: { color: "var(--ink)", size: 12 } });
    });
    found.yaxis4.range = [0, 2];
    if (!ratios) {
      found.annotations.push({ text: "this task has no limit but the budget", x: 0.5, xref: "paper", y: 0.4, yref: "y4", showarrow: false, font: { color: MUTED } });
    }
    return { traces, patches: [], layout: found };
  }

  const builders = { weights: heatMap, weightLines, episode: episodeFigure };

  // ------------------------------------------------------------------ words

  function told(entry, choice) {
    const name = page.controls.agent[choice];
    const spent = entry.budget_ratio?.at(-1);
    const money = entry.budget ? ` of ${figures(entry.budget)}` : "";
    const broken = Object.keys(episodes.ratios).filter((kind) => (entry[`${kind}_ratio`]?.at(-1) ?? 0) > 1 + 1e-6);
    const limits = broken.length ? `over the limit of ${broken.join(", ").replace("_", " ")}` : "within all limits as predicted";
    return `${name} spent ${spent === undefined ? "–" : (100 * spent).toFixed(1)} %${money} and reached an objective of ${figures(entry.objective)}, ${limits}.`;
  }

  // the agents that are drawn lead the legend of the episode
  function legend(...drawn) {
    const list = get("viewer-legend");
    for (const old of list.querySelectorAll(".agent")) old.remove();
    for (let k = 2; k >= 0; k -= 2) {
      if (!drawn[k]) continue;
      const colour = look(drawn[k], k ? drawn[0] : undefined);
      const entry = document.createElement("li");
      entry.className = "agent";
      entry.innerHTML = `<svg class="mark" viewBox="0 0 26 10" aria-hidden="true"><path d="M0 5H26" style="stroke:${colour};stroke-width:3"/></svg>`;
      entry.append(page.controls.agent[drawn[k + 1]]);
      list.prepend(entry);
    }
  }

  function show() {
    const run = chosen(weights);
    if (run) {
      const slider = get("frame");
      slider.max = run.steps.length - 1;
      slider.value = state.frame;
      const step = run.steps[state.frame];
      slider.setAttribute("aria-valuetext", `step ${step}, record ${state.frame + 1} of ${run.steps.length}`);
      get("frame-step").textContent = `step ${step}`;
      slider.disabled = get("play").disabled = run.steps.length < 2;
      const note = get("weights-note");
      note.setAttribute("aria-live", document.documentElement.dataset.playing ? "off" : "polite");
      const row = run.targets.indexOf(page.controls.wtarget[state.wtarget]);
      const n = run.sources.length;
      const own = run.weight[state.frame].slice(row * n, (row + 1) * n);
      const top = own.reduce((best, x, k) => (x > own[best] ? k : best), 0);
      note.textContent = `At step ${step}, ${run.targets[row]} draws most from ${run.sources[top]}: weight ${figures(own[top])}.`
        + (state.quantity === 1 ? ` Colours of alignments end at ±${figures(run.most_alignment)}.` : "");
    }
    const one = chosen(episodes);
    if (one) {
      const two = state.other ? other(state.other) : undefined;
      legend(one, state.agent, two, state.other - 1);
      get("viewer-note").textContent = told(one, state.agent) + (two ? ` ${told(two, state.other - 1)}` : "");
    }
  }

  // ------------------------------------------------------------------ tables that sort

  function sortBy(heading) {
    const descending = heading.getAttribute("aria-sort") !== "descending" && heading.cellIndex > 0
      || heading.getAttribute("aria-sort") === "ascending";
    const table = heading.closest("table");
    for (const one of table.tHead.rows[0].cells) one.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const key = (row) => row.cells[heading.cellIndex].dataset.sort;
    const compare = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === ""); // what has no figure stays last
      const numbers = Number(a) - Number(b);
      const order = Number.isNaN(numbers) ? a.localeCompare(b) : numbers;
      return descending ? -order : order;
    };
    body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b))));
  }
  document.addEventListener("click", ({ target }) => {
    const heading = target.closest?.(".sortable thead button")?.parentElement;
    if (heading) sortBy(heading);
  });

  return { settle, show, build: (spec) => builders[spec.build]() };
};
