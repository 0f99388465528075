"use strict";
// The page reads without this script; it sorts, filters and saves tables, saves figures, opens folds that links lead to, and
// searches answers.

const make = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);

// Rows sort inside their part of a table: by data-sort where cells have it, by numbers in columns of numbers, else by text. Heads
// of parts stay above, totals and rows to compare with stay where they are, and cells without a value stand last.
const PINNED = ".task, .fixed, .total";

function valueOf(cell, numbers) {
  const text = (cell.dataset.sort ?? cell.textContent).trim();
  if (!numbers) return text || null;
  const number = Number.parseFloat(text.replaceAll("−", "-").replaceAll(",", ""));
  return Number.isNaN(number) ? null : number;
}

function order(rows, column, numbers, sign) {
  const keyed = rows.map(row => [valueOf(row.cells[column], numbers), row]);
  const compare = numbers ? (a, b) => a - b : (a, b) => a.localeCompare(b, undefined, { numeric: true });
  return keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b))).map(([, row]) => row);
}

function sortable(table) {
  const [head] = table.tHead.rows;
  const parts = [...table.tBodies].map(body => {
    const rows = [...body.rows], first = rows.findIndex(row => !row.matches(PINNED));
    const moving = rows.filter(row => !row.matches(PINNED));
    const above = rows.slice(0, first < 0 ? rows.length : first).filter(row => row.matches(PINNED));
    return { body, moving, above, below: rows.filter(row => row.matches(PINNED) && !above.includes(row)) };
  });
  [...head.cells].forEach((cell, column) => {
    if ("fixed" in cell.dataset || !cell.textContent.trim()) return;
    const moving = parts.flatMap(part => part.moving);
    const numbers = cell.classList.contains("n") || moving.some(row => row.cells[column].dataset.sort !== undefined);
    const button = make("button", cell.textContent.trim(), { type: "button", className: "sort" });
    cell.replaceChildren(button);
    button.addEventListener("click", () => {
      const next = { none: "descending", descending: "ascending", ascending: "none" }[cell.ariaSort ?? "none"];
      for (const other of head.cells) other.ariaSort = "none";
      cell.ariaSort = next;
      table.classList.toggle("sorted", next !== "none"); // what rows repeat of those above is shown then
      for (const { body, moving, above, below } of parts) {
        const rows = next === "none" ? moving : order(moving, column, numbers, next === "ascending" ? 1 : -1);
        body.append(...above, ...rows, ...below);
      }
    });
  });
}

for (const table of document.querySelectorAll("main table:not(.matrix)")) {
  const rows = [...table.tBodies].flatMap(body => [...body.rows]).filter(row => !row.matches(PINNED));
  const whole = table.tHead?.rows.length === 1 && rows.length > 1 && !table.querySelector("[rowspan]");
  if (whole && rows.every(row => row.cells.length === table.tHead.rows[0].cells.length)) sortable(table);
}

