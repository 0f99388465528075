"use strict";
// Asks /v1/models and /v1/predict of the server that sent this page. Texts are inserted as text, never as HTML.

const LIMITS = { rows: Number(document.body.dataset.rows), bytes: Number(document.body.dataset.bytes) };
const FIRST = 32, QUICK_S = 1, SLOW_S = 5; // rows of the first request; seconds after which later ones grow or shrink
const MANY = 6; // labels; of more than these, the table shows the most probable
const $ = id => document.getElementById(id);
const LETTERS = ["A", "B"];

let models = [];
let key = ""; // in memory only
let running = null; // the AbortController of the rows on their way
let shown = { prompts: [], columns: [], rows: [], answers: [] };

function make(tag, className, ...parts) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...parts);
  return made;
}

const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

// Requests

class Refused extends Error {
  constructor(message, status = 0, wait = 0) {
    super(message);
    Object.assign(this, { status, wait });
  }
}

async function ask(path, signal, body) {
  const headers = { ...(key && { authorization: `Bearer ${key}` }), ...(body && { "content-type": "application/json" }) };
  const more = body ? { method: "POST", body: JSON.stringify(body) } : {};
  let response;
  try {
    response = await fetch(path, { headers, signal, cache: "no-store", ...more });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(`The server does not answer: ${error.message}`);
  }
  const text = await response.text();
  let found = null;
  try {
    found = JSON.parse(text);
  } catch { /* a proxy may answer in HTML; its status is shown */ }
  if (response.ok && found) return found;
  const message = found?.error?.message ?? `${response.statusText || "unreadable answer"} (status ${response.status})`;
  throw new Refused(message, response.status, Number(response.headers.get("retry-after")) || 1);
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); });
  });
}

async function predict(prompt, rows, signal) {
  for (;;) {
    try {
      return (await ask("v1/predict", signal, { prompt, rows })).answers;
    } catch (error) {
      if (error.status !== 429) throw error;
      $("status").textContent = `The server is busy; trying again in ${plural(error.wait, "second")}.`;
      await pause(error.wait, signal);
    }
  }
}

// How many of the rows from `start` on go into one request: at most `most`, and as many bytes as the server takes.
function fitting(rows, start, most) {
  let bytes = 1024; // the name of the prompt and what is around the rows
  let end = start;
  while (end < rows.length && end - start < most) {
    bytes += new TextEncoder().encode(JSON.stringify(rows[end])).length + 1;
    if (bytes > LIMITS.bytes && end > start) break;
    end += 1;
  }
  return end - start;
}

// Prompts

const chosen = () => [$("a"), $("b")].map(select => models.find(model => model.id === select.value)).filter(Boolean);
const columnsOf = model => [...new Set(model.columns)]; // a template may show a column twice
const sameColumns = (one, other) => columnsOf(one).sort().join("\t") === columnsOf(other).sort().join("\t");

async function load() {
  $("load-error").textContent = "";
  try {
    models = (await ask("v1/models")).data;
  } catch (error) {
    if (error.status === 401) needKey();
    if (error.status !== 401 || key) $("load-error").textContent = error.message;
    return;
  }
  $("key-form").hidden = true;
  $("prompts").hidden = $("rows").hidden = false;
  const bases = [...new Set(models.map(model => model.parent))];
  $("title").textContent = `${plural(models.length, "soft prompt")} on ${bases.join(", ")}`;
  $("all-title").textContent = `All ${plural(models.length, "prompt")}`;
  $("all").replaceChildren(...models.map(model => make("tr", "",
    Object.assign(make("th", "", model.id), { scope: "row" }),
    ...[model.task, columnsOf(model).join(", "), model.labels.join(", ") || "open answers"].map(text => make("td", "", text)),
    make("td", "", make("code", "", model.hash)))));
  options($("a"), models);
  choose();
}

function needKey() {
  $("key-form").hidden = false;
  $("key").focus();
}

// Keeps what was chosen where it is still there.
function options(select, offered, none) {
  const before = select.value, tasks = [...new Set(offered.map(model => model.task))];
  select.replaceChildren(...(none ? [new Option(none, "")] : []), ...tasks.map(task => {
    const group = Object.assign(make("optgroup", ""), { label: task });
    group.append(...offered.filter(model => model.task === task).map(model => new Option(model.id, model.id)));
    return group;
  }));
  if (offered.some(model => model.id === before)) select.value = before;
}

