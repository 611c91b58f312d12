// The interactive parts of a report's page: theme, charts, table of runs. Text in a report is untrusted: it is only ever
// set as textContent.
"use strict";

const { figures, runs, configs } = JSON.parse(document.getElementById("data").textContent);

// ---- Theme -----------------------------------------------------------------------------------------------------

const root = document.documentElement;
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);

function applyTheme() {
  document.getElementById("theme").textContent = isDark() ? "Light" : "Dark";
  document.querySelectorAll(".plot.drawn").forEach(draw);
}
document.getElementById("theme").addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  applyTheme();
});
systemDark.addEventListener("change", applyTheme);

// ---- Charts ----------------------------------------------------------------------------------------------------

/** Loads Vega, which the page holds compressed. */
const vegaLoaded = (async () => {
  const packed = Uint8Array.from(atob(document.getElementById("vega").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  (0, eval)(await new Response(stream).text());
})();

/** Draws a chart in the colors of the current theme; after a change of the theme, in the state it was in. */
async function embed(plot) {
  await vegaLoaded;
  const figure = figures[plot.dataset.figure];
  const theme = isDark() ? "dark" : "light";
  const config = structuredClone(configs[theme]);
  const style = getComputedStyle(document.body);
  config.background = style.backgroundColor;
  config.font = config.text.font = style.fontFamily;
  const signals = plot.view?.getState({ signals: (name) => ["brushes", "row", "column"].includes(name), data: () => false });
  plot.view?.finalize();
  const { view } = await vegaEmbed(plot, structuredClone(figure.spec), {
    config,
    renderer: "svg",
    tooltip: { theme },
    // The editor would send the report's data to a server.
    actions: { export: true, source: false, compiled: false, editor: false },
  });
  plot.view = view;
  // At another width, the legend may need another number of rows, for which the chart has to become higher.
  const fit = () => view.resize().runAsync();
  view.addSignalListener("width", () => setTimeout(fit));
  await fit();
  if (figure.kind === "ConfusionMatrix") initPanel(plot, figure);
  if (figure.kind === "ParallelCoordinates") {
    view.addSignalListener("brushes", (_, brushes) => applyBrushes(plot, figure, brushes));
  }
  if (signals) await view.setState(signals).runAsync();
}

/** Draws a chart once those before it are finished, so that quick changes of the theme do not overlap. */
function draw(plot) {
  plot.classList.add("drawn");
  plot.drawing = (plot.drawing || Promise.resolve()).then(() => embed(plot));
}

// Charts are drawn when they come near the viewport, so that a page with many opens quickly.
const drawObserver = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting && !entry.target.classList.contains("drawn")) draw(entry.target);
  }
}, { rootMargin: "800px" });
document.querySelectorAll(".plot").forEach((plot) => drawObserver.observe(plot));
addEventListener("beforeprint", () => document.querySelectorAll(".plot:not(.drawn)").forEach(draw));

// ---- Confusion matrix: examples of a cell ------------------------------------------------------------------------

function initPanel(plot, { spec, classes, examples }) {
  const [description, images] = plot.closest(".ConfusionMatrix").querySelector(".panel").children;
  const { view } = plot;
  const getCell = () => [view.signal("row"), view.signal("column")];
  const show = () => {
    const [row, column] = getCell();
    const { n, share } = spec.data.values.find(({ i, j }) => i === row && j === column) || { n: 0, share: 0 };
    const text = `true ${classes[row]}, predicted as ${classes[column]}: ${n} (${(100 * share).toFixed(1)} %)`;
    description.textContent = text;
    const found = examples[`${row},${column}`] || [];
    images.replaceChildren(...found.map((source) => {
      const image = new Image();
      image.src = "data:image/png;base64," + source;
      image.alt = text;
      return image;
    }));
    if (!found.length) images.textContent = "No examples of this cell.";
  };
  const select = ([row, column]) => view.signal("row", row).signal("column", column).runAsync().then(show);
  view.addEventListener("click", (_, item) => item?.datum?.i !== undefined && select([item.datum.i, item.datum.j]));
  plot.tabIndex = 0;
  plot.setAttribute("role", "application");
  plot.setAttribute("aria-label", "Confusion matrix. The arrow keys select a cell.");
  plot.onkeydown = (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    select(getCell().map((at, axis) => Math.min(Math.max(at + step[axis], 0), classes.length - 1)));
  };
  view.runAfter(show);
}

