// What moves on a report's page: the theme, the charts, the table of runs. Texts of a report come from users, so they
// are only ever set as textContent.
"use strict";

const { figures, runs } = JSON.parse(document.getElementById("data").textContent);

// ---- Theme -----------------------------------------------------------------------------------------------------

const THEMES = {
  light: {
    palette: ["#2a6fa8", "#c8612f", "#3b8659", "#8659a8", "#a87f1c", "#2b8f9c", "#b84f80", "#66707c"],
    right: [[0, "#eef3f6"], [0.5, "#b5d0e2"], [1, "#2a6fa8"]],
    wrong: [[0, "#f6f5f2"], [0.2, "#f8dfb8"], [0.6, "#e59a52"], [1, "#b23a1e"]],
    metric: [[0, "#d8cfae"], [0.35, "#7fb8a4"], [0.7, "#2f7f9e"], [1, "#23306e"]],
    grid: "#e4e7e9",
  },
  dark: {
    palette: ["#6fb1e4", "#f0965f", "#7cc598", "#bd97dd", "#d8b64f", "#63c5d0", "#e58bb4", "#a3adb8"],
    right: [[0, "#1d242c"], [0.5, "#264660"], [1, "#3a78aa"]],
    wrong: [[0, "#1c2026"], [0.2, "#3d2e25"], [0.6, "#7d4726"], [1, "#c25a2b"]],
    metric: [[0, "#3d3f5c"], [0.35, "#2e7390"], [0.7, "#55b392"], [1, "#f2e07a"]],
    grid: "#2b313a",
  },
};
const root = document.documentElement;
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);

function themeChanged() {
  document.getElementById("theme").textContent = isDark() ? "Light" : "Dark";
  document.querySelectorAll(".plot.drawn").forEach(draw);
}
document.getElementById("theme").addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  themeChanged();
});
systemDark.addEventListener("change", themeChanged);

// ---- Charts ----------------------------------------------------------------------------------------------------

/** Plotly, which stands in the page compressed. */
const library = (async () => {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  (0, eval)(await new Response(unpacked).text());
})();

const CONFIG = {
  responsive: true,
  displaylogo: false,
  showTips: false,
  // Its button would send the report's data to Plotly's servers.
  showSendToCloud: false,
  plotlyServerURL: "",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d", "pan2d", "zoom2d"],
};

/** A copy of a figure with the colours of the page as it is now. */
function painted(figure) {
  const theme = THEMES[isDark() ? "dark" : "light"];
  const style = getComputedStyle(document.body);
  const [ink, paper] = [style.color, style.backgroundColor];
  const { data, layout } = structuredClone(figure);
  for (const trace of data) {
    const { colour, part } = trace.meta;
    const own = theme.palette[colour % theme.palette.length];
    if (part === "right" || part === "wrong") trace.colorscale = theme[part];
    else if (part === "parallel") {
      trace.line.colorscale = theme.metric;
      trace.unselected = { line: { color: ink, opacity: 0.04 } };
      trace.labelfont = { color: ink, size: 13 };
      trace.tickfont = { color: ink, size: 11 };
      trace.rangefont = { color: "rgba(0,0,0,0)", size: 1 };
    } else if (part === "reference") trace.line.color = ink;
    else {
      trace.line = { ...trace.line, color: trace.type === "bar" ? undefined : own };
      trace.marker = { ...trace.marker, color: own };
      trace.fillcolor = own + "2e";
      trace.insidetextfont = { color: paper };
      for (const errors of [trace.error_x, trace.error_y]) if (errors) errors.color = trace.type === "bar" ? ink : own;
    }
  }
  layout.font = { color: ink, family: style.fontFamily, size: 12.5 };
  // A picture that is saved, and the halo around the labels of parallel axes, need the page's colour.
  layout.paper_bgcolor = paper;
  layout.hoverlabel = { bgcolor: paper, bordercolor: ink, font: { color: ink }, align: "left", namelength: -1 };
  layout.modebar = { orientation: "v", bgcolor: "rgba(0,0,0,0)", color: theme.palette[7], activecolor: ink };
  // A finger that drags over a chart wants to scroll the page.
  if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false;
  for (const axis of [layout.xaxis, layout.yaxis]) {
    if (axis) Object.assign(axis, { gridcolor: theme.grid, zerolinecolor: theme.grid, linecolor: theme.grid });
  }
  return { data, layout };
}

