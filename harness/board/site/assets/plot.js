// Draws the plot that is chosen, and the score over cost of one case. Plotly is large: it is loaded after the table.
"use strict";
(() => {
  const data = window.BOARD;
  if (!data) return;
  const self = document.currentScript.src;
  const PLOTLY = self.replace(/plot\.js$/, "plotly.min.js");
  const LIGHT = ["#2563c9", "#c2410c", "#15803d", "#a21caf", "#0e7490", "#b45309", "#be123c", "#4d7c0f", "#6d28d9", "#475569"];
  const DARK = ["#79a8ff", "#fb923c", "#4ade80", "#e879f9", "#22d3ee", "#fbbf24", "#fb7185", "#a3e635", "#a78bfa", "#94a3b8"];
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const SYMBOLS = ["circle", "diamond", "square", "triangle-up", "cross"];
  const CONTROL_DASH = { oracle: "solid", random: "dot" };
  // Plotly reads tags and entities in texts: ours are shown as they are
  const plain = (text, longest) => {
    const cut = longest && text.length > longest ? `${text.slice(0, longest - 1)}\u2026` : text;
    return cut.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  };
  const say = (v) => (v === null || v === undefined ? "?" : typeof v === "string" ? plain(v, 60) : Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en") : String(Number(v.toPrecision(4))));
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const isDark = () => css("--scheme") === "dark";
  const narrow = () => innerWidth < 640;

  const layoutOf = (plot) => {
    const axis = { tickangle: 0, gridcolor: css("--line"), linecolor: css("--line-strong"), zeroline: false, automargin: true, ticks: "outside", tickcolor: css("--line-strong") };
    const ticks = (values) => {
      const tried = [...new Set(values)].sort((a, b) => a - b);
      const apart = [];
      for (let i = tried.length - 1; i >= 0; i--) if (!apart.length || apart[0] > tried[i] * (narrow() ? 2.2 : 1.18)) apart.unshift(tried[i]);
      return { tickmode: "array", tickvals: apart, ticktext: apart.map((x) => (x >= 10000 ? x.toLocaleString("en") : `${x}`)) };
    };
    const xs = plot.traces.filter((t) => t.k !== "control").flatMap((t) => t.x || []);
    const x = { ...axis, title: { text: plain(plot.x, 70) }, type: plot.kind === "categories" ? "category" : plot.log[0] ? "log" : "linear" };
    if (plot.log[0] && plot.kind === "lines" && xs.length) Object.assign(x, ticks(xs));
    else if (plot.log[0]) Object.assign(x, { dtick: "D2", exponentformat: "SI" });
    const shares = plot.traces.every((t) => (t.y || []).every((v) => v >= 0 && v <= 1));
    const y = { ...axis, title: { text: plain(plot.y, 60) }, type: plot.log[1] ? "log" : "linear" };
    if (shares) y.range = [-0.03, 1.04];
    if (plot.log[1]) Object.assign(y, { dtick: "D2", exponentformat: "SI" });
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: "system-ui, sans-serif", size: 13, color: css("--text") },
      margin: { l: 56, r: 12, t: 8, b: 48 }, hovermode: "closest", scattermode: plot.kind === "categories" ? "group" : "overlay", scattergap: 0.4,
      xaxis: x, yaxis: y, showlegend: true,
      legend: narrow()
        ? { orientation: "h", x: 0, y: -56 / 260, yanchor: "top", entrywidth: 0.48, entrywidthmode: "fraction", font: { size: 11 } }
        : { font: { size: 12 }, tracegroupgap: 2 },
      hoverlabel: { bgcolor: css("--panel"), bordercolor: css("--line-strong"), font: { color: css("--text") }, align: "left" },
      shapes: plot.edge === null || plot.edge === undefined ? [] : [{ type: "line", xref: "x", yref: "paper", x0: plot.edge, x1: plot.edge, y0: 0, y1: 1, line: { color: css("--faint"), dash: "dot", width: 1.5 } }],
    };
  };
  const bounds = (t, on, colour) => {
    if (!on || !(t.lo || []).some((v) => v !== null)) return undefined;
    const up = t.hi ? t.y.map((y, i) => (t.hi[i] === null ? 0 : Math.max(0, t.hi[i] - y))) : t.y.map(() => 0);
    const down = t.y.map((y, i) => (t.lo[i] === null || t.lo[i] === undefined ? 0 : Math.max(0, y - t.lo[i])));
    return { type: "data", symmetric: false, array: up, arrayminus: down, thickness: 1, width: 3, color: colour };
  };
  const range = (t, i) => (t.lo && t.lo[i] !== null && t.lo[i] !== undefined ? ` [${say(t.lo[i])}, ${t.hi ? say(t.hi[i]) : "\u2026"}]` : "");
  const tracesOf = (plot, intervals) => {
    const palette = isDark() ? DARK : LIGHT;
    const grey = css("--faint");
    let n = 0;
    const made = [];
    for (const t of plot.traces) {
      const kind = t.k || "row";
      const base = (t.n.match(/^[\w-]+/) || [""])[0];
      const index = kind === "row" ? n++ : 0;
      const colour = kind === "row" ? palette[index % palette.length] : kind === "bound" ? css("--text") : grey;
      const look = { color: colour, width: kind === "row" ? 2 : 1.5, dash: kind === "row" ? DASHES[Math.floor(index / palette.length) % 4] : kind === "bound" ? "dash" : CONTROL_DASH[base] || "dashdot" };
      const symbol = SYMBOLS[Math.floor(index / palette.length) % SYMBOLS.length];
      const hover = t.y.map((y, i) => `<b>${plain((t.names || [])[i] || t.n, 60)}</b><br>${plain(plot.x, 50)}: ${say(t.x[i])}<br>${plain(plot.y, 50)}: ${say(y)}${range(t, i)}`);
      const common = { name: plain(t.n, narrow() ? 22 : 36), x: t.x, y: t.y, type: "scatter", legendgroup: t.n, text: hover, hoverinfo: "text", error_y: bounds(t, intervals, colour) };
      if (plot.kind === "points") {
        made.push({ ...common, mode: "markers", cliponaxis: false, marker: { size: 9, symbol, color: t.best ? t.best.map((b) => (b ? colour : "rgba(0,0,0,0)")) : colour, line: { color: colour, width: 1.6 } } });
      } else if (plot.kind === "categories") {
        made.push({ ...common, mode: "markers", marker: { size: 9, symbol, color: colour }, offsetgroup: t.n });
      } else {
        const level = kind === "control" && t.x.length === 2 && t.y[0] === t.y[1];
        made.push({ ...common, mode: kind === "row" ? "lines+markers" : "lines", line: look, marker: { size: 6, symbol, color: colour }, error_y: level ? undefined : bounds(t, intervals && kind === "row", colour) });
        if (t.d && kind === "row") {
          made.push({ x: t.d.map((d) => d[0]), y: t.d.map((d) => d[1]), type: "scatter", mode: "markers", legendgroup: t.n, showlegend: false, marker: { size: 5, color: colour, opacity: 0.35 }, hoverinfo: "text", text: t.d.map((d) => `<b>${plain(t.n, 60)}</b>, draw ${d[2]}<br>${say(d[0])}: ${say(d[1])}`) });
        }
      }
    }
    if (plot.kind === "points") {
      const front = plot.traces.flatMap((t) => t.x.map((x, i) => ({ x, y: t.y[i], name: (t.names || [])[i] || "", best: t.best && t.best[i] }))).filter((p) => p.best).sort((a, b) => a.x - b.x);
      made.unshift({ x: front.map((p) => p.x), y: front.map((p) => p.y), type: "scatter", mode: "lines", name: "front", hoverinfo: "skip", line: { color: grey, dash: "dot", shape: plot.falls ? "vh" : "hv", width: 1.5 } });
    }
    return made;
  };
  // names of what is on the front, where they do not run into each other
  const labelled = (plot, layout, width) => {
    if (plot.kind !== "points") return;
    const xs = plot.traces.flatMap((t) => t.x).filter((x) => !plot.log[0] || x > 0);
    const scale = plot.log[0] ? Math.log : (x) => x;
    const low = scale(Math.min(...xs)), high = scale(Math.max(...xs));
    const put = [];
    const front = plot.traces.flatMap((t) => t.x.map((x, i) => ({ x, y: t.y[i], name: (t.names || [])[i], best: t.best && t.best[i] }))).filter((p) => p.best && p.name).sort((a, b) => b.y - a.y);
    layout.annotations = [];
    for (const p of front) {
      const at = [((scale(p.x) - low) / (high - low || 1)) * width * 0.7, p.y * 380];
      const length = Math.min(p.name.length, 22) * 6;
      if (put.some((q) => Math.abs(q[1] - at[1]) < 14 && at[0] < q[0] + q[2] && q[0] < at[0] + length)) continue;
      put.push([...at, length]);
      layout.annotations.push({ x: plot.log[0] ? Math.log10(p.x) : p.x, y: p.y, text: plain(p.name, 22), showarrow: false, xanchor: "left", yanchor: "bottom", xshift: 4, yshift: 2, font: { size: 11, color: css("--soft") } });
    }
  };

  const draw = (canvas, plot, intervals) => {
    if (!plot) { Plotly.purge(canvas); return; }
    const layout = layoutOf(plot);
    labelled(plot, layout, canvas.clientWidth);
    layout.height = 430;
    if (narrow()) {
      layout.margin.b = 66 + 20 * Math.ceil((plot.traces.length + 1) / 2);
      layout.height = 268 + layout.margin.b;
    }
    Plotly.react(canvas, tracesOf(plot, intervals), layout, { displayModeBar: false, responsive: true });
  };

  // --- the chosen one of the task's plots ---
  const figures = [...document.querySelectorAll("figure[data-plot]")];
  const which = document.getElementById("which-plot");
  const ticked = document.getElementById("show-intervals");
  let touched = false;
  const signature = () => {
    const chosen = which ? Number(which.value) : 0;
    figures.forEach((figure) => { figure.hidden = Number(figure.dataset.plot) !== chosen; });
    const plot = data.plots[chosen];
    if (!plot) return;
    if (ticked && !touched) ticked.checked = plot.traces.filter((t) => (t.k || "row") === "row").length <= 8 || plot.kind !== "lines";
    draw(figures[chosen].querySelector(".canvas"), plot, !ticked || ticked.checked);
  };

  // --- score over cost ---
  const cost = { plot: document.getElementById("cost-plot"), case: document.getElementById("cost-case"), machine: document.getElementById("cost-machine"), of: document.getElementById("cost-of") };
  const rows = () => (data.table || []).filter((r) => r.score !== null && r.latency !== null && !(r.flags & 16));
  const fill = (select, values) => { select.replaceChildren(...values.map((v) => new Option(v || "not known", v))); };
  const most = (values) => {
    const counts = new Map();
    for (const v of values) counts.set(v, (counts.get(v) || 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1]).map(([v]) => v);
  };
  const machines = () => fill(cost.machine, most(rows().filter((r) => r.case === cost.case.value).map((r) => `${r.machine}`)));
  const overCost = () => {
    const memory = cost.of.value === "memory";
    const own = rows().filter((r) => r.case === cost.case.value && r.machine === cost.machine.value && (!memory || r.peak !== null));
    const at = (r) => (memory ? r.peak : r.latency);
    const groups = most(own.map((r) => r.method || "rows"));
    const traces = groups.map((group) => {
      const in_group = own.filter((r) => (r.method || "rows") === group);
      return { n: group.replace(/\.py$/, ""), x: in_group.map(at), y: in_group.map((r) => r.score), lo: in_group.map((r) => r.low), hi: in_group.map((r) => r.high), names: in_group.map((r) => r.baseline), best: in_group.map((r) => r.flags & 1) };
    });
    const xs = own.map(at);
    draw(cost.plot, { kind: "points", x: memory ? "peak memory, MB" : "latency of one query, ms", y: data.score.name, traces, log: [Math.min(...xs) > 0, false], falls: !data.score.up, edge: null }, true);
  };

  const loaded = new Promise((resolve) => {
    const wanted = () => {
      const script = document.createElement("script");
      script.src = PLOTLY;
      script.onload = resolve;
      document.head.append(script);
    };
    // once the table stands and the browser has drawn it
    requestAnimationFrame(() => setTimeout(wanted, 0));
  });
  // a browser that comes back here keeps what was chosen
  const first = which ? Number(which.value) : 0;
  figures.forEach((figure, i) => { figure.hidden = i !== first; });
  loaded.then(() => {
    const all = [];
    if (figures.length) {
      if (which) which.addEventListener("change", signature);
      if (ticked) ticked.addEventListener("change", () => { touched = true; signature(); });
      signature();
      all.push(signature);
    }
    if (cost.plot && rows().length) {
      fill(cost.case, most(rows().map((r) => r.case)));
      machines();
      cost.case.addEventListener("change", () => { machines(); overCost(); });
      cost.machine.addEventListener("change", overCost);
      cost.of.addEventListener("change", overCost);
      overCost();
      all.push(overCost);
    }
    const again = () => all.forEach((one) => one());
    addEventListener("harness-theme", again);
    matchMedia("print").addEventListener("change", again);
    document.documentElement.dataset.drawn = "1";
  });
})();
