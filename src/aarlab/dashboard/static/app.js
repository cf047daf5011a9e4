// The dashboard's only script. Pages work without it; it draws charts, renews parts that changed, keeps times relative,
// sorts and filters tables, asks before forms act, and listens to the keyboard. Handlers sit on the document, so that
// what live updates bring in needs none of its own. Text goes in as text; HTML comes from our server's templates alone.
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

/** Run `act(element, event)` for events inside of what the selector finds, now or later. */
function on(type, selector, act, options) {
  const hear = (event) => {
    const found = event.target instanceof Element && event.target.closest(selector);
    if (found) act(found, event);
  };
  document.addEventListener(type, hear, options);
}

/** localStorage, where the browser lets us. */
const memory = {
  get(key) { try { return localStorage.getItem(key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(key, value); } catch { /* not kept, then */ } },
};

/** The error sentence of an answer, or what is known without one. */
async function sentence(answer) {
  try {
    return (await answer.json()).error || `the dashboard answered ${answer.status}`;
  } catch {
    return `the dashboard answered ${answer.status} ${answer.statusText}`.trim();
  }
}

/** Whether an address leads to one of our own pages. */
const ownPath = (to) => typeof to === "string" && /^\/(?![/\\])/.test(to);

const UNREACHED = "the dashboard does not answer; is `aarlab serve` still running?";

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
    const moment = Date.parse(time.dateTime);
    if (Number.isNaN(moment)) continue;
    if (!time.title) time.title = `${new Date(moment).toISOString().slice(0, 19).replace("T", " ")} UTC`;
    const text = ago((Date.now() - moment) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

// Tables: sorted by a column's button, filtered by a box. Both hold when the rows are renewed.

const orders = new Map(); // table's id, or the table -> {key, down}

function addSortButtons(within) {
  for (const head of all("table[data-sort] th[data-key]", within)) {
    if (one("button", head)) continue;
    const button = make("button", { type: "button" });
    button.append(...head.childNodes);
    head.append(button);
  }
}

/** What a cell is sorted by: `data-v` as a number where it has one, its text otherwise; null: nothing to sort by. */
function sortValue(cell) {
  if (!cell) return null;
  if (cell.dataset.v !== undefined) return cell.dataset.v === "" || isNaN(cell.dataset.v) ? null : Number(cell.dataset.v);
  const text = cell.textContent.trim();
  return text === "" || text === "–" ? null : text;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sortRows(table) {
  const order = orders.get(table.id || table);
  const heads = all("th[data-key]", table);
  const head = order && heads.find((h) => h.dataset.key === order.key);
  if (!head) return;
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
  for (const body of table.tBodies) {
    const rows = [...body.rows].map((row) => [sortValue(row.cells[head.cellIndex]), row]);
    rows.sort(([a], [b]) => (a === null) - (b === null) || (order.down ? compare(b, a) : compare(a, b)) || 0);
    body.append(...rows.map(([, row]) => row));
  }
}

function chooseOrder(button) {
  const head = button.closest("th");
  const table = head.closest("table");
  const before = head.getAttribute("aria-sort");
  const first = one(`td:nth-child(${head.cellIndex + 1})[data-v]`, table) ? "descending" : "ascending";
  const next = before ? { ascending: "descending", descending: "ascending" }[before] : first;
  orders.set(table.id || table, { key: head.dataset.key, down: next === "descending" });
  sortRows(table);
  button.focus();
}

/** Hide the rows (or children) of `target` that lack a word of its filter box, and say how many are left. */
function filterRows(target) {
  const box = target.id && one(`[data-filter="${CSS.escape(target.id)}"]`);
  if (!box) return;
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = target.tBodies ? [...target.tBodies].flatMap((body) => [...body.rows]) : [...target.children];
  let left = 0;
  for (const row of rows) {
    const text = words.length ? row.textContent.toLowerCase() : "";
    row.hidden = !words.every((word) => text.includes(word));
    left += !row.hidden;
  }
  let count = one(`[data-count="${CSS.escape(target.id)}"]`);
  if (!count) box.after((count = make("output", { "data-count": target.id, class: "dim" })));
  const text = words.length ? `${left} of ${rows.length} shown` : "";
  if (count.textContent !== text) count.textContent = text;
}

/** Everything that the script adds to fresh HTML, before or after it is in the page. */
function dress(within) {
  renewTimes(within);
  addSortButtons(within);
  for (const table of all("table[data-sort]", within)) sortRows(table);
  for (const box of all("[data-filter]")) {
    const target = one(`#${CSS.escape(box.dataset.filter)}`, within);
    if (target) filterRows(target);
  }
}

// A part is renewed in place: nodes that stay the same stay, so focus, selection, scrolling and open details hold.

const OURS = ".chart[data-src], [data-answer]"; // their inside is the script's

function renew(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (!(old instanceof Element)) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.matches(OURS)) {
    for (const name of ["src", "version"]) if (name in fresh.dataset) old.dataset[name] = fresh.dataset[name];
    return;
  }
  renewAttributes(old, fresh);
  renewChildren(old, fresh);
}

function renewAttributes(old, fresh) {
  const kept = ["DETAILS", "DIALOG"].includes(old.nodeName) ? ["open"] : [];
  for (const { name } of [...old.attributes])
    if (!fresh.hasAttribute(name) && !kept.includes(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes)
    if (old.getAttribute(name) !== value && !kept.includes(name)) old.setAttribute(name, value);
}

/** By its id, or else by all that it holds, a node is known again. */
const identity = (node) => (node instanceof Element ? (node.id ? `#${node.id}` : node.outerHTML) : node.data);

function renewChildren(old, fresh) {
  const known = new Map();
  for (const node of old.childNodes) {
    const key = identity(node);
    known.set(key, [...(known.get(key) ?? []), node]);
  }
  const coming = new Set([...fresh.childNodes].map(identity));
  const done = new Set();
  let at = old.firstChild;
  for (const node of [...fresh.childNodes]) {
    const same = known.get(identity(node))?.shift();
    while (at && done.has(at)) at = at.nextSibling;
    if (same) {
      if (same !== at) place(old, same, at);
      done.add(same);
      if (same.id) renew(same, node);
    } else if (at && at.nodeName === node.nodeName && !at.id && !node.id && !coming.has(identity(at))) {
      const next = at.nextSibling;
      done.add(at);
      renew(at, node);
      at = next;
    } else {
      if (node instanceof Element) markFresh(node);
      old.insertBefore(node, at);
      done.add(node);
    }
  }
  for (const node of [...old.childNodes]) if (!done.has(node)) node.remove();
}

function place(parent, node, before) {
  if (parent.moveBefore) parent.moveBefore(node, before); // keeps focus and scrolling
  else parent.insertBefore(node, before);
}

/** New nodes are shown as such for a moment (app.css). */
function markFresh(node) {
  node.setAttribute("data-fresh", "");
  setTimeout(() => node.removeAttribute("data-fresh"), 1500);
}

const TYPED = "input:not([type=button], [type=submit], [type=reset], [type=checkbox], [type=radio]), textarea, select";
const isTyped = (element) => Boolean(element) && (element.matches(TYPED) || element.isContentEditable);

const held = new Map(); // id -> the newest HTML of a part in which somebody types

function showPart(id, html) {
  const old = named(id);
  if (!old) return;
  if (old.contains(document.activeElement) && isTyped(document.activeElement)) return held.set(id, html);
  held.delete(id);
  const template = document.createElement("template");
  template.innerHTML = html;
  dress(template.content);
  renewTimes(old); // or else every time would count as another
  const whole = template.content.childElementCount === 1 && template.content.firstElementChild.id === id;
  const active = document.activeElement;
  if (whole) renew(old, template.content.firstElementChild);
  else renewChildren(old, template.content);
  if (active !== document.activeElement && active?.isConnected) active.focus({ preventScroll: true });
  adoptCharts();
}

document.addEventListener("focusout", () => setTimeout(() => {
  for (const [id, html] of [...held]) showPart(id, html);
}));

// Charts: <div class="chart" data-src data-title> holds a Vega specification that the server compiled.

const WIDTHS = [1020, 760, 480, 340]; // the server keeps what it compiled for these
const LARGEST = 1.2; // times its own size: beyond that, letters look coarse
const NEAR = 16; // pixels around a point within which the pointer means it
const charts = new Map(); // element -> Chart

const here = document.currentScript.src;
let runtime = null;

/** Vega, fetched when the first chart comes into view. */
function vegaRuntime() {
  if (window.vega) return Promise.resolve(window.vega);
  runtime ??= new Promise((resolve, reject) => {
    const source = one("link[data-vega]")?.href ?? new URL("vega.js", here).href;
    const script = make("script", { src: source });
    script.onload = () => resolve(window.vega);
    script.onerror = () => { runtime = null; reject(new Error("the chart runtime could not be loaded")); };
    document.head.append(script);
  });
  return runtime;
}

const NOTHING_LOADED = {
  load: () => Promise.reject(new Error("charts load nothing")),
  sanitize: () => Promise.reject(new Error("charts link to nothing")),
};

class Chart {
  constructor(box) {
    this.box = box;
    this.version = box.dataset.version;
    this.near = this.stale = this.busy = false;
    this.spots = [];
    this.drawing = make("div", { role: "img", "aria-label": this.title });
    this.note = make("p", { class: "note", role: "status" }, "loading");
    box.removeAttribute("role");
    box.removeAttribute("aria-label");
    box.append(this.drawing, this.note);
    this.addLinks();
    watchDistance.observe(box);
    watchSize.observe(box);
    this.drawing.addEventListener("pointermove", (event) => this.hover(event));
    this.drawing.addEventListener("pointerleave", () => this.point(null));
    this.drawing.addEventListener("click", (event) => this.follow(this.spotAt(event)));
    this.drawing.addEventListener("keydown", (event) => this.walk(event));
    this.drawing.addEventListener("focus", () => this.drawing.matches(":focus-visible") && this.step(0));
    this.drawing.addEventListener("blur", () => this.point(null));
  }

  get title() { return this.box.dataset.title ?? "chart"; }

  get name() { return new URL(this.box.dataset.src, location).pathname.split("/").pop().replace(/\.json$/, ""); }

  /** Its numbers as a table and a picture, where the page does not offer them beside it. */
  addLinks() {
    if (one("a[download]", this.box.closest("figure") ?? this.box)) return;
    const links = [["csv", "data as CSV"], ["png", "PNG"]].map(([kind, text]) => {
      const to = new URL(this.box.dataset.src, location);
      to.pathname = to.pathname.replace(/json$/, kind);
      return make("a", { href: to.pathname + to.search, download: "" }, text);
    });
    this.box.append(make("p", { class: "saves" }, links[0], " ", links[1]));
  }

  get wanted() {
    const width = this.box.clientWidth;
    return WIDTHS.find((w) => w <= width) ?? WIDTHS.at(-1);
  }

  /** Fetch it again, at once or when it comes into view; while that goes on, once more at the end. */
  async refresh() {
    this.stale = true;
    if (!this.near || this.busy) return;
    this.busy = true;
    while (this.stale && this.box.isConnected) {
      this.stale = false;
      this.width = this.wanted;
      this.source = this.box.dataset.src;
      try {
        await this.load();
      } catch (error) {
        this.say(`This chart cannot be shown: ${error.message}`, Boolean(this.view));
      }
    }
    this.busy = false;
  }

  async load() {
    const address = new URL(this.source, location);
    address.searchParams.set("width", this.width);
    const unreached = () => { throw new Error(UNREACHED); };
    const answer = await fetch(address, { headers: { Accept: "application/json" } }).catch(unreached);
    if (answer.status === 204) {
      this.text = null;
      return this.say("no data yet");
    }
    if (!answer.ok) throw new Error(await sentence(answer));
    const text = await answer.text();
    if (text !== this.text) await this.draw(JSON.parse(text));
    this.text = text;
    this.say("", true);
  }

  /** Drawn beside the page first, so that nothing flickers. */
  async draw(specification) {
    const { parse, View, expressionInterpreter } = await vegaRuntime();
    const view = new View(parse(specification, null, { ast: true }), {
      renderer: "svg", expr: expressionInterpreter, loader: NOTHING_LOADED, tooltip: () => {},
    });
    const place = document.createElement("div");
    await view.initialize(place).runAsync();
    const svg = one("svg", place);
    svg.setAttribute("aria-hidden", "true"); // the name is on the element around it
    Object.assign(svg.style, { width: "100%", height: "auto", maxWidth: `${LARGEST * svg.getAttribute("width")}px` });
    this.view?.finalize();
    this.view = view;
    this.drawing.replaceChildren(svg);
    this.findSpots(svg);
  }

  /** Words in place of the drawing, or under it. */
  say(text, keepDrawing = false) {
    if (!keepDrawing) {
      this.view?.finalize();
      this.view = null;
      this.drawing.replaceChildren();
      this.findSpots(this.drawing);
    }
    this.note.textContent = text;
    this.note.hidden = !text;
    this.drawing.hidden = !this.view;
  }

  /** Marks whose datum has a `tip` text, and perhaps an `href`, from left to right. */
  findSpots(svg) {
    const marks = all("path, rect, line, text", svg).filter((mark) => mark.__data__?.datum?.tip);
    const left = (mark) => mark.__data__.bounds?.x1 ?? 0;
    this.spots = marks.sort((a, b) => left(a) - left(b));
    this.at = null;
    const more = marks.length ? `. ${marks.length} marks with details: arrow keys` : "";
    this.drawing.setAttribute("aria-label", this.title + more);
    if (marks.length) this.drawing.tabIndex = 0;
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

  hover(event) {
    const spot = this.spotAt(event);
    this.drawing.classList.toggle("link", Boolean(goal(spot)));
    this.point(spot);
  }

  /** Mark a spot and show its tip, or none. */
  point(spot) {
    for (const other of all(".at", this.drawing)) if (other !== spot) other.classList.remove("at");
    spot?.classList.add("at");
    if (spot) showTip(spot.__data__.datum.tip, ...centre(spot));
    else hideTip();
  }

  /** Show the tip of the mark so many further on; from nowhere it begins at the last one, which is the newest. */
  step(by) {
    if (!this.spots.length) return;
    const last = this.spots.length - 1;
    const index = this.at === null ? last : this.spots.indexOf(this.at) + by;
    this.at = this.spots[Math.max(0, Math.min(last, index))];
    this.point(this.at);
  }

  follow(spot) {
    if (goal(spot)) location.assign(goal(spot));
  }

  walk(event) {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    if (event.key in steps) this.step(steps[event.key]);
    else if (event.key === "Enter") this.follow(this.at);
    else return;
    event.preventDefault();
  }
}

function centre(mark) {
  const box = mark.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}

/** Where a mark leads: a page of ours or nowhere. */
function goal(mark) {
  const to = mark?.__data__.datum.href;
  return ownPath(to) ? to : "";
}

const watchDistance = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const chart = charts.get(target);
    if (!chart) continue;
    const first = isIntersecting && chart.text === undefined;
    chart.near = isIntersecting;
    if (isIntersecting && (first || chart.stale)) chart.refresh();
  }
}, { rootMargin: "200px" });

const watchSize = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const chart = charts.get(target);
    if (chart?.text && chart.wanted !== chart.width) chart.refresh();
  }
});

