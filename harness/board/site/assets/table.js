// The table of all rows: DataTables sorts, pages and draws; filters and their place in the address are ours.
// Every text goes into the page as text, never as HTML.
"use strict";
(() => {
  const table = document.getElementById("rows");
  const data = window.BOARD;
  if (!table || !data || !window.DataTable) return;

  const FIELDS = ["case", "baseline", "score", "low", "high", "rank", "last", "draws", "latency", "quick", "slow", "p99",
    "rate", "build", "delta", "peak", "device", "machine", "trust", "status", "method", "flags", "reason", "marks",
    "record", "runs", "params", "further", "notes", "failures", "gpu"];
  const SHARED = new Set(["case", "baseline", "device", "machine", "trust", "status", "method", "reason", "params"]);
  const FRONT = 1, CONTENDS = 2, CONTROL = 4, MOVED = 8, GONE = 16;
  const text = (n) => data.strings[n || 0];
  const rows = data.rows.map((values, order) => {
    const row = { order };
    FIELDS.forEach((name, i) => {
      const value = values[i] === undefined ? null : values[i];
      row[name] = SHARED.has(name) ? text(value) : value;
    });
    for (const name of ["marks", "notes"]) row[name] = (row[name] || []).map(text);
    row.flags = row.flags || 0;
    row.words = [row.case, row.baseline, row.method, row.device, row.machine, row.trust, row.status, row.reason,
      row.params, ...row.marks, ...row.notes].join(" ").toLowerCase();
    return row;
  });
  window.BOARD.table = rows;

  // --- cells ---
  const el = (name, cls, content) => {
    const made = document.createElement(name);
    if (cls) made.className = cls;
    if (content !== undefined && content !== null) made.append(content);
    return made;
  };
  const DASH = "\u2013";
  const number = (v) => {
    if (v === null) return DASH;
    if (v >= 0 && v <= 1) return v > 0 && v < 0.01 ? String(Number(v.toPrecision(3))) : v.toFixed(3);
    return Math.abs(v) >= 1e4 ? Math.round(v).toLocaleString("en") : String(Number(v.toPrecision(4)));
  };
  const three = (v) => (v === null ? DASH : v >= 1000 ? Math.round(v).toLocaleString("en") : String(Number(v.toPrecision(3))));
  const badge = (cls, label, sign) => {
    const made = el("span", "badge " + cls);
    if (sign) { const i = el("i", "", sign + " "); i.setAttribute("aria-hidden", "true"); made.append(i); }
    made.append(label);
    return made;
  };
  const SIGNS = { "self-reported": "\u25cb", reproduced: "\u25d0", replicated: "\u25cf" };
  const ends = {};
  for (const row of rows) {
    if (row.score === null) continue;
    const of = ends[row.case] = ends[row.case] || [Infinity, -Infinity];
    of[0] = Math.min(of[0], row.low === null ? row.score : row.low);
    of[1] = Math.max(of[1], row.high === null ? row.score : row.high);
  }
  const bar = (row) => {
    const made = el("span", "bar");
    const [from, to] = data.score.best === 1 ? [0, Math.max(1, ends[row.case][1])] : ends[row.case];
    const at = (v) => (to > from ? (100 * (v - from)) / (to - from) : 50);
    if (row.low !== null) {
      const range = el("span", "range");
      range.style.left = at(row.low) + "%";
      range.style.width = Math.max(0, at(row.high) - at(row.low)) + "%";
      made.append(range);
    }
    const dot = el("span", "dot");
    dot.style.left = at(row.score) + "%";
    made.append(dot);
    made.setAttribute("aria-hidden", "true");
    return made;
  };
  const withInterval = (value, low, high, shown) => {
    const made = document.createDocumentFragment();
    made.append(el("b", "", shown(value)));
    if (low !== null && high !== null) made.append(" ", el("span", "ci", `[${shown(low)}, ${shown(high)}]`));
    return made;
  };
  const link = (folder, file, label) => {
    const a = el("a", "", label);
    a.setAttribute("href", `../${folder}/${encodeURIComponent(file)}.html`);
    return a;
  };
  const place = (row) => {
    if (row.rank !== null) return row.rank === row.last ? String(row.rank) : `${row.rank}\u2013${row.last}`;
    if (row.flags & CONTROL) return "control";
    return row.flags & CONTENDS ? "not resolved" : DASH;
  };
  const cells = {
    more: (row) => {
      const made = el("button", "expand", "+");
      made.type = "button";
      made.setAttribute("aria-expanded", "false");
      made.setAttribute("aria-label", `More about ${row.baseline} on ${row.case}`);
      return made;
    },
    case: (row) => el("span", "", row.case),
    baseline: (row) => {
      const made = el("span", "");
      made.append(link("baseline", data.baselines[data.strings.indexOf(row.baseline)], row.baseline), el("small", "narrow", row.case));
      return made;
    },
    score: (row) => {
      const made = el("span", "score");
      if (row.score !== null) made.append(bar(row));
      made.append(withInterval(row.score, row.low, row.high, number));
      if (row.flags & FRONT) {
        const front = el("span", "front", "\u25c6");
        front.title = "On the front of score, latency and memory";
        front.append(el("span", "unseen", " front"));
        made.append(front);
      }
      return made;
    },
    rank: (row) => el("span", row.rank === null ? "faint" : "", place(row)),
    draws: (row) => el("span", "", String(row.draws)),
    latency: (row) => {
      const made = el("span", "");
      made.append(withInterval(row.latency, row.quick, row.slow, three));
      if (row.flags & MOVED && row.latency !== null) made.append(" ~");
      return made;
    },
    p99: (row) => el("span", "", three(row.p99)),
    rate: (row) => el("span", "", three(row.rate)),
    build: (row) => el("span", "", row.build === null ? DASH : `${three(row.build)} s`),
    memory: (row) => el("span", "", row.peak === null ? DASH : `${three(row.delta || 0)} / ${three(row.peak)} MB`),
    device: (row) => el("span", "", row.device),
    machine: (row) => { const made = el("span", "", row.machine.slice(0, 8)); made.title = row.machine; return made; },
    trust: (row) => badge(`t-${row.trust}`, row.trust, SIGNS[row.trust] || "?"),
    state: (row) => {
      const made = el("span", "");
      made.append(badge(`s-${row.status}`, row.status));
      if (row.reason) made.append(el("span", "why", row.reason));
      for (const mark of row.marks) { const m = el("span", "mark", mark); m.title = mark; made.append(m); }
      return made;
    },
  };
  const worth = {
    case: (r) => r.order, baseline: (r) => r.baseline, score: (r) => r.score, rank: (r) => r.rank, draws: (r) => r.draws,
    latency: (r) => r.latency, p99: (r) => r.p99, rate: (r) => r.rate, build: (r) => r.build, memory: (r) => r.delta,
    device: (r) => r.device, machine: (r) => r.machine, trust: (r) => Object.keys(SIGNS).indexOf(r.trust),
    state: (r) => r.status, more: () => "",
  };

  // --- the table ---
  // what is not known stands last, whichever way one sorts
  const known = (sign) => (a, b) => {
    const none = (v) => v === null || v === undefined || v === "";
    if (none(a) || none(b)) return none(a) - none(b);
    return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
  };
  DataTable.ext.type.order["known-asc"] = known(1);
  DataTable.ext.type.order["known-desc"] = known(-1);
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.column);
  const classes = [...table.tHead.rows[0].cells].map((cell) => cell.className);
  table.tBodies[0].replaceChildren();
  DataTable.ext.errMode = "throw";
  const grid = new DataTable(table, {
    data: rows, deferRender: true, autoWidth: false, order: [], orderClasses: false, pageLength: 50,
    lengthMenu: [25, 50, 100, 250],
    layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: "paging", bottom: "pageLength" },
    language: {
      info: "_START_ to _END_ of _TOTAL_ rows", infoEmpty: "no rows", infoFiltered: "(of _MAX_)",
      lengthMenu: "_MENU_ rows a page", zeroRecords: "No row is like that. Clear the filters to see all.",
    },
    columns: names.map((name, i) => ({
      data: null, name, className: classes[i], type: "known", orderable: name !== "more", searchable: false,
      orderSequence: ["baseline", "case", "device", "latency", "rank", "p99", "build", "memory"].includes(name) ||
        (name === "score" && !data.score.up) ? ["asc", "desc", ""] : ["desc", "asc", ""],
      render: (_, type, row) => (type === "display" ? cells[name](row) : worth[name](row)),
    })),
    createdRow: (tr, row) => {
      if (row.flags & GONE) tr.classList.add("retracted");
      else if (row.status !== "ok") tr.classList.add("failed");
      else if (row.flags & CONTROL) tr.classList.add("control");
    },
  });

  // --- more about a row ---
  const more = (row) => {
    const list = el("dl", "facts-list");
    const say = (label, value) => { if (value) list.append(el("dt", "", label), el("dd", "", value)); };
    say("parameters", row.params);
    say("source file", row.method);
    for (let i = 0; i < (row.further || []).length; i += 2) say(text(row.further[i]), number(row.further[i + 1]));
    say("latency", row.latency === null ? "" : `${three(row.latency)} ms${row.p99 === null ? "" : `, p99 ${three(row.p99)} ms`}`);
    say("batches", row.rate === null ? "" : `${three(row.rate)} items/s`);
    say("build", row.build === null ? "" : `${three(row.build)} s`);
    say("memory", row.peak === null ? "" : `${three(row.delta || 0)} MB more than its libraries, ${three(row.peak)} MB in all`);
    say("GPU memory", row.gpu ? `${three(row.gpu)} MB` : "");
    say("device", `${row.device}, machine ${row.machine || "not known"}`);
    say("trust", row.trust);
    say("why", row.reason);
    for (const mark of row.marks) say("mark", mark);
    for (const note of row.notes) say("note", note);
    if (row.record) say("records", link("record", row.record, row.runs === 1 ? "its record" : `the first of ${row.runs}, which leads to the others`));
    return list;
  };
  table.addEventListener("click", (event) => {
    const button = event.target.closest("button.expand");
    if (!button) return;
    const row = grid.row(button.closest("tr"));
    const open = !row.child.isShown();
    if (open) row.child(more(row.data()), "child").show(); else row.child.hide();
    button.textContent = open ? "\u2212" : "+";
    button.setAttribute("aria-expanded", String(open));
  });

  // --- filters, and their place in the address ---
  const form = document.getElementById("filters");
  const controls = [...form.querySelectorAll("[data-filter]")];
  const NAMES = controls.map((c) => c.dataset.filter);
  for (const select of form.querySelectorAll("select")) {
    const values = [...new Set(rows.map((r) => r[select.dataset.filter]))].filter(Boolean);
    if (select.dataset.filter !== "case") values.sort();
    for (const value of values) select.add(new Option(value, value));
    if (values.length < 2) select.parentElement.hidden = true;
  }
  if (!rows.some((r) => r.flags & FRONT)) form.querySelector("[data-filter=front]").parentElement.hidden = true;
  let state = {};
  grid.search.fixed("ours", (_, row) => {
    for (const name of NAMES) {
      const wanted = state[name];
      if (!wanted) continue;
      if (name === "q") { if (!wanted.toLowerCase().split(/\s+/).every((word) => row.words.includes(word))) return false; }
      else if (name === "front") { if (!(row.flags & FRONT)) return false; }
      else if (row[name] !== wanted) return false;
    }
    return true;
  });
  const read = () => {
    const hash = location.hash.slice(1);
    return hash.includes("=") ? Object.fromEntries(new URLSearchParams(hash)) : null;
  };
  const written = () => {
    const parts = new URLSearchParams();
    for (const name of NAMES) if (state[name]) parts.set(name, state[name]);
    const [first] = grid.order();
    if (first && first[1]) parts.set("sort", `${names[first[0]]}.${first[1]}`);
    if (grid.page() > 0) parts.set("page", String(grid.page() + 1));
    if (grid.page.len() !== 50) parts.set("length", String(grid.page.len()));
    return parts.toString();
  };
  let quiet = false;
  const apply = (given) => {
    quiet = true;
    state = Object.fromEntries(NAMES.map((n) => [n, given[n] || ""]));
    for (const control of controls) {
      const wanted = state[control.dataset.filter];
      if (control.type === "checkbox") control.checked = Boolean(wanted);
      else {
        control.value = wanted;
        if (control.tagName === "SELECT" && control.value !== wanted) control.value = "";
      }
    }
    const [column, way] = (given.sort || "").split(".");
    const index = names.indexOf(column);
    grid.order(index > 0 && (way === "asc" || way === "desc") ? [[index, way]] : []);
    const length = Number(given.length) || 50;
    grid.page.len([25, 50, 100, 250].includes(length) ? length : 50);
    grid.draw();
    const page = Math.floor(Number(given.page) || 1) - 1;
    if (page > 0 && page < grid.page.info().pages) grid.page(page).draw("page");
    quiet = false;
  };
  const keep = (fresh) => {
    if (quiet) return;
    const hash = written();
    if (hash === location.hash.slice(1)) return;
    const address = hash ? `#${hash}` : location.pathname.split("/").pop() + location.search;
    if (fresh) history.pushState(null, "", address); else history.replaceState(null, "", address);
  };
  const changed = (fresh) => {
    for (const control of controls) {
      state[control.dataset.filter] = control.type === "checkbox" ? (control.checked ? "1" : "") : control.value;
    }
    quiet = true;
    grid.page(0);
    grid.draw();
    quiet = false;
    keep(fresh);
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => { if (event.target.type !== "search") changed(true); });
  let typing = 0;
  let began = true;
  form.addEventListener("input", (event) => {
    if (event.target.type !== "search") return;
    clearTimeout(typing);
    typing = setTimeout(() => { changed(began); began = false; }, 120);
  });
  form.addEventListener("focusout", () => { began = true; });
  form.addEventListener("reset", (event) => { event.preventDefault(); apply({}); keep(true); });
  grid.on("order", () => keep(true));
  grid.on("page", () => keep(true));
  grid.on("length", () => keep(true));
  const follow = () => {
    const given = read();
    if (given) { apply(given); return true; }
    if (!location.hash) apply({});
    return false;
  };
  addEventListener("popstate", follow);
  addEventListener("hashchange", follow);
  if (follow()) document.getElementById("table").scrollIntoView();

  // --- what is shown, as a file ---
  const quoted = (value) => {
    let plain = value === null || value === undefined ? "" : String(value);
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(plain)) plain = `'${plain}`; // no formula in a spreadsheet
    return /[",\n\r]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
  };
  document.getElementById("as-csv").addEventListener("click", () => {
    const columns = ["case", "baseline", "score", "low", "high", "rank", "last", "draws", "latency", "quick", "slow", "p99",
      "rate", "build", "delta", "peak", "device", "machine", "trust", "status", "method", "reason", "params"];
    const lines = [columns, ...grid.rows({ search: "applied" }).data().toArray().map((row) => columns.map((c) => row[c]))];
    const file = new Blob([lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n"], { type: "text/csv" });
    const a = el("a");
    a.href = URL.createObjectURL(file);
    a.download = "rows.csv";
    a.click();
    URL.revokeObjectURL(a.href);
    document.getElementById("copied").textContent = `${lines.length - 1} rows saved`;
  });

  document.documentElement.dataset.usable = String(Math.round(performance.now()));
  dispatchEvent(new Event("harness-table"));
})();