function save(name, text, type) {
  const link = make("a", "", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

// A table as comma-separated values; a cell over several columns stands in the first of them.
function valuesOf(table) {
  const quoted = text => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const line = row => [...row.cells].flatMap(cell =>
    [quoted(cell.textContent.trim().replace(/\s+/g, " ")), ...Array(cell.colSpan - 1).fill("")]).join(",");
  return [...table.rows].map(line).join("\n") + "\n";
}

// Rows that hold all words, where the head of their part counts as theirs; parts without such rows are hidden whole.
function filter(table, text) {
  const words = text.toLowerCase().split(/\s+/);
  for (const body of table.tBodies) {
    const head = body.querySelector(".task")?.textContent ?? "";
    const rows = [...body.rows].filter(row => !row.matches(PINNED));
    for (const row of rows) row.hidden = !words.every(word => `${head} ${row.textContent}`.toLowerCase().includes(word));
    for (const row of body.querySelectorAll(PINNED)) row.hidden = rows.every(other => other.hidden);
  }
}

const LONG = 8; // rows of a table from which on it has a filter
for (const table of document.querySelectorAll("main table[id]:not(#answers, .bars)")) {
  const box = table.closest(".scroll"), button = make("button", "Save CSV", { type: "button", className: "save" });
  const name = table.caption.textContent.trim();
  button.ariaLabel = `Save CSV: ${name}`;
  button.addEventListener("click", () => save(`${table.id}.csv`, valuesOf(table), "text/csv"));
  box.after(button);
  if (table.tHead && [...table.tBodies].reduce((sum, body) => sum + body.rows.length, 0) > LONG) {
    const field = make("input", "", { type: "search", ariaLabel: `Filter rows: ${name}`, placeholder: "Filter: task, method, ..." });
    field.addEventListener("input", () => filter(table, field.value.trim()));
    const tools = make("div", "", { className: "tools" });
    tools.append(field);
    box.before(tools);
  }
}

// A link to a folded section opens it.
const unfold = () => document.getElementById(location.hash.slice(1))?.querySelector(":scope > details")?.setAttribute("open", "");
addEventListener("hashchange", unfold);
unfold();

// Says where a table goes on beyond the edge.
const seen = new ResizeObserver(entries => requestAnimationFrame(() => { // the words change the size that is watched
  for (const { target } of entries) target.classList.toggle("wider", target.scrollWidth > target.clientWidth + 1);
}));
for (const box of document.querySelectorAll(".scroll")) seen.observe(box);

// A picture as a file of its own: the page's colours, and below it the legend that stands above it in the page.
const LINE = 13, LETTER = 4.8, KEY = 44;
const SVG = "http://www.w3.org/2000/svg";
const shape = (tag, attributes, text = "") => {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
};

function legendOf(picture) {
  const all = [...picture.closest("section").querySelectorAll(".legend")];
  return all.findLast(each => each.compareDocumentPosition(picture) & Node.DOCUMENT_POSITION_FOLLOWING);
}

function alone(picture) {
  const copy = picture.cloneNode(true), style = getComputedStyle(document.documentElement);
  const { width, height } = picture.viewBox.baseVal, lines = [...(legendOf(picture)?.children ?? [])];
  const font = "font: 8.5px sans-serif";
  lines.forEach((line, number) => {
    const y = height + LINE * (number + 0.5), sample = line.querySelector("line"), mark = line.querySelector("span");
    const dashes = sample?.getAttribute("stroke-dasharray");
    if (sample) copy.append(shape("line", { x1: 8, x2: 36, y1: y, y2: y, stroke: sample.getAttribute("stroke"), "stroke-width": 2,
                                            ...(dashes && { "stroke-dasharray": dashes }) }));
    if (mark) copy.append(shape("text", { x: 22, y: y + 3, style: font, fill: mark.style.color }, mark.textContent));
    const name = line.textContent.replace(mark?.textContent ?? "", "").trim();
    copy.append(shape("text", { x: KEY, y: y + 3, style: font, fill: "currentColor" }, name));
  });
  const wide = Math.max(width, ...lines.map(line => KEY + LETTER * line.textContent.trim().length));
  const high = height + LINE * lines.length;
  copy.setAttribute("viewBox", `0 0 ${wide} ${high}`);
  copy.setAttribute("width", `${wide}pt`);
  copy.setAttribute("height", `${high}pt`);
  const ink = ["paper", "ink", "muted", "rule", "wash", "accent"].map(name => `--${name}: ${style.getPropertyValue("--" + name)}`);
  copy.setAttribute("style", `${ink.join("; ")}; color: var(--ink); background: var(--paper)`);
  return new XMLSerializer().serializeToString(copy);
}

for (const figure of document.querySelectorAll("main figure")) {
  const picture = figure.querySelector("svg.plot");
  if (!picture) continue;
  const button = make("button", "Save as SVG", { type: "button", className: "save" });
  button.ariaLabel = `Save as SVG: ${figure.querySelector("figcaption")?.textContent.trim() ?? picture.id}`;
  button.addEventListener("click", () => save(`${picture.id || "figure"}.svg`, alone(picture), "image/svg+xml"));
  figure.append(button);
}

const MOST = 200; // matches shown at once
const found = document.getElementById("answers-data");
if (found) {
  const { texts, runs } = JSON.parse(found.textContent);
  const form = document.getElementById("answers-form"), body = document.getElementById("answers-rows");
  const told = document.getElementById("answers-told");
  const show = () => {
    const { run: wantedRun, text: wantedText, wrong } = Object.fromEntries(new FormData(form));
    const inRun = wantedRun.toLowerCase().split(/\s+/), inText = wantedText.toLowerCase();
    const rows = [];
    let count = 0;
    for (const run of runs) {
      const name = `${run.stage} ${run.label} seed ${run.seed}`;
      for (const [task, row, answer, right] of run.rows) {
        const [source, references] = texts[task][row];
        if ((wrong && right) || !inRun.every(part => `${name} ${task}`.toLowerCase().includes(part))) continue;
        if (inText && ![source, answer, ...references].some(each => each.toLowerCase().includes(inText))) continue;
        if (++count > MOST) continue;
        const line = document.createElement("tr");
        line.append(make("td", name), make("td", `${task}, row ${row}`), make("td", source, { className: "reason" }));
        line.append(make("td", references.join(" | ")), make("td", answer || "(nothing)", { className: right ? "right" : "wrong" }));
        rows.push(line);
      }
    }
    body.replaceChildren(...rows);
    told.textContent = count > MOST ? `${count} answers, the first ${MOST} are shown` : `${count} answers`;
  };
  form.hidden = false;
  form.addEventListener("input", show);
  form.addEventListener("submit", event => event.preventDefault());
  form.closest("details").addEventListener("toggle", show, { once: true });
  if (form.closest("details").open) show();
}