async function draw(plot) {
  const figure = figures[plot.dataset.figure];
  const { data, layout } = painted(figure);
  if (plot.cell) layout.shapes = [frame(plot.cell)];
  const first = !plot.classList.contains("drawn");
  plot.classList.add("drawn");
  await library;
  await Plotly.react(plot, data, layout, CONFIG);
  if (!first) return;
  if (figure.meta.sentences) startPanel(plot, figure.meta);
  if (data[0].type === "parcoords") plot.on("plotly_restyle", () => brush(plot, figure.data[0].customdata));
}

// A chart is drawn when the reader comes near it: a page with many would be slow to open.
const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting && !entry.target.classList.contains("drawn")) draw(entry.target);
  }
}, { rootMargin: "800px" });
document.querySelectorAll(".plot").forEach((plot) => near.observe(plot));
addEventListener("beforeprint", () => document.querySelectorAll(".plot:not(.drawn)").forEach(draw));

// ---- Confusion matrix: the pictures of a cell -------------------------------------------------------------------

/** The frame around the chosen cell. */
function frame([i, j]) {
  const ink = getComputedStyle(document.body).color;
  return { type: "rect", x0: j - 0.5, x1: j + 0.5, y0: i - 0.5, y1: i + 0.5, line: { color: ink, width: 2 } };
}

function startPanel(plot, { sentences, examples, start }) {
  const [sentence, pictures] = plot.closest(".confusion").querySelector(".panel").children;
  const choose = (cell) => {
    const [i, j] = cell;
    plot.cell = cell;
    sentence.textContent = sentences[i][j];
    const found = examples[`${i},${j}`] || [];
    pictures.replaceChildren(...found.map((source) => {
      const picture = new Image();
      picture.src = "data:image/png;base64," + source;
      picture.alt = sentences[i][j];
      return picture;
    }));
    if (!found.length) pictures.textContent = "No pictures of this cell.";
    Plotly.relayout(plot, { shapes: [frame(cell)] });
  };
  plot.on("plotly_click", ({ points }) => choose([points[0].y, points[0].x]));
  plot.tabIndex = 0;
  plot.setAttribute("role", "application");
  plot.setAttribute("aria-label", "Confusion matrix. The arrow keys choose a cell.");
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(plot.cell.map((at, axis) => Math.min(Math.max(at + step[axis], 0), sentences.length - 1)));
  });
  choose(start);
}

// ---- Table of runs ---------------------------------------------------------------------------------------------

const FIRST_ROWS = 200;
const table = { filter: "", column: -1, down: false, all: false, brushes: new Map() };
const words = new Intl.Collator(undefined, { numeric: true });

/** How the numbers of a column are written: with the same decimals where they are of like size, else each its own. */
function writer(column) {
  const numbers = runs.rows.map((row) => row[column]).filter((cell) => typeof cell === "number" && cell !== 0);
  const own = (number) => String(Number(number.toPrecision(4)));
  if (numbers.every(Number.isInteger)) return String;
  const sizes = numbers.map(Math.abs);
  const [least, most] = [sizes.reduce((a, b) => Math.min(a, b)), sizes.reduce((a, b) => Math.max(a, b))];
  const enough = Math.min(Math.max(3 - Math.floor(Math.log10(most)), 0), 4);
  // The smallest must keep two digits.
  if (least < 10 ** (1 - enough) || most >= 1e6) return own;
  const decimals = (number) => (String(Number(number.toFixed(enough))).split(".")[1] || "").length;
  const used = numbers.reduce((most, number) => Math.max(most, decimals(number)), 0);
  return (number) => number.toFixed(used);
}

/** Negative where `a` comes before `b`: numbers before texts. */
function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === "number") return -1;
  if (typeof b === "number") return 1;
  return words.compare(a, b);
}

const COMPARISONS = {
  "=": (order) => order === 0, "!=": (order) => order !== 0,
  "<": (order) => order < 0, "<=": (order) => order <= 0, ">": (order) => order > 0, ">=": (order) => order >= 0,
};
const unquoted = (text) => text.replace(/^"(.*)"$/, "$1");