// ---- Table of runs ---------------------------------------------------------------------------------------------

const FIRST_ROWS = 200;
const table = { filter: "", column: -1, down: false, all: false, brushes: new Map() };
const collator = new Intl.Collator(undefined, { numeric: true });

/** A function that formats the numbers of a column: with equal decimals if they are of similar magnitude. */
function makeFormatter(column) {
  const numbers = runs.rows.map((row) => row[column]).filter((cell) => typeof cell === "number" && cell !== 0);
  const shortest = (number) => String(Number(number.toPrecision(4)));
  if (numbers.every(Number.isInteger)) return String;
  const magnitudes = numbers.map(Math.abs);
  const [least, most] = [magnitudes.reduce((a, b) => Math.min(a, b)), magnitudes.reduce((a, b) => Math.max(a, b))];
  const maxDecimals = Math.min(Math.max(3 - Math.floor(Math.log10(most)), 0), 4);
  // The smallest keeps two significant digits.
  if (least < 10 ** (1 - maxDecimals) || most >= 1e6) return shortest;
  const countDecimals = (number) => (String(Number(number.toFixed(maxDecimals))).split(".")[1] || "").length;
  const used = numbers.reduce((most, number) => Math.max(most, countDecimals(number)), 0);
  return (number) => number.toFixed(used);
}

/** Negative if `a` sorts before `b`; numbers sort before text. */
function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === "number") return -1;
  if (typeof b === "number") return 1;
  return collator.compare(a, b);
}

const COMPARISONS = {
  "=": (order) => order === 0, "!=": (order) => order !== 0,
  "<": (order) => order < 0, "<=": (order) => order <= 0, ">": (order) => order > 0, ">=": (order) => order >= 0,
};
const unquoted = (text) => text.replace(/^"(.*)"$/, "$1");

/** Parses a filter into predicates of a row. Throws an Error that explains what is wrong with it. */
function parseFilter(text) {
  const parts = text.replace(/\s*(<=|>=|!=|=|<|>)\s*/g, "$1").match(/(?:"[^"]*"|[^\s"]|")+/g) || [];
  return parts.map((part) => {
    const [, name, sign, value] = /^("[^"]*"|[^"<>!=]*)(<=|>=|!=|=|<|>)(.*)$/.exec(part) || [];
    if (sign === undefined) {
      const word = unquoted(part).toLowerCase();
      return (row) => row.some((cell) => cell !== null && String(cell).toLowerCase().includes(word));
    }
    return makeComparison(unquoted(name), sign, unquoted(value));
  });
}

function makeComparison(name, sign, value) {
  const column = runs.columns.findIndex((column) => column.toLowerCase() === name.toLowerCase());
  if (column < 0) throw new Error(`No column is named “${name}”. The columns are: ${runs.columns.join(", ")}.`);
  if (value === "") throw new Error(`“${name}${sign}” needs a value after it.`);
  const number = Number(value);
  const numeric = runs.rows.some((row) => typeof row[column] === "number");
  if (Number.isNaN(number) && sign !== "=" && sign !== "!=" && numeric) {
    throw new Error(`“${name}” holds numbers, and “${value}” is not a number.`);
  }
  const wanted = value.toLowerCase();
  return (row) => {
    const cell = row[column];
    if (cell === null) return COMPARISONS[sign] === COMPARISONS[wanted === "none" ? "=" : "!="];
    if (typeof cell === "number" && !Number.isNaN(number)) return COMPARISONS[sign](cell - number);
    return COMPARISONS[sign](collator.compare(String(cell).toLowerCase(), wanted));
  };
}

