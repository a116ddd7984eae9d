"use strict";
(() => {
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = id => document.getElementById(id);
const root = document.documentElement, printing = matchMedia("print"), still = matchMedia("(prefers-reduced-motion: reduce)");
const NARROW = 440, ROW_HEIGHT = 26, AT_ONCE = 8, NEAR = "700px", PAPER_WIDTH = 660;

// Theme: the reader's system decides until the button does.
const INK = { light: { ink: "#1c1e21", soft: "#565b63", line: "#dfe2e6" }, dark: { ink: "#e9ebee", soft: "#aab0ba", line: "#33383f" } };
const theme = one("theme"), darkSystem = matchMedia("(prefers-color-scheme: dark)");
let wanted = stored();
function stored() { try { return localStorage.getItem("augment-theme"); } catch { return null; } }
const shade = () => wanted || (darkSystem.matches ? "dark" : "light");
function paint() {
  root.dataset.theme = shade();
  theme.textContent = shade() === "dark" ? "Light theme" : "Dark theme";
  for (const figure of figures) if (figure.drawn) redraw(figure);
}
theme.hidden = false;
theme.addEventListener("click", () => {
  wanted = shade() === "dark" ? "light" : "dark";
  try { localStorage.setItem("augment-theme", wanted); } catch { /* a page from a file may have no storage */ }
  paint();
});
darkSystem.addEventListener("change", paint);

// Charts: drawn when they come near, or all of them for paper.
const figures = all("figure[data-name]").map(element => ({
  element, plot: element.querySelector(".plot"), deep: "deep" in element.dataset, drawn: false, spec: null,
  keys: JSON.parse(element.dataset.keys || "[]"), turning: !still.matches, angle: 0.8, distance: 1.9, height: 0.7,
}));
const byPlot = new Map(figures.map(figure => [figure.plot, figure]));
const AXES = /^([xyz]axis\d*|scene\d*|coloraxis\d*|polar\d*)$/;

function colours(layout) {
  const { ink, soft, line } = INK[printing.matches || onPaper ? "light" : shade()];
  const axis = old => ({ ...old, gridcolor: line, zerolinecolor: soft, linecolor: soft, tickcolor: soft, color: ink });
  const made = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { ...layout.font, color: ink } };
  for (const [name, value] of Object.entries(layout)) {
    if (!AXES.test(name)) continue;
    if (!name.startsWith("scene")) { made[name] = axis(value); continue; }
    made[name] = { ...value };
    for (const each of ["xaxis", "yaxis", "zaxis"])
      made[name][each] = { ...axis(value[each]), showbackground: false };
  }
  for (const list of ["shapes", "annotations"]) {
    if (!layout[list]) continue;
    made[list] = layout[list].map(each => list === "shapes"
      ? { ...each, line: { color: soft, ...each.line } } : { arrowcolor: soft, ...each });
  }
  return made;
}

function layoutOf(figure) {
  const { layout } = figure.spec;
  const made = withoutEmptyRows(figure, { ...layout, ...colours(layout), autosize: true });
  delete made.title;
  delete made.width;
  if (onPaper) { made.width = PAPER_WIDTH; made.autosize = false; }
  if (figure.plot.clientWidth < NARROW && !onPaper) for (const [name, longest] of [["xaxis", 30], ["yaxis", 14]]) {
    const axis = made[name];
    if (!axis) continue;
    if (name === "xaxis" && axis.title?.text) axis.title = { ...axis.title, text: wrapped(axis.title.text, longest) };
    if (name === "yaxis" && axis.ticktext) axis.ticktext = axis.ticktext.map(text => wrapped(text, longest));
  }
  made.font = { size: 12, family: "system-ui, sans-serif", ...made.font };
  if (figure.deep) made.scene = { ...made.scene, camera: { ...(made.scene || {}).camera, eye: eye(figure) } };
  return made;
}

function wrapped(text, longest) {  // between words; entities stay whole, as none has a space or a hyphen
  const lines = [""];
  for (const word of text.split(/(?<=[\s+:…-])/)) {
    if (lines.at(-1) && (lines.at(-1) + word).trim().length > longest) lines.push("");
    lines[lines.length - 1] += word;
  }
  return lines.join("<br>");
}

const DIM = 0.2;  // relative luminance below which a colour is hard to see on the dark page
function lit(colour) {  // mixed with white until it can be seen there; its hue stays
  if (typeof colour !== "string" || !/^#[0-9a-f]{6}$/i.test(colour)) return colour;
  let parts = [1, 3, 5].map(place => parseInt(colour.slice(place, place + 2), 16) / 255);
  const linear = part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const luminance = () => 0.2126 * linear(parts[0]) + 0.7152 * linear(parts[1]) + 0.0722 * linear(parts[2]);
  while (luminance() < DIM) parts = parts.map(part => part + 0.08 * (1 - part));
  return `#${parts.map(part => Math.round(part * 255).toString(16).padStart(2, "0")).join("")}`;
}
function litTrace(trace) {
  if (trace.type === "heatmap") return trace;
  const made = { ...trace };
  for (const part of ["line", "marker", "error_x", "error_y"])
    if (trace[part]) made[part] = { ...trace[part], color: lit(trace[part].color) };
  return made;
}

function tracesOf(figure) {
  const chosen = selection(), rows = rowsOf(figure), dark = !onPaper && !printing.matches && shade() === "dark";
  return figure.spec.data.map(trace => ({
    ...(dark ? litTrace(trace) : trace), visible: keyShown(trace.meta?.key, chosen) ? trace.visible ?? true : false,
    ...(rows ? { y: trace.y.map(row => rows.indexOf(row)) } : {}),
  }));
}

function rowsOf({ spec: { data, layout } }) {  // of a chart with named rows those that a filter leaves, where it hides some
  const { tickvals, range } = layout.yaxis ?? {}, chosen = selection();
  if (!tickvals || !range || !data.some(trace => trace.meta?.key)) return null;
  const rows = [...new Set(data.filter(trace => keyShown(trace.meta?.key, chosen)).flatMap(trace => trace.y))];
  return rows.length && rows.length < tickvals.length ? rows.sort((a, b) => a - b) : null;
}

function withoutEmptyRows(figure, made) {
  const rows = rowsOf(figure), { tickvals, ticktext } = made.yaxis ?? {};
  if (!rows) return made;
  const yaxis = { ...made.yaxis, tickvals: rows.map((_, index) => index), range: [rows.length - 0.5, -0.5] };
  yaxis.ticktext = rows.map(row => ticktext[tickvals.indexOf(row)]);
  return { ...made, yaxis, height: made.height - ROW_HEIGHT * (tickvals.length - rows.length) };
}

function draw(figure) {
  if (figure.drawn || figure.element.hidden) return;
  figure.spec ??= JSON.parse(figure.element.querySelector("script").textContent);
  if (figure.deep && !hasWebGL()) return without(figure, "This map turns in space, which needs WebGL; this browser has it switched off. The numbers are in the table.");
  figure.drawn = true;
  figure.plot.style.minHeight = 0;  // it kept the place
  const options = { responsive: true, displayModeBar: false, displaylogo: false, showTips: false, scrollZoom: figure.deep };
  return Plotly.newPlot(figure.plot, tracesOf(figure), layoutOf(figure), options)
    .then(() => preview(figure))
    .catch(error => without(figure, `This chart could not be drawn: ${error.message}.`));
}

function preview(figure) {  // the picture behind the point that a reader points at
  const shown = figure.element.querySelector(".pointed");
  if (!shown) return;
  const columns = Number(figure.element.dataset.columns), side = 84;
  figure.plot.on("plotly_hover", event => {
    const index = event.points[0].customdata;
    shown.style.backgroundPosition = `-${(index % columns) * side}px -${Math.floor(index / columns) * side}px`;
    shown.hidden = false;
  });
  figure.plot.on("plotly_unhover", () => { shown.hidden = true; });
}

function without(figure, words) {
  const missing = figure.element.querySelector(".missing");
  missing.textContent = words;
  missing.hidden = false;
  figure.plot.hidden = true;
}

function redraw(figure) {
  if (figure.drawn && !figure.element.hidden) Plotly.react(figure.plot, tracesOf(figure), layoutOf(figure));
}

function forget(figure) {  // browsers keep no more than about sixteen maps in space at a time
  figure.plot.style.minHeight = `${figure.plot.offsetHeight}px`;
  Plotly.purge(figure.plot);
  figure.drawn = false;
}

let webgl = null;
function hasWebGL() {
  if (webgl === null) {
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("webgl2") || canvas.getContext("webgl");
    webgl = Boolean(context);
    context?.getExtension("WEBGL_lose_context")?.loseContext();
  }
  return webgl;
}

const watcher = new IntersectionObserver(entries => {
  for (const { isIntersecting, target } of entries) {
    const figure = byPlot.get(target);
    if (isIntersecting) draw(figure);
    else if (figure.deep && figure.drawn && !onPaper) forget(figure);
  }
}, { rootMargin: NEAR });

// Paper: everything drawn, in light colours, at the width of a page, and opened.
let onPaper = false, opened = [];
function toPaper() {
  if (onPaper) return;
  onPaper = true;
  opened = all("details[data-print]:not([open])");
  for (const details of opened) details.open = true;
  limit();
  for (const figure of figures) figure.drawn ? redraw(figure) : draw(figure);
}
function fromPaper() {
  if (!onPaper) return;
  onPaper = false;
  for (const details of opened) details.open = false;
  limit();
  for (const figure of figures) redraw(figure);
}
addEventListener("beforeprint", toPaper);
addEventListener("afterprint", fromPaper);
printing.addEventListener("change", () => printing.matches ? toPaper() : fromPaper());

// Filters: within a group any of the chosen, between groups all; nothing chosen shows everything.
const boxes = all("#filters input"), groups = all("#filters fieldset");
const filtered = all("[data-facets]").map(element => ({
  element, facets: JSON.parse(element.dataset.facets), figure: figures.find(figure => figure.element === element),
}));
const values = Object.fromEntries(groups.map(group => [group.dataset.key, new Set(all("input", group).map(box => box.value))]));
function selection() {
  const chosen = {};
  for (const box of boxes) if (box.checked) (chosen[box.closest("fieldset").dataset.key] ??= new Set()).add(box.value);
  return chosen;
}
function keyShown(key, chosen) {
  if (key === undefined || key === null) return true;
  const facet = ["model", ...Object.keys(values)].find(name => values[name]?.has(String(key)));
  return !facet || !chosen[facet] || chosen[facet].has(String(key));
}
function matches({ facets, figure }, chosen) {
  for (const [key, set] of Object.entries(chosen)) if (key in facets && !set.has(facets[key])) return false;
  return !figure?.keys.length || figure.keys.some(key => keyShown(key, chosen));
}
function apply(announce = true) {
  const chosen = selection();
  for (const each of filtered) each.element.hidden = !matches(each, chosen);
  for (const section of all("main > section")) {
    const parts = all("[data-facets]", section);
    section.querySelector(".empty").hidden = !parts.length || parts.some(part => !part.hidden);
  }
  for (const figure of figures) redraw(figure);
  limit();
  one("nothing").hidden = !filtered.length || filtered.some(({ element }) => !element.hidden && element.dataset.kind !== "origin");
  if (announce) count();
}
function count() {
  const told = kind => {
    const parts = all(`[data-kind="${kind}"]`);
    return `${parts.filter(part => !part.hidden).length} of ${parts.length}`;
  };
  one("count").textContent = `Showing ${told("verdict")} verdicts and ${told("figure")} figures.`;
}

// A long section shows its first figures, and the others on request.
const whole = new Set();
function limit() {
  for (const section of all("main > section")) {
    const shown = all('[data-kind="figure"]', section).filter(part => !part.hidden), more = section.querySelector(".more");
    const cut = !onPaper && !whole.has(section) && shown.length > AT_ONCE + 1;
    shown.forEach((part, index) => { part.style.display = cut && index >= AT_ONCE ? "none" : ""; });
    more.hidden = !cut;
    more.textContent = `Show the other ${shown.length - AT_ONCE} figures`;
  }
}
for (const more of all(".more")) more.addEventListener("click", () => {
  const section = more.closest("section");
  const next = all('[data-kind="figure"]', section).filter(part => !part.hidden)[AT_ONCE];
  whole.add(section);
  limit();
  next.tabIndex = -1;
  next.focus();
});

// The address holds the choice, so that a link shows the same: #model=a,b&regime=high&at=section
function toAddress(at) {
  const parts = Object.entries(selection()).map(([key, set]) => `${key}=${[...set].map(encodeURIComponent).join(",")}`);
  if (at) parts.push(`at=${at}`);
  history.replaceState(null, "", parts.length ? `#${parts.join("&")}` : location.pathname + location.search);
}
function fromAddress() {
  const text = location.hash.slice(1), chosen = {};
  if (!text.includes("=")) { if (text) go(text, false); else { boxes.forEach(box => { box.checked = false; }); apply(); } return; }
  for (const part of text.split("&")) {
    const [key, list = ""] = part.split("=");
    chosen[key] = new Set(list.split(",").map(word => { try { return decodeURIComponent(word); } catch { return word; } }));
  }
  for (const box of boxes) box.checked = Boolean(chosen[box.closest("fieldset").dataset.key]?.has(box.value));
  apply();
  if (chosen.at) go([...chosen.at][0], false);
}
function go(id, write = true) {
  const section = one(id);
  if (!section) return;
  section.scrollIntoView();
  (section.querySelector("h2") || section).focus({ preventScroll: true });
  if (write) toAddress(id);
}
for (const link of all("nav a, .skip")) link.addEventListener("click", event => {
  event.preventDefault();
  if (link.closest("#contents") && narrow.matches) one("contents").open = false;
  go(link.hash.slice(1));
});
for (const box of boxes) box.addEventListener("change", () => { apply(); toAddress(); });
for (const button of all("#clear, .clear")) button.addEventListener("click", () => {
  boxes.forEach(box => { box.checked = false; });
  apply();
  toAddress();
});
addEventListener("hashchange", fromAddress);

// Contents: the section being read is marked; on a phone both lists begin closed.
const narrow = matchMedia("(max-width: 900px)");
if (narrow.matches) for (const panel of all(".panel")) panel.open = false;
const links = new Map(all("nav a").map(link => [link.hash.slice(1), link]));
const reading = new IntersectionObserver(entries => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    links.forEach((link, id) => { id === target.id ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current"); });
  }
}, { rootMargin: "-5% 0px -85% 0px" });
for (const section of all("main > section")) reading.observe(section);

// Tables: a click on a heading sorts, another one turns the order round.
for (const table of all("table.sortable")) all("thead th", table).forEach((head, column) => {
  const button = document.createElement("button"), arrow = document.createElement("span");
  button.type = "button";
  arrow.setAttribute("aria-hidden", "true");
  button.append(head.textContent, arrow);
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending", body = table.tBodies[0];
    for (const other of all("th[aria-sort]", table)) { other.removeAttribute("aria-sort"); other.querySelector("span").textContent = ""; }
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    arrow.textContent = up ? "↑" : "↓";
    const worth = row => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
    const rows = [...body.rows].sort((a, b) => compare(worth(a), worth(b), up));
    body.append(...rows);
  });
});
function compare(a, b, up) {
  if (!a || !b) return !a - !b;  // what has no value comes last
  const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
  return up ? order : -order;
}