/** Take charge of charts that came, and let go of those that went. */
function adoptCharts() {
  for (const box of all(".chart[data-src]")) {
    const known = charts.get(box);
    if (!known) charts.set(box, new Chart(box));
    else if (known.source && known.source !== box.dataset.src) known.refresh();
  }
  for (const [box, chart] of charts) {
    if (box.isConnected) continue;
    for (const watch of [watchDistance, watchSize]) watch.unobserve(box);
    chart.view?.finalize();
    charts.delete(box);
  }
}

// The tip: a mark's words beside it. Anything with `data-tip` has one too.

const tip = make("div", { class: "tip", role: "status" });
tip.hidden = true;

function showTip(text, x, y) {
  if (tip.textContent !== text) tip.textContent = text;
  Object.assign(tip.style, { position: "fixed", left: "0px", top: "0px", whiteSpace: "pre-line" });
  if (!tip.isConnected) document.body.append(tip);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 10, innerWidth - width - 4))}px`;
  tip.style.top = `${y - height - 10 < 4 ? y + 12 : y - height - 10}px`;
}

function hideTip() { tip.hidden = true; }

const showOwnTip = (element) => showTip(element.dataset.tip, ...centre(element));
on("pointerover", "[data-tip]", showOwnTip);
on("focusin", "[data-tip]", showOwnTip);
on("pointerout", "[data-tip]", hideTip);
on("focusout", "[data-tip]", hideTip);
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
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => event.persisted && this.open());
    this.open();
  }

  open() {
    this.close();
    const source = (this.source = new EventSource(this.address));
    source.onopen = () => this.opened();
    source.onerror = () => this.failed();
    const hear = (type, act) => source.addEventListener(type, (event) => act(JSON.parse(event.data)));
    hear("part", ({ id, html }) => showPart(id, html));
    hear("state", ({ text }) => { this.state = text || "live"; this.say(this.state, "on"); });
    hear("chart", ({ name, version }) => renewCharts(name, version));
  }

  close() {
    clearTimeout(this.timer);
    clearInterval(this.ticking);
    this.source?.close();
    this.source = null;
  }

  sleepOrWake() {
    clearTimeout(this.sleeping);
    if (document.hidden) this.sleeping = setTimeout(() => this.close(), HIDDEN_MS);
    else if (!this.source || this.source.readyState === EventSource.CLOSED) this.open();
  }

  opened() {
    clearInterval(this.ticking);
    if (this.was) for (const chart of charts.values()) chart.refresh(); // what came while we were away
    this.was = true;
    this.since = null;
    this.pause = PAUSE_MS[0];
    this.say(this.state, "on");
  }

  /** The browser tries again by itself, unless the server answered with something else than a stream. */
  failed() {
    this.lost();
    if (this.source?.readyState === EventSource.CLOSED) this.ask();
  }

  lost() {
    this.since ??= Date.now();
    clearInterval(this.ticking);
    const show = () =>
      this.say("connection lost, trying again", "lost", `since ${Math.round((Date.now() - this.since) / 1000)} s`);
    this.ticking = setInterval(show, 1000);
    show();
  }

  /** Why there is no stream: whoever must log in again is told so; anything else is tried again, less and less often. */
  async ask() {
    const stop = new AbortController();
    try {
      const answer = await fetch(this.address, { headers: { Accept: "application/json" }, signal: stop.signal });
      if ([401, 403, 404].includes(answer.status)) return this.end(answer.status, await sentence(answer));
    } catch {
      // unreachable: tried again below
    } finally {
      stop.abort();
    }
    this.timer = setTimeout(() => this.open(), this.pause);
    this.pause = Math.min(2 * this.pause, PAUSE_MS[1]);
  }

  end(status, why) {
    this.close();
    this.say(status === 401 ? `Logged out; get a new link: ${why}` : `No more updates: ${why}`, "ended");
  }

  /** `more` changes each second and is not read out. */
  say(text, kind, more = "") {
    const line = named("live");
    if (!line) return;
    line.dataset.state = kind;
    if (!one(".text", line)) line.replaceChildren(make("span", { class: "text" }), make("span", { "aria-hidden": "true" }));
    const [main, rest] = line.children;
    if (main.textContent !== text) main.textContent = text;
    rest.textContent = more ? ` ${more}` : "";
  }
}

function renewCharts(name, version) {
  for (const chart of charts.values()) {
    if (chart.name !== name || (version !== undefined && chart.version === String(version))) continue;
    chart.version = version === undefined ? undefined : String(version);
    chart.refresh();
  }
}

// Forms with [data-answer] are sent by the script and answered in place; those with data-confirm ask first.

const busy = new WeakSet();
const agreed = new WeakSet();

/** A dialog under a heading; resolves to the `value` of the button that closed it, or "". The first has the focus. */
function openDialog(heading, content, ...buttons) {
  const title = make("h2", { id: "dialog-title" }, heading);
  const dialog = make("dialog", { "aria-labelledby": title.id }, title, ...content, make("p", { class: "controls" }));
  dialog.lastChild.append(...buttons);
  for (const button of buttons) button.onclick = () => dialog.close(button.value);
  document.body.append(dialog);
  dialog.showModal();
  buttons[0].focus();
  return new Promise((resolve) => {
    dialog.onclose = () => { dialog.remove(); resolve(dialog.returnValue); };
  });
}

/** True if the answer is yes. */
async function ask(question, yes) {
  const no = make("button", { type: "button", value: "" }, "Cancel");
  const go = make("button", { type: "button", value: "yes", class: "first" }, yes);
  return (await openDialog(question, [], no, go)) === "yes";
}

document.addEventListener("submit", async (event) => {
  const form = event.target, button = event.submitter;
  if (busy.has(form)) return event.preventDefault();
  if (form.dataset.confirm && !agreed.has(form)) {
    event.preventDefault();
    if (!(await ask(form.dataset.confirm, button?.textContent.trim() || "Yes"))) return;
    agreed.add(form);
    form.requestSubmit(button);
    return;
  }
  agreed.delete(form);
  if (form.method !== "post") return;
  const answer = one("[data-answer]", form);
  const fields = new FormData(form, button); // before buttons are disabled: those send nothing
  setBusy(form, true, Boolean(answer));
  if (!answer) return;
  event.preventDefault();
  const { text, error, go } = await send(form, button, fields);
  answer.replaceChildren(error ?? text);
  answer.classList.toggle("bad", Boolean(error));
  setBusy(form, false);
  if (error) return;
  form.reset();
  if (!ownPath(go)) return;
  if (!document.body.dataset.live) location.assign(go); // this page does not renew itself
  else if (new URL(go, location).pathname !== location.pathname) answer.append(" ", make("a", { href: go }, "see it"));
});

/** now: or once the browser has read the form for sending. */
function setBusy(form, yes, now = true) {
  if (yes) busy.add(form);
  else busy.delete(form);
  const set = () => { for (const b of form.elements) if (b.matches("button, [type=submit]")) b.disabled = yes; };
  form.setAttribute("aria-busy", String(yes));
  if (now) set();
  else setTimeout(set);
}

addEventListener("pageshow", (event) => {
  if (event.persisted) for (const form of document.forms) if (busy.has(form)) setBusy(form, false);
});

/** The server answers {"text", "go"} or {"error"}. */
async function send(form, button, fields) {
  const to = button?.getAttribute("formaction") ?? form.getAttribute("action") ?? location.href;
  const body = new URLSearchParams(fields);
  try {
    const answer = await fetch(to, { method: "POST", body, headers: { Accept: "application/json" } });
    if (!answer.ok) return { error: await sentence(answer) };
    return { text: "done", ...(await answer.json().catch(() => ({}))) };
  } catch {
    return { error: UNREACHED };
  }
}

// Copying, theme

// `data-copy` holds the text, or `data-copy-from` the id of the element that does
on("click", "[data-copy], [data-copy-from]", async (button) => {
  const before = button.textContent;
  if (button.ariaBusy) return;
  button.ariaBusy = "true";
  const text = named(button.dataset.copyFrom)?.textContent ?? button.dataset.copy;
  const copied = navigator.clipboard ? navigator.clipboard.writeText(text) : Promise.reject();
  button.textContent = await copied.then(() => "copied", () => "the browser forbids copying");
  setTimeout(() => { button.textContent = before; button.ariaBusy = null; }, 1500);
});

const THEMES = { auto: "automatic", light: "light", dark: "dark" };

function setTheme(theme) {
  const root = document.documentElement;
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  else delete root.dataset.theme;
  for (const button of all("[data-theme-toggle]")) {
    button.setAttribute("aria-label", `Colours: ${THEMES[root.dataset.theme ?? "auto"]}`);
    button.title = button.getAttribute("aria-label");
  }
}

on("click", "[data-theme-toggle]", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % names.length];
  memory.set("aarlab-theme", next);
  setTheme(next);
});

addEventListener("storage", (event) => event.key === "aarlab-theme" && setTheme(event.newValue));

// Keyboard

let afterG = 0; // until when a letter goes to a page

function focusSearch() {
  const box = all("[data-search], [data-filter], input[type=search]").find((b) => b.offsetParent !== null);
  box?.focus();
  return Boolean(box);
}

function showHelp() {
  if (one("dialog[open]")) return;
  const pages = all("a[data-key]").filter((a) => a.dataset.key);
  const keys = [...pages.map((a) => [`g ${a.dataset.key}`, a.textContent.trim()]),
    ["/", "search or filter"], ["?", "this list"], ["Esc", "close"]];
  const row = ([key, what]) => make("tr", {}, make("td", {}, make("kbd", {}, key)), make("td", {}, what));
  const box = make("input", { type: "checkbox" });
  box.checked = memory.get("aarlab-keys") !== "off";
  box.onchange = () => memory.set("aarlab-keys", box.checked ? "on" : "off");
  const content = [make("table", {}, make("tbody", {}, ...keys.map(row))),
    make("p", {}, make("label", {}, box, " listen to these keys"))];
  openDialog("Keyboard shortcuts", content, make("button", { type: "button" }, "Close"));
}

on("click", "[data-help]", showHelp);
on("click", "table[data-sort] th[data-key] button", chooseOrder);
on("input", "[data-filter]", (box) => {
  const target = named(box.dataset.filter);
  if (target) filterRows(target);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hideTip();
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (isTyped(event.target) || one("dialog[open]") || memory.get("aarlab-keys") === "off") return;
  const link = Date.now() < afterG && all("a[data-key]").find((a) => a.dataset.key === event.key);
  afterG = event.key === "g" && !link ? Date.now() + 1500 : 0;
  if (link) link.click();
  else if (event.key === "?") showHelp();
  else if (event.key !== "/" || !focusSearch()) return;
  event.preventDefault();
});

// The page as it came

dress(document);
adoptCharts();
setTheme(memory.get("aarlab-theme"));
setInterval(renewTimes, 10_000);
if (document.body.dataset.live) new Live(document.body.dataset.live);