/** The rows to show, filtered and sorted. An invalid filter shows all rows and a message. */
function selectRows() {
  let tests = [];
  let problem = "";
  try {
    tests = parseFilter(table.filter);
  } catch (error) {
    problem = error.message;
  }
  const message = document.getElementById("filter-error");
  message.textContent = problem;
  message.hidden = !problem;
  for (const { column, names } of table.brushes.values()) tests.push((row) => names.has(row[column]));
  const rows = runs.rows.filter((row) => tests.every((test) => test(row)));
  if (table.column < 0) return rows;
  const sign = table.down ? -1 : 1;
  return rows.sort((rowA, rowB) => {
    const [a, b] = [rowA[table.column], rowB[table.column]];
    // Missing values come last in either direction.
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * compare(a, b);
  });
}

/** Creates an element with text. */
function createElement(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

function showRows() {
  const rows = selectRows();
  const shown = table.all ? rows : rows.slice(0, FIRST_ROWS);
  document.querySelector("#table tbody").replaceChildren(...shown.map((row) => {
    const line = document.createElement("tr");
    line.append(...row.map((cell, column) => {
      if (cell === null) return createElement("td", "–", table.numeric[column] ? "none number" : "none");
      if (typeof cell === "number") return createElement("td", table.formatters[column](cell), "number");
      const element = createElement("td", cell);
      element.title = cell;
      return element;
    }));
    return line;
  }));
  document.getElementById("shown").textContent = `${rows.length} of ${runs.rows.length} runs`;
  const more = document.getElementById("more");
  more.hidden = shown.length === rows.length;
  more.textContent = `Show all ${rows.length}`;
  document.querySelectorAll("#table th").forEach((head, column) => {
    head.setAttribute("aria-sort", column !== table.column ? "none" : table.down ? "descending" : "ascending");
  });
  const clearBrush = document.getElementById("clear-brush");
  clearBrush.hidden = !table.brushes.size;
  clearBrush.textContent = "Also limited by the lines selected in a chart ✕";
}

function initTable() {
  table.numeric = runs.columns.map((_, column) => runs.rows.some((row) => typeof row[column] === "number"));
  table.formatters = runs.columns.map((_, column) => (table.numeric[column] ? makeFormatter(column) : String));
  const heads = document.createElement("tr");
  runs.columns.forEach((name, column) => {
    const head = createElement("th", "", table.numeric[column] ? "number" : "");
    head.scope = "col";
    const button = createElement("button", name);
    button.type = "button";
    button.addEventListener("click", () => {
      table.down = table.column === column && !table.down;
      table.column = column;
      showRows();
    });
    head.append(button);
    heads.append(head);
  });
  const made = document.createElement("table");
  made.append(document.createElement("thead"), document.createElement("tbody"));
  made.tHead.append(heads);
  document.getElementById("table").append(made);
  document.getElementById("filter").addEventListener("input", (event) => {
    table.filter = event.target.value;
    showRows();
  });
  document.getElementById("more").addEventListener("click", () => {
    table.all = true;
    showRows();
  });
  document.getElementById("clear-brush").addEventListener("click", () => {
    const plots = [...table.brushes.keys()];
    table.brushes.clear();
    for (const { view } of plots) view.signal("brushes", view.signal("brushes").map(() => null)).runAsync();
    showRows();
  });
  showRows();
}

/** Limits the table to the runs whose lines pass through all ranges selected on the axes of a chart. */
function applyBrushes(plot, { spec, names }, brushes) {
  const column = runs.columns.findIndex((_, at) => runs.rows.some((row) => row[at] !== null && row[at] === names[0]));
  if (column < 0) return;
  const isInside = ({ h }) => brushes.every((range, axis) =>
    !range || (h[axis] !== null && range[0] <= h[axis] && h[axis] <= range[1]));
  const inside = spec.data[0].values.filter(isInside);
  if (brushes.some(Boolean)) table.brushes.set(plot, { column, names: new Set(inside.map(({ run }) => names[run])) });
  else table.brushes.delete(plot);
  showRows();
}

// ---- Table of contents: highlights the current section --------------------------------------------------------------

const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.getAttribute("href").slice(1), link]));
const sectionObserver = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(target.id).setAttribute("aria-current", "true");
  }
}, { rootMargin: "-20% 0px -75% 0px" });
document.querySelectorAll("main section").forEach((section) => sectionObserver.observe(section));

if (runs.rows.length) initTable();
applyTheme();