function choose() {
  const [first] = chosen();
  if (!first) return;
  const fits = models.filter(model => model !== first && sameColumns(model, first)), others = models.length - 1 - fits.length;
  options($("b"), fits, "none");
  $("b-help").textContent = others ? `Not offered: ${plural(others, "prompt")} with other columns.` : "";
  const prompts = chosen();
  LETTERS.forEach((letter, place) => facts($(`${letter.toLowerCase()}-facts`), prompts[place]));
  const typed = new Map([...$("fields").querySelectorAll("textarea")].map(field => [field.name, field.value]));
  $("fields").replaceChildren(...columnsOf(first).map(column => {
    const field = Object.assign(make("textarea", ""), { name: column, rows: 2, value: typed.get(column) ?? "" });
    return make("label", "field", column, field);
  }));
  const example = JSON.stringify(Object.fromEntries(columnsOf(first).map(column => [column, "…"])));
  $("pasted-help").replaceChildren(
    `Columns of ${first.id}: ${columnsOf(first).join(", ")}. A line of JSON: `, make("code", "", example));
}

function facts(list, model) {
  const known = model && { Task: model.task, Columns: columnsOf(model).join(", "), Labels: model.labels.join(", ") || "open answers" };
  list.replaceChildren(...Object.entries(known ?? {}).flatMap(([name, text]) => [make("dt", "", name), make("dd", "", text)]));
  if (model) list.append(make("dt", "", "Hash"), make("dd", "", make("code", "", model.hash)));
}

// Pasted rows: { rows, lines }, the line where each row begins. As `cpeft predict` reads files, a cell is the text that is written.

