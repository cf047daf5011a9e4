// The dashboard's own script. Pages work without it; it draws charts, renews parts that changed, keeps times relative,
// asks before forms act and answers them in place, and listens to the keyboard. Sorting, filtering and paging are the
// server's: links and forms. Text goes in as text; HTML comes from our server's templates alone.
"use strict";

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const named = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text. */
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** localStorage, where the browser lets us. */
const memory = {
  get(key) { try { return localStorage.getItem(key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(key, value); } catch { /* not kept, then */ } },
};

/** Whether an address leads to one of our own pages. */
const ownPath = (to) => typeof to === "string" && /^\/(?![/\\])/.test(to);

/** What the server answers. Throws an error whose message is a sentence for people, with the `status`, if any. */
async function ask(address, options = {}) {
  const answer = await fetch(address, { ...options, headers: { Accept: "application/json" } }).catch(() => {
    throw new Error("the dashboard does not answer; is `aarlab serve` still running?");
  });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const error = new Error(told.error || `the dashboard answered ${answer.status}`);
  throw Object.assign(error, { status: answer.status });
}

// Times

function ago(seconds) {
  const whole = Math.round(Math.abs(seconds));
  if (whole < 5) return "just now";
  const units = [[90, 1, "s"], [5400, 60, "min"], [172800, 3600, "h"], [Infinity, 86400, "d"]];
  const [, size, unit] = units.find(([most]) => whole < most);
  const text = `${Math.round(whole / size)} ${unit}`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

function renewTimes(within = document) {
  for (const time of all("time[data-relative]", within)) {
    const text = ago((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text; // what is the same may be selected
  }
}

// Parts are renewed in place: nodes that stay the same stay, so focus, selection, scrolling and open details hold.
// Idiomorph (idiomorph.js) finds them: by their ids, or else by their place.

const OURS = ".chart, [data-answer]"; // their inside is the script's
const THEIRS = ["open", "value", "checked", "selected"]; // what a reader opened, typed or chose
const TYPED = "input:not([type=button], [type=submit], [type=checkbox], [type=radio]), textarea, select";
const isTyped = (element) => Boolean(element?.matches(TYPED));

const renewing = {
  beforeNodeMorphed: (old, fresh) => !(old.matches?.(OURS) && fresh.matches(OURS)),
  beforeAttributeUpdated: (name, element) => element.matches("progress") || !THEIRS.includes(name),
  beforeNodeRemoved: (node) => !(isTyped(document.activeElement) && node.contains(document.activeElement)),
  afterNodeAdded: (node) => node.setAttribute?.("data-fresh", ""), // app.css shows it; the next update takes it away
};

function showPart(id, html) {
  const old = named(id);
  if (!old) return;
  const template = make("template");
  template.innerHTML = html;
  renewTimes(template.content);
  const active = document.activeElement;
  Idiomorph.morph(old, template.content, { callbacks: renewing });
  if (active !== document.activeElement && active?.isConnected) active.focus({ preventScroll: true });
  adoptCharts();
}

// Charts: <div class="chart" data-src data-name data-title> shows a Vega specification that the server compiled.

const WIDTHS = [1020, 760, 480, 340]; // the server keeps what it compiled for these
const LARGEST = 1.2; // times its own size: beyond that, letters look coarse
const NEAR = 16; // pixels around a point within which the pointer means it
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };

let runtime = null;

/** Vega, fetched when the first chart comes into view. */
function vegaRuntime() {
  runtime ??= new Promise((resolve, reject) => {
    const script = make("script", { src: one("link[data-vega]").href });
    script.onload = () => resolve(window.vega);
    script.onerror = () => { runtime = null; reject(new Error("the chart runtime could not be loaded")); };
    document.head.append(script);
  });
  return runtime;
}

const refused = () => Promise.reject(new Error("charts load nothing and link to nothing"));

class Chart {
  constructor(box) {
    this.box = box;
    this.stale = true;
    this.near = this.busy = false;
    this.drawing = make("div", { role: "img" });
    this.note = make("p", { class: "note", role: "status" }, "loading");
    for (const name of ["role", "aria-label"]) box.removeAttribute(name); // the drawing's, from here on
    box.append(this.drawing, this.note);
    this.findSpots();
    this.watch();
  }

  watch() {
    new IntersectionObserver((seen) => {
      this.near = seen.at(-1).isIntersecting;
      if (this.near && this.stale) this.refresh();
    }, { rootMargin: "200px" }).observe(this.box);
    new ResizeObserver(() => this.text && this.wanted !== this.width && this.refresh()).observe(this.box);
    const hear = (type, act) => this.drawing.addEventListener(type, act);
    hear("pointermove", (event) => this.point(this.spotAt(event)));
    hear("pointerleave", () => this.point(null));
    hear("click", (event) => this.follow(this.spotAt(event)));
    hear("keydown", (event) => this.walk(event));
    hear("focus", () => this.drawing.matches(":focus-visible") && this.step(0));
    hear("blur", () => this.point(null));
  }

  get wanted() { return WIDTHS.find((width) => width <= this.box.clientWidth) ?? WIDTHS.at(-1); }

  /** Fetch it again, at once or when it comes into view; while that goes on, once more at the end. */
  async refresh() {
    this.stale = true;
    if (!this.near || this.busy) return;
    this.busy = true;
    while (this.stale) {
      this.stale = false;
      await this.load().catch((error) => this.say(`This chart cannot be shown: ${error.message}`, this.text));
    }
    this.busy = false;
  }

  async load() {
    const address = new URL(this.box.dataset.src, location);
    address.searchParams.set("width", (this.width = this.wanted));
    const text = await (await ask(address)).text();
    if (text && text !== this.text) await this.draw(JSON.parse(text));
    this.text = text;
    this.say(text ? "" : "no data yet", text);
  }

  /** Drawn beside the page first, so that nothing flickers. */
  async draw(specification) {
    const { parse, View, expressionInterpreter } = await vegaRuntime();
    const view = new View(parse(specification, null, { ast: true }), {
      renderer: "svg", expr: expressionInterpreter, loader: { load: refused, sanitize: refused }, tooltip: () => {},
    });
    const place = make("div");
    await view.initialize(place).runAsync();
    const svg = one("svg", place);
    svg.setAttribute("aria-hidden", "true"); // the name is on the element around it
    Object.assign(svg.style, { width: "100%", height: "auto", maxWidth: `${LARGEST * svg.getAttribute("width")}px` });
    this.drawing.replaceChildren(svg);
    this.findSpots();
    view.finalize(); // it listens to nothing: pointer and keys are ours
  }

  /** Words under the drawing, or in its place. */
  say(words, drawn) {
    this.note.textContent = words;
    this.note.hidden = !words;
    this.drawing.hidden = !drawn;
  }

  /** Marks whose datum has a `tip` text, and perhaps an `href`, from left to right. */
  findSpots() {
    const left = (mark) => mark.__data__.bounds?.x1 ?? 0;
    this.spots = all("path, rect, line, text", this.drawing).filter((mark) => mark.__data__?.datum?.tip);
    this.spots.sort((a, b) => left(a) - left(b));
    this.at = null;
    const count = this.spots.length;
    this.drawing.ariaLabel = this.box.dataset.title + (count ? `. ${count} marks with details: arrow keys` : "");
    if (count) this.drawing.tabIndex = 0;
    else this.drawing.removeAttribute("tabindex");
  }

  /** The mark under the pointer, or the nearest one. */
  spotAt(event) {
    if (this.spots.includes(event.target)) return event.target;
    let best = null, least = NEAR;
    for (const spot of this.spots) {
      const [x, y] = centre(spot);
      const distance = Math.hypot(x - event.clientX, y - event.clientY);
      if (distance < least) [best, least] = [spot, distance];
    }
    return best;
  }

  /** Mark a spot and show its tip, or none. */
  point(spot) {
    this.drawing.classList.toggle("link", ownPath(spot?.__data__.datum.href));
    for (const other of all(".at", this.drawing)) other.classList.remove("at");
    spot?.classList.add("at");
    if (spot) showTip(spot.__data__.datum.tip, ...centre(spot));
    else hideTip();
  }

  /** Show the tip of the mark so many further on; from nowhere it begins at the last one, which is the newest. */
  step(by) {
    const last = this.spots.length - 1;
    const index = this.at ? this.spots.indexOf(this.at) + by : last;
    this.at = this.spots[Math.max(0, Math.min(last, index))] ?? null;
    this.point(this.at);
  }

  follow(spot) {
    const to = spot?.__data__.datum.href;
    if (ownPath(to)) location.assign(to);
  }

  walk(event) {
    if (event.key in STEPS) this.step(STEPS[event.key]);
    else if (event.key === "Enter") this.follow(this.at);
    else return;
    event.preventDefault();
  }
}

function centre(mark) {
  const box = mark.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}

const charts = new Map(); // element -> Chart

function adoptCharts() {
  for (const box of all(".chart[data-src]")) if (!charts.has(box)) charts.set(box, new Chart(box));
}

/** Draw the charts of a name again, unless that version of them is here already. */
function renewCharts(name, version) {
  for (const chart of charts.values()) {
    if (chart.box.dataset.name !== name || chart.version === version) continue;
    chart.version = version;
    chart.refresh();
  }
}

// The tip: a mark's words beside it.

const tip = make("div", { class: "tip", role: "status", hidden: "" });
document.body.append(tip);

function showTip(text, x, y) {
  if (tip.textContent !== text) tip.textContent = text;
  tip.hidden = false;
  Object.assign(tip.style, { left: 0, top: 0 }); // or its width would depend on where it was
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 10, innerWidth - width - 4))}px`;
  tip.style.top = `${y - height - 10 < 4 ? y + 12 : y - height - 10}px`;
}

function hideTip() { tip.hidden = true; }

addEventListener("scroll", hideTip, { passive: true, capture: true });

// Live updates

const HIDDEN_MS = 10_000; // a page that nobody sees lets its connection go after this: browsers allow six to a server
const PAUSE_MS = [3_000, 30_000]; // between two tries after the server refused

class Live {
  constructor(address) {
    this.address = address;
    this.state = "live";
    this.pause = PAUSE_MS[0];
    document.addEventListener("visibilitychange", () => this.sleepOrWake());
    addEventListener("pagehide", () => this.close()); // who comes back to the page makes it visible
    this.open();
  }

  open() {
    this.close();
    const source = (this.source = new EventSource(this.address));
    source.onopen = () => this.opened();
    source.onerror = () => this.failed();
    const hear = (type, act) => source.addEventListener(type, (event) => act(JSON.parse(event.data)));
    hear("part", ({ id, html }) => showPart(id, html));
    hear("state", ({ text }) => this.say((this.state = text || "live")));
    hear("chart", ({ name, version }) => renewCharts(name, version));
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
  }

  sleepOrWake() {
    clearTimeout(this.sleeping);
    if (document.hidden) this.sleeping = setTimeout(() => this.close(), HIDDEN_MS);
    else if (this.source.readyState === EventSource.CLOSED) this.open();
  }

  opened() {
    this.lost = false;
    this.pause = PAUSE_MS[0];
    this.say(this.state);
  }

  /** The browser tries again by itself, unless the server answered with something else than a stream. */
  failed() {
    if (this.source.readyState === EventSource.CLOSED) this.askWhy();
    if (this.lost) return;
    this.lost = true;
    const now = new Date().toISOString();
    const time = make("time", { datetime: now, "data-relative": "", "aria-hidden": "true" }); // or it is read out again
    this.say("connection lost, trying again; last seen ", time);
    renewTimes();
  }

  /** Whoever must log in again is told so; anything else is tried again, less and less often. */
  async askWhy() {
    try {
      (await ask(this.address)).body.cancel();
    } catch (error) {
      if (error.status === 401) return this.say(`Logged out; get a new link: ${error.message}`, "");
      if ([403, 404].includes(error.status)) return this.say(`No more updates: ${error.message}`, "");
    }
    this.timer = setTimeout(() => this.open(), this.pause);
    this.pause = Math.min(2 * this.pause, PAUSE_MS[1]);
  }

  /** trouble: what else there is to say, of something that is not as it should be. */
  say(text, ...trouble) {
    const line = named("live");
    line.classList.toggle("no", trouble.length > 0);
    if (line.textContent !== text) line.replaceChildren(text, ...trouble);
  }
}

// Forms with [data-answer] are sent by the script and answered in place; those with data-confirm ask first.

/** A dialog under a heading; resolves to the `value` of the button that closed it, or "". The first has the focus. */
function openDialog(heading, content, ...buttons) {
  buttons[0].autofocus = true;
  const title = make("h2", { id: "dialog-title" }, heading);
  const form = make("form", { method: "dialog", class: "controls" }, ...buttons);
  const dialog = make("dialog", { "aria-labelledby": title.id }, title, ...content, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => { dialog.remove(); resolve(dialog.returnValue); };
  });
}

async function agreed(question, button) {
  const yes = make("button", { value: "yes", class: "first" }, button?.textContent.trim() || "Yes");
  return (await openDialog(question, [], make("button", { value: "" }, "Cancel"), yes)) === "yes";
}

document.addEventListener("submit", async (event) => {
  const form = event.target, button = event.submitter, answer = one("[data-answer]", form);
  if (form.method !== "post") return;
  if (answer || form.ariaBusy) event.preventDefault();
  if (form.ariaBusy) return; // the second click of a double one
  form.ariaBusy = "true";
  if (!answer) return;
  const body = new URLSearchParams(new FormData(form, button));
  if (!form.dataset.confirm || (await agreed(form.dataset.confirm, button))) await send(form, body, answer);
  form.ariaBusy = null;
});

/** The server answers {"text", "go": where the result is}, or with an error. */
async function send(form, body, answer) {
  try {
    const { text, go } = await (await ask(form.action, { method: "POST", body })).json();
    answer.replaceChildren(text || "done");
    answer.classList.remove("bad");
    form.reset();
    if (!ownPath(go)) return;
    const elsewhere = new URL(go, location).pathname !== location.pathname;
    if (!document.body.dataset.live) location.assign(go); // this page does not renew itself
    else if (elsewhere) answer.append(" ", make("a", { href: go }, "see it"));
  } catch (error) {
    answer.replaceChildren(error.message);
    answer.classList.add("bad");
  }
}

// Copying, theme

const onClick = (selector, act) => all(selector).forEach((found) => found.addEventListener("click", () => act(found)));

onClick("[data-copy-from]", async (button) => {
  const copied = navigator.clipboard?.writeText(named(button.dataset.copyFrom).textContent) ?? Promise.reject();
  button.textContent = await copied.then(() => "copied", () => "the browser forbids copying");
  setTimeout(() => { button.textContent = "copy"; }, 1500);
});

const THEMES = { auto: "automatic", light: "light", dark: "dark" };

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const button = one("[data-theme-toggle]");
  button.title = button.ariaLabel = `Colours: ${THEMES[theme]}`;
}

onClick("[data-theme-toggle]", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
  memory.set("aarlab-theme", next);
  setTheme(next);
});

// Keyboard

let afterG = 0; // until when a letter goes to a page

function showHelp() {
  const keys = [...all("a[data-key]").map((a) => [`g ${a.dataset.key}`, a.textContent.trim()]),
    ["/", "search or filter"], ["?", "this list"], ["Esc", "close"]];
  const row = ([key, what]) => make("tr", {}, make("td", {}, make("kbd", {}, key)), make("td", {}, what));
  const box = make("input", { type: "checkbox" });
  box.checked = memory.get("aarlab-keys") !== "off";
  box.onchange = () => memory.set("aarlab-keys", box.checked ? "on" : "off");
  const content = [make("table", {}, ...keys.map(row)), make("label", {}, box, " listen to these keys")];
  openDialog("Keyboard shortcuts", content, make("button", {}, "Close"));
}

onClick("[data-help]", showHelp);

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hideTip();
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (isTyped(event.target) || one("dialog[open]") || memory.get("aarlab-keys") === "off") return;
  const search = one("input[type=search]");
  const link = Date.now() < afterG && all("a[data-key]").find((a) => a.dataset.key === event.key);
  afterG = event.key === "g" && !link ? Date.now() + 1500 : 0;
  if (link) link.click();
  else if (event.key === "?") showHelp();
  else if (event.key === "/" && search) search.focus();
  else return;
  event.preventDefault();
});

// The page as it came

renewTimes();
adoptCharts();
setTheme(document.documentElement.dataset.theme ?? "auto"); // as theme.js found it
setInterval(renewTimes, 10_000);
if (document.body.dataset.live) new Live(document.body.dataset.live);
