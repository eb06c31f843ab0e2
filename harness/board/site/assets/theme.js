// Runs before the first paint: the theme that was chosen here before, else the system's.
"use strict";
(() => {
  const root = document.documentElement;
  let chosen = "";
  try { chosen = localStorage.getItem("harness-theme") || ""; } catch { /* a browser may keep nothing */ }
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  root.classList.add("scripted");
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const told = () => dispatchEvent(new Event("harness-theme"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", told);
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => { button.textContent = dark() ? "Light theme" : "Dark theme"; };
    label();
    addEventListener("harness-theme", label);
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      try { localStorage.setItem("harness-theme", root.dataset.theme); } catch { /* it holds for this page */ }
      told();
    });
  });
})();