function parsed(text) {
  const clean = text.replace(/^\uFEFF/, "");
  if (!clean.trim()) throw new Error("Paste rows first.");
  const found = /^\s*[{[]/.test(clean) ? jsonRows(clean) : csvRows(clean);
  if (!found.rows.length) throw new Error("There is a header but no row.");
  return found;
}

function jsonRows(text) {
  const rows = [], lines = [];
  text.split(/\r\n|\n|\r/).forEach((line, place) => {
    if (!line.trim()) return;
    const wrong = why => new Error(`Line ${place + 1}: ${why}; a line is an object such as {"column": "text"}`);
    // the digits as they are written, so that 2.50 stays 2.50
    const asText = (name, value, context) => {
      if (typeof value === "number" && !context?.source) throw wrong(`this browser needs quotes around numbers ('${name}')`);
      return typeof value === "number" ? context.source : typeof value === "boolean" ? String(value) : value;
    };
    let row;
    try {
      row = JSON.parse(line, asText);
    } catch (error) {
      throw error instanceof SyntaxError ? wrong(`not readable as JSON (${error.message})`) : error;
    }
    if (row === null || typeof row !== "object" || Array.isArray(row)) throw wrong("not an object");
    const nested = Object.keys(row).find(name => row[name] !== null && typeof row[name] === "object");
    if (nested !== undefined) throw wrong(`'${nested}' is not a text`);
    rows.push(row);
    lines.push(place + 1);
  });
  return { rows, lines };
}

// Rows of cells with the line where each begins. Quotes as in RFC 4180: around a cell with a separator or a line break, doubled within.
function* cellRows(text, separator) {
  const cell = new RegExp(`"([^"]*(?:""[^"]*)*)"|([^"${separator}\r\n][^${separator}\r\n]*)?`, "y");
  let at = 0, line = 1;
  while (at < text.length) {
    const cells = [], began = line;
    for (;;) {
      cell.lastIndex = at;
      const [whole, quoted, plain] = cell.exec(text);
      if (!whole && text[at] === '"') throw new Error(`Line ${began}: a quote is opened and not closed`);
      cells.push(quoted === undefined ? plain ?? "" : quoted.replaceAll('""', '"'));
      line += (whole.match(/\r\n|\n|\r/g) ?? []).length;
      at += whole.length;
      if (text[at] !== separator) break;
      at += 1;
    }
    const end = /^(\r\n|\n|\r|$)/.exec(text.slice(at, at + 2));
    if (!end) throw new Error(`Line ${line}: text after a closing quote; a quote within a cell is written twice`);
    at += end[0].length;
    line += 1;
    if (cells.length > 1 || cells[0] !== "") yield { cells, line: began };
  }
}

function csvRows(text) {
  const first = text.trimStart().split(/[\r\n]/, 1)[0].replace(/"[^"]*"/g, "");
  const counts = [",", ";", "\t", "|"].map(sign => [first.split(sign).length, sign]);
  const [, separator] = counts.reduce((best, each) => (each[0] > best[0] ? each : best));
  const rows = [], lines = [];
  let header = null;
  for (const { cells, line } of cellRows(text, separator)) {
    if (!header) {
      header = cells;
      const twice = header.find((name, place) => header.indexOf(name) !== place);
      if (twice !== undefined) throw new Error(`Line ${line}: two columns are called '${twice}'`);
      continue;
    }
    if (cells.length !== header.length) {
      const sign = separator === "\t" ? "a tab" : `'${separator}'`;
      throw new Error(`Line ${line}: ${plural(cells.length, "cell")}, and the header has ${header.length}; ` +
        `between cells is ${sign}, a cell with it or a line break in it needs quotes`);
    }
    rows.push(Object.fromEntries(header.map((name, place) => [name, cells[place]])));
    lines.push(line);
  }
  return { rows, lines };
}

// Answers

// Of rows that have all columns of the task only those are sent; else all, as a task may accept other names for its columns.
function reduced(rows, wanted) {
  const there = [...new Set(rows.flatMap(Object.keys))];
  const columns = wanted.every(name => there.includes(name)) ? wanted : there;
  return { columns, rows: rows.map(row => Object.fromEntries(columns.filter(name => name in row).map(name => [name, row[name]]))) };
}

async function answer(given, lines) {
  if (running) return;
  const prompts = chosen(), { columns, rows } = reduced(given, columnsOf(prompts[0]));
  running = new AbortController();
  shown = { prompts, columns, rows: [], answers: [] };
  busy(true, rows.length);
  const began = performance.now();
  let size = Math.min(FIRST, LIMITS.rows), failure = null, seconds = 0;
  try {
    while (shown.rows.length < rows.length) {
      const start = shown.rows.length, part = rows.slice(start, start + fitting(rows, start, size)), sent = performance.now();
      try {
        const answers = [];
        for (const prompt of prompts) answers.push(await predict(prompt.id, part, running.signal));
        seconds = (performance.now() - began) / 1000;
        add(part, part.map((_, row) => answers.map(each => each[row])));
      } catch (error) {
        if (error.status !== 504 || part.length === 1) throw error; // a slow model answers fewer rows in time
        size = Math.ceil(part.length / 4);
        continue;
      }
      const took = (performance.now() - sent) / 1000;
      size = took < QUICK_S ? Math.min(2 * size, LIMITS.rows) : took > SLOW_S ? Math.ceil(size / 2) : size;
      $("progress").value = shown.rows.length;
      $("status").textContent = `${shown.rows.length.toLocaleString("en")} of ${plural(rows.length, "row")}`;
    }
  } catch (error) {
    failure = error;
  }
  busy(false);
  conclude(rows.length, seconds, failure, lines);
}

function busy(is, total) {
  if (is) {
    $("error").textContent = $("status").textContent = "";
    $("answers").hidden = false;
    $("table").replaceChildren();
    $("save").hidden = $("only-label").hidden = true;
    Object.assign($("progress"), { max: total, value: 0 });
  } else {
    running = null;
    if (document.activeElement === $("stop")) $("status").focus();
  }
  $("progress").hidden = $("stop").hidden = !is;
}

function conclude(total, seconds, failure, lines) {
  const { rows, prompts } = shown, stopped = failure?.name === "AbortError";
  const differing = shown.answers.filter(differ).length;
  const of = rows.length < total ? ` of ${total.toLocaleString("en")}` : "";
  const speed = rows.length ? ` in ${seconds.toFixed(1)} s: ${(rows.length / seconds).toFixed(1)} rows a second` : "";
  const compared = prompts.length > 1 && rows.length ? ` A and B differ in ${plural(differing, "row")}.` : "";
  $("status").textContent = `${stopped ? "Stopped. " : ""}${plural(rows.length, "row")}${of}${speed}.${compared}`;
  $("save").hidden = !rows.length;
  $("only-label").hidden = !differing;
  $("answers").hidden = !rows.length && !stopped;
  if (!failure || stopped) return;
  if (failure.status === 401) needKey();
  // the server counts the rows of one request
  const place = (_, row) => `Row ${rows.length + Number(row)}` + (lines ? ` (line ${lines[rows.length + row - 1]})` : "");
  $("error").textContent = failure.message.replace(/^row (\d+)/, place);
}

const differ = answers => answers.length > 1 && answers[0].answer !== answers[1].answer;

function add(rows, answers) {
  if (!shown.rows.length) $("table").append(head(answers[0]), make("tbody", ""));
  const first = shown.rows.length;
  shown.rows.push(...rows);
  shown.answers.push(...answers);
  const made = rows.map((row, place) => tableRow(first + place, row, answers[place]));
  $("table").tBodies[0].append(...made);
  if (!first) made[0].scrollIntoView({ block: "nearest" });
}

function head(answers) {
  const above = make("tr", ""), below = make("tr", "names");
  const cell = (row, text, more) => row.appendChild(Object.assign(make("th", more.className ?? "", ...[text].flat()), more));
  for (const name of ["Row", ...shown.columns]) cell(above, name, { scope: "col", rowSpan: 2 });
  answers.forEach(({ attention }, place) => {
    const { id } = shown.prompts[place], sources = Object.keys(attention ?? {});
    cell(above, [make("b", "mark", LETTERS[place]), ` ${id}`],
      { scope: "colgroup", colSpan: 1 + sources.length, className: "prompt" });
    cell(below, "answer", { scope: "col", className: "prompt" });
    for (const name of sources) cell(below, make("span", "", name), { scope: "col", className: "source", title: `attention of ${name}` });
  });
  if (answers.length > 1) cell(above, "A and B", { scope: "col", rowSpan: 2, className: "prompt" });
  return make("thead", "", above, below);
}

function tableRow(place, row, answers) {
  const cells = [Object.assign(make("th", "n", String(place + 1)), { scope: "row" })];
  for (const name of shown.columns) cells.push(named(make("td", "text", String(row[name] ?? "")), name));
  answers.forEach(({ answer: text, in_label_set: known, probabilities, attention }, which) => {
    const label = `${LETTERS[which]} ${shown.prompts[which].id}`;
    const main = make("strong", "", text || "(empty)"), note = known === false ? [" ", make("small", "", "not a label")] : [];
    cells.push(named(make("td", "prompt", main, ...note, ...(probabilities ? [bars(probabilities, text)] : [])), label));
    for (const [name, weight] of Object.entries(attention ?? {})) {
      const heat = named(make("td", `heat${weight > .5 ? " strong" : ""}`, weight.toFixed(2)), name);
      heat.style.setProperty("--share", `${100 * weight}%`);
      cells.push(heat);
    }
  });
  const differs = differ(answers);
  if (answers.length > 1) cells.push(make("td", `prompt ${differs ? "differ" : "muted"}`, differs ? "differ" : "agree"));
  return make("tr", answers.length > 1 && !differs ? "same" : "", ...cells);
}

// Names of columns, which narrow screens show beside the cells.
function named(cell, name) {
  cell.dataset.name = name;
  return cell;
}

function bars(probabilities, text) {
  let pairs = Object.entries(probabilities);
  const left = pairs.length > MANY ? pairs.length - MANY + 1 : 0;
  if (left) pairs = pairs.sort((one, other) => other[1] - one[1]).slice(0, MANY - 1);
  const list = make("ul", "bars", ...pairs.map(([label, share]) => {
    const bar = make("i", "");
    bar.style.width = `${100 * share}%`;
    return make("li", label === text ? "given" : "", make("span", "", label), make("span", "track", bar), make("span", "n", share.toFixed(2)));
  }));
  if (left) list.append(make("li", "rest", `and ${plural(left, "label")} less probable`));
  return list;
}

// The rows that the table shows, with all digits.
function csv() {
  const [some] = shown.answers;
  const keys = which => ["probabilities", "attention"].flatMap(kind => Object.keys(some[which][kind] ?? {}).map(name => [kind, name]));
  const head = ["row", ...shown.columns], lines = [];
  shown.prompts.forEach(({ id }, which) => {
    const short = { probabilities: "p", attention: "attention" };
    head.push(`${id}: answer`, ...keys(which).map(([kind, name]) => `${id}: ${short[kind]}(${name})`));
  });
  if (shown.prompts.length > 1) head.push("differ");
  shown.answers.forEach((answers, place) => {
    if ($("only").checked && !differ(answers)) return;
    const cells = [place + 1, ...shown.columns.map(name => shown.rows[place][name] ?? "")];
    answers.forEach((each, which) => cells.push(each.answer, ...keys(which).map(([kind, name]) => each[kind][name])));
    lines.push(answers.length > 1 ? [...cells, differ(answers)] : cells);
  });
  const written = cell => (/[",\r\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : String(cell));
  return [head, ...lines].map(line => `${line.map(written).join(",")}\r\n`).join("");
}

function save() {
  const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  Object.assign(document.createElement("a"), { href: url, download: "answers.csv" }).click();
  URL.revokeObjectURL(url);
}

// Events

function submits(form, act) {
  form.addEventListener("submit", event => {
    event.preventDefault();
    act();
  });
  form.addEventListener("keydown", event => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
}

submits($("key-form"), () => {
  key = $("key").value.trim();
  load();
});
submits($("one"), () => answer([Object.fromEntries([...$("fields").querySelectorAll("textarea")].map(field => [field.name, field.value]))]));
submits($("many"), () => {
  try {
    const { rows, lines } = parsed($("pasted").value);
    answer(rows, lines);
  } catch (error) {
    $("error").textContent = error.message;
  }
});
for (const select of [$("a"), $("b")]) select.addEventListener("change", choose);
$("only").addEventListener("change", () => $("table").classList.toggle("only", $("only").checked));
$("reload").addEventListener("click", load);
$("stop").addEventListener("click", () => running?.abort());
$("save").addEventListener("click", save);
load();
