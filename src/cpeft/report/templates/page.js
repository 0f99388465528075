"use strict";
// The page reads without this script; it sorts tables, saves figures, and searches answers.

const make = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);

// Tables without merged cells sort by a column's numbers, or by its text where any cell holds none.
function sortable(table) {
  const [head] = table.tHead.rows, body = table.tBodies[0];
  const first = [...body.rows];
  [...head.cells].forEach((cell, column) => {
    const button = make("button", cell.textContent.trim(), { type: "button", className: "sort" });
    cell.replaceChildren(button);
    button.addEventListener("click", () => {
      const next = { none: "descending", descending: "ascending", ascending: "none" }[cell.ariaSort ?? "none"];
      for (const other of head.cells) other.ariaSort = "none";
      cell.ariaSort = next;
      const text = row => row.cells[column].textContent.trim().replaceAll("−", "-").replaceAll(",", "");
      const numbers = first.every(row => text(row) === "" || !Number.isNaN(Number.parseFloat(text(row))));
      const key = row => (numbers ? (text(row) === "" ? -Infinity : Number.parseFloat(text(row))) : text(row));
      const sign = next === "ascending" ? 1 : -1;
      const order = (a, b) => sign * (numbers ? key(a) - key(b) || 0 : key(a).localeCompare(key(b)));
      body.append(...(next === "none" ? first : [...first].sort(order)));
    });
  });
}

for (const table of document.querySelectorAll("main table:not(.matrix)")) {
  const whole = table.tHead?.rows.length === 1 && table.tBodies.length === 1 && table.tBodies[0].rows.length > 2;
  if (whole && !table.querySelector("[rowspan], [colspan]")) sortable(table);
}

for (const figure of document.querySelectorAll("main figure")) {
  const picture = figure.querySelector("svg.plot");
  if (!picture) continue;
  const button = make("button", "Save as SVG", { type: "button", className: "save" });
  button.addEventListener("click", () => {
    const copy = picture.cloneNode(true);
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    const style = getComputedStyle(document.documentElement);
    const ink = ["paper", "ink", "muted", "rule", "wash", "accent"].map(name => `--${name}: ${style.getPropertyValue("--" + name)}`);
    copy.setAttribute("style", `${ink.join("; ")}; background: ${style.getPropertyValue("--paper")}`);
    const file = new Blob([copy.outerHTML], { type: "image/svg+xml" });
    const link = make("a", "", { href: URL.createObjectURL(file), download: `${picture.id || "figure"}.svg` });
    link.click();
    URL.revokeObjectURL(link.href);
  });
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