/** The filter `text` as functions of a row. Throws an Error that says what is wrong with it. */
function conditions(text) {
  const parts = text.replace(/\s*(<=|>=|!=|=|<|>)\s*/g, "$1").match(/(?:"[^"]*"|[^\s"]|")+/g) || [];
  return parts.map((part) => {
    const [, name, sign, value] = /^("[^"]*"|[^"<>!=]*)(<=|>=|!=|=|<|>)(.*)$/.exec(part) || [];
    if (sign === undefined) {
      const word = unquoted(part).toLowerCase();
      return (row) => row.some((cell) => cell !== null && String(cell).toLowerCase().includes(word));
    }
    return comparison(unquoted(name), sign, unquoted(value));
  });
}

function comparison(name, sign, value) {
  const column = runs.columns.findIndex((column) => column.toLowerCase() === name.toLowerCase());
  if (column < 0) throw new Error(`There is no column “${name}”. The columns are: ${runs.columns.join(", ")}.`);
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
    return COMPARISONS[sign](words.compare(String(cell).toLowerCase(), wanted));
  };
}

/** The rows to show, filtered and sorted. A filter that is wrong shows all rows and says why. */
function chosenRows() {
  let tests = [];
  let wrong = "";
  try {
    tests = conditions(table.filter);
  } catch (error) {
    wrong = error.message;
  }
  const message = document.getElementById("wrong");
  message.textContent = wrong;
  message.hidden = !wrong;
  for (const { column, names } of table.brushes.values()) tests.push((row) => names.has(row[column]));
  const rows = runs.rows.filter((row) => tests.every((test) => test(row)));
  if (table.column < 0) return rows;
  const sign = table.down ? -1 : 1;
  return rows.sort((rowA, rowB) => {
    const [a, b] = [rowA[table.column], rowB[table.column]];
    // What is missing comes last in either direction.
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * compare(a, b);
  });
}

/** A new element with a text. */
function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

function showRows() {
  const rows = chosenRows();
  const shown = table.all ? rows : rows.slice(0, FIRST_ROWS);
  document.querySelector("#table tbody").replaceChildren(...shown.map((row) => {
    const line = document.createElement("tr");
    line.append(...row.map((cell, column) => {
      if (cell === null) return element("td", "–", table.numeric[column] ? "none number" : "none");
      if (typeof cell === "number") return element("td", table.writers[column](cell), "number");
      const made = element("td", cell);
      made.title = cell;
      return made;
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
  const brushed = document.getElementById("brushed");
  brushed.hidden = !table.brushes.size;
  brushed.textContent = "Also limited by the lines chosen in a chart ✕";
}

function startTable() {
  table.numeric = runs.columns.map((_, column) => runs.rows.some((row) => typeof row[column] === "number"));
  table.writers = runs.columns.map((_, column) => (table.numeric[column] ? writer(column) : String));
  const heads = document.createElement("tr");
  runs.columns.forEach((name, column) => {
    const head = element("th", "", table.numeric[column] ? "number" : "");
    head.scope = "col";
    const button = element("button", name);
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
  document.getElementById("brushed").addEventListener("click", () => {
    const plots = [...table.brushes.keys()];
    table.brushes.clear();
    for (const plot of plots) {
      Plotly.restyle(plot, Object.fromEntries(plot.data[0].dimensions.map((_, i) => [`dimensions[${i}].constraintrange`, null])));
    }
    showRows();
  });
  showRows();
}

/** Limits the table to the runs whose lines pass through all ranges chosen on the axes of a chart. */
function brush(plot, names) {
  const column = runs.columns.findIndex((_, at) => runs.rows.some((row) => row[at] !== null && row[at] === names[0]));
  if (column < 0) return;
  const limits = plot.data[0].dimensions
    .filter((axis) => axis.constraintrange)
    .map(({ values, constraintrange: range }) => ({ values, ranges: Array.isArray(range[0]) ? range : [range] }));
  const inside = (i) => limits.every(({ values, ranges }) =>
    ranges.some(([low, high]) => low <= values[i] && values[i] <= high));
  if (limits.length) table.brushes.set(plot, { column, names: new Set(names.filter((_, i) => inside(i))) });
  else table.brushes.delete(plot);
  showRows();
}

// ---- Contents: the section that is being read -------------------------------------------------------------------

const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.getAttribute("href").slice(1), link]));
const reading = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(target.id).setAttribute("aria-current", "true");
  }
}, { rootMargin: "-20% 0px -75% 0px" });
document.querySelectorAll("main section").forEach((section) => reading.observe(section));

if (runs.rows.length) startTable();
themeChanged();