// Maps in space turn until touched.
const RADIANS_PER_SECOND = 0.25;
let last = null;
function eye({ angle, distance, height }) { return { x: distance * Math.cos(angle), y: distance * Math.sin(angle), z: height }; }
function turn(figure, on) {
  const scene = figure.plot._fullLayout?.scene?._scene;
  if (on && scene) {  // go on from where the reader left the camera
    const at = scene.getCamera().eye;
    Object.assign(figure, { angle: Math.atan2(at.y, at.x), distance: Math.hypot(at.x, at.y), height: at.z });
  }
  figure.turning = on;
  figure.element.querySelector(".turn").textContent = on ? "Stop turning" : "Start turning";
}
function frame(now) {
  requestAnimationFrame(frame);
  if (last !== null && now - last < 30) return;
  const step = last === null ? 0 : RADIANS_PER_SECOND * Math.min(0.1, (now - last) / 1000);
  last = now;
  for (const figure of deep) {
    if (!figure.drawn || !figure.turning || figure.busy || onPaper || !seen(figure.plot)) continue;
    figure.angle += step;
    figure.busy = true;
    Plotly.relayout(figure.plot, { "scene.camera.eye": eye(figure) }).finally(() => { figure.busy = false; });
  }
}
function seen(element) {
  const box = element.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight && box.height > 0;
}
const deep = figures.filter(figure => figure.deep);
for (const figure of deep) {
  const button = figure.element.querySelector(".turn");
  button.hidden = !hasWebGL();
  button.textContent = figure.turning ? "Stop turning" : "Start turning";
  button.addEventListener("click", () => turn(figure, !figure.turning));
  for (const touch of ["pointerdown", "wheel"])
    figure.plot.addEventListener(touch, () => { if (figure.turning) turn(figure, false); }, { capture: true, passive: true });
}
if (deep.length) requestAnimationFrame(frame);

paint();
apply(false);
fromAddress();
count();
for (const figure of figures) watcher.observe(figure.plot);
if (printing.matches) toPaper();
})();
