// Loaded before anything is drawn, so that a chosen theme does not flash: see `data-theme` in app.css.
(() => {
  const root = document.documentElement;
  root.dataset.script = "on";
  try {
    const chosen = localStorage.getItem("aarlab-theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  } catch {
    // storage may be forbidden: the system's theme holds
  }
})();
