// Filters the page about nights, findings and small drawings: by task, by what is measured, by words, by what is worse.
"use strict";
(() => {
  const form = document.getElementById("tracking-filters");
  const count = document.getElementById("tracking-count");
  const value = (name) => form.querySelector(`[data-filter=${name}]`);
  const usual = new Map([...document.querySelectorAll("details.nights")].map((fold) => [fold, fold.open]));
  const apply = () => {
    const task = value("task").value, kind = value("kind").value, worse = value("open").checked;
    const words = value("q").value.toLowerCase().split(/\s+/).filter(Boolean);
    const filtered = Boolean(task || kind || worse || words.length);
    const meant = (of, named) => (!task || of === task) && words.every((word) => named.includes(word));
    for (const finding of document.querySelectorAll("article.finding")) {
      finding.hidden = !meant(finding.dataset.task, finding.dataset.words);
    }
    let shown = 0;
    for (const fold of usual.keys()) {
      let some = false;
      for (const cell of fold.querySelectorAll(".cell")) {
        const fits = meant(fold.dataset.task, cell.dataset.words);
        let any = false;
        for (const figure of cell.querySelectorAll("figure")) {
          const stays = fits && (!kind || figure.dataset.kind === kind) && (!worse || "open" in figure.dataset);
          figure.hidden = !stays;
          any ||= stays;
          shown += stays;
        }
        any ||= fits && !kind && (!worse || "open" in cell.dataset); // a cell of which nothing came
        cell.hidden = !any;
        some ||= any;
      }
      fold.hidden = !some;
      fold.open = filtered ? some : usual.get(fold);
    }
    count.textContent = filtered ? `${shown} series` : "";
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  apply();
})();
