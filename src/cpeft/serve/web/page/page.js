"use strict";
// Asks /v1/models and /v1/predict of the server that sent this page. Texts are inserted as text, never as HTML.

const LIMITS = { rows: Number(document.body.dataset.rows), bytes: Number(document.body.dataset.bytes) };
const FIRST = 32, QUICK_S = 1, SLOW_S = 5; // rows of the first request; seconds of one after which the next grows or shrinks
const MANY = 6; // labels; of more than these the table shows the most probable
const LONG = 1000; // rows of the table, which slows down with each
const LETTERS = ["A", "B"];
const $ = id => document.getElementById(id);

let models = [], key = ""; // both in memory only
let running = null; // the AbortController of the rows that are being answered
let shown = { prompts: [], columns: [], rows: [], answers: [] }; // what the table shows

const make = (tag, className, ...parts) => {
  const made = Object.assign(document.createElement(tag), { className });
  made.append(...parts);
  return made;
};
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
const since = start_ms => (performance.now() - start_ms) / 1000;
const fail = (message, status = 0, wait_s = 0) => Object.assign(new Error(message), { status, wait_s });

// Requests

async function ask(path, signal, body) {
  const headers = { ...(key && { authorization: `Bearer ${key}` }), ...(body && { "content-type": "application/json" }) };
  const sent = { headers, signal, cache: "no-store", ...(body && { method: "POST", body: JSON.stringify(body) }) };
  let response, text, found = null;
  try {
    response = await fetch(path, sent);
    text = await response.text();
  } catch (error) {
    throw error.name === "AbortError" ? error : fail(`The server does not answer: ${error.message}`);
  }
  try {
    found = JSON.parse(text);
  } catch { /* a proxy may answer in HTML; its status is shown */ }
  if (response.ok && found) return found;
  const message = found?.error?.message ?? `The answer is not readable (status ${response.status} ${response.statusText})`;
  throw fail(message, response.status, Number(response.headers.get("retry-after")) || 1);
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

async function predict(prompt, rows, signal) {
  for (;;) {
    try {
      return (await ask("v1/predict", signal, { prompt, rows })).answers;
    } catch (error) {
      if (error.status !== 429) throw error;
      $("status").textContent = `The server is busy; trying again in ${plural(error.wait_s, "second")}.`;
      await pause(error.wait_s, signal);
    }
  }
}

// The rows of the next request: at most `most`, in as many bytes as the server takes.
function portion(prompts, rows, start, most) {
  const size = what => new TextEncoder().encode(JSON.stringify(what)).length;
  let bytes = Math.max(...prompts.map(({ id }) => size({ prompt: id, rows: [] }))), end = start;
  while (end < rows.length && end - start < most) {
    bytes += size(rows[end]) + 1;
    if (bytes > LIMITS.bytes && end > start) break;
    end += 1;
  }
  return rows.slice(start, end);
}

// Prompts

const chosen = () => [$("a"), $("b")].map(select => models.find(model => model.id === select.value)).filter(Boolean);
const columnsOf = model => [...new Set(model.columns)]; // a template may show a column twice
const sameColumns = (one, other) => columnsOf(one).sort().join("\t") === columnsOf(other).sort().join("\t");
const described = model => [
  ["Task", model.task], ["Columns", columnsOf(model).join(", ")], ["Labels", model.labels.join(", ") || "open answers"],
  ["Hash", make("code", "", model.hash)]];

async function load() {
  $("load-error").textContent = "";
  try {
    models = (await ask("v1/models")).data.filter(each => each.task); // without a task there are no rows
    if (!models.length) throw fail("No prompt that is served has a task.");
  } catch (error) {
    if (error.status === 401) needKey();
    if (error.status !== 401 || key) $("load-error").textContent = error.message;
    return;
  }
  $("key-form").hidden = true;
  $("prompts").hidden = $("rows").hidden = false;
  $("title").textContent = `${plural(models.length, "soft prompt")} on ${[...new Set(models.map(each => each.parent))].join(", ")}`;
  $("all-title").textContent = `All ${plural(models.length, "prompt")}`;
  $("all").replaceChildren(...models.map(model => make("tr", "",
    Object.assign(make("th", "", model.id), { scope: "row" }), ...described(model).map(([, what]) => make("td", "", what)))));
  fill($("a"), models);
  choose();
}

function needKey() {
  $("key-form").hidden = false;
  $("key").focus();
}

// Prompts by task; what was chosen stays where it is still there.
function fill(select, offered, ...none) {
  const before = select.value;
  select.replaceChildren(...none, ...[...new Set(offered.map(model => model.task))].map(task => {
    const own = offered.filter(model => model.task === task).map(model => new Option(model.id));
    return Object.assign(make("optgroup", "", ...own), { label: task });
  }));
  if (offered.some(model => model.id === before)) select.value = before;
}

function choose() {
  const [first] = chosen();
  const fits = models.filter(model => model !== first && sameColumns(model, first)), others = models.length - 1 - fits.length;
  fill($("b"), fits, new Option("none", ""));
  $("b-help").textContent = others ? `Not offered: ${plural(others, "prompt")} with other columns.` : "";
  LETTERS.forEach((letter, place) => $(`${letter.toLowerCase()}-facts`).replaceChildren(
    ...(chosen()[place] ? described(chosen()[place]) : []).flatMap(([name, what]) => [make("dt", "", name), make("dd", "", what)])));
  const columns = columnsOf(first), typed = new Map(fields().map(field => [field.name, field.value]));
  $("fields").replaceChildren(...columns.map(name =>
    make("label", "field", name, Object.assign(make("textarea", ""), { name, rows: 2, value: typed.get(name) ?? "" }))));
  const example = JSON.stringify(Object.fromEntries(columns.map(name => [name, "…"])));
  $("pasted-help").replaceChildren(`Columns of ${first.id}: ${columns.join(", ")}. A line of JSON: `, make("code", "", example));
}

const fields = () => [...$("fields").querySelectorAll("textarea")];

// Pasted rows and the line where each begins. As `cpeft predict` reads a file, a cell is the text that stands in it.

function parsed(pasted) {
  const text = pasted.replace(/^\uFEFF/, ""); // a byte order mark, from a file
  if (!text.trim()) throw fail("There are no rows: paste some.");
  const found = [.../^\s*[{[]/.test(text) ? jsonRows(text) : csvRows(text)];
  if (!found.length) throw fail("There are no rows under the header.");
  return found;
}

function* jsonRows(text) {
  for (const [place, line] of text.split(/\r\n|\n|\r/).entries()) {
    const wrong = why => fail(`Line ${place + 1}: ${why}. A line is an object such as {"column": "text"}.`);
    const asText = (name, value, context) => { // numbers in their own digits, so that 2.50 stays 2.50
      if (name && value !== null && typeof value === "object") throw wrong(`'${name}' is not a text`);
      if (typeof value === "number" && !context) throw wrong(`this browser needs quotes around numbers, as that of '${name}'`);
      return typeof value === "number" ? context.source : typeof value === "boolean" ? String(value) : value;
    };
    let row;
    if (!line.trim()) continue;
    try {
      row = JSON.parse(line, asText);
    } catch (error) {
      throw error instanceof SyntaxError ? wrong(`not readable as JSON (${error.message})`) : error;
    }
    if (row === null || typeof row !== "object" || Array.isArray(row)) throw wrong("not an object");
    yield { row, line: place + 1 };
  }
}

function* csvRows(text) {
  const first = text.replace(/^[\r\n]+/, "").split(/[\r\n]/, 1)[0].replace(/"[^"]*"/g, "");
  const separator = [..."\t|;,"].reduce((best, sign) => (first.split(sign).length >= first.split(best).length ? sign : best));
  let header = null;
  for (const { cells, line } of cellRows(text, separator)) {
    if (!header) {
      header = cells;
      const twice = header.find((name, place) => header.indexOf(name) !== place);
      if (twice !== undefined) throw fail(`Line ${line}: two columns are called '${twice}'.`);
    } else if (cells.length !== header.length) {
      const sign = separator === "\t" ? "a tab" : `'${separator}'`;
      throw fail(`Line ${line}: ${plural(cells.length, "cell")}, and the header has ${header.length}. Between cells is ${sign}; ` +
        "a cell with that sign or a line break in it needs quotes around it.");
    } else {
      yield { row: Object.fromEntries(header.map((name, place) => [name, cells[place]])), line };
    }
  }
}

// Cells of each line that is not blank. A cell that begins with a quote ends with one; a quote in it is written twice.
function* cellRows(text, separator) {
  const cell = new RegExp(`"([^"]*(?:""[^"]*)*)"|[^"${separator}\r\n][^${separator}\r\n]*|`, "y");
  const next = new RegExp(`${separator === "|" ? "\\|" : separator}|\r\n|\n|\r|$`, "y");
  const match = rule => { // at the end of the match before
    rule.lastIndex = at;
    const found = rule.exec(text);
    at = rule.lastIndex;
    return found;
  };
  let at = 0, line = 1;
  while (at < text.length) {
    const cells = [], began = line, start = at;
    for (let sign = separator; sign === separator;) {
      const [whole, quoted] = match(cell);
      if (!whole && text[at] === '"') throw fail(`Line ${line}: the cell begins with a quote, and no quote ends it.`);
      cells.push(quoted?.replaceAll('""', '"') ?? whole);
      line += whole.split(/\r\n|\n|\r/).length - 1;
      sign = match(next)?.[0];
      if (sign === undefined) throw fail(`Line ${line}: text after a closing quote. A quote in a cell is written twice.`);
    }
    line += 1;
    if (!/^[\r\n]*$/.test(text.slice(start, at))) yield { cells, line: began };
  }
}

// Answers

// Only the columns of the task where all of them are there, else every column: a task may accept other names for its own.
function columnsToSend(rows, wanted) {
  const there = [...new Set(rows.flatMap(Object.keys))];
  return wanted.every(name => there.includes(name)) ? wanted : there;
}

// `given` is { row, line } for each; the line is undefined for a row that was typed.
async function answer(given) {
  if (running) return;
  const prompts = chosen(), columns = columnsToSend(given.map(({ row }) => row), columnsOf(prompts[0]));
  const rows = given.map(({ row }) => Object.fromEntries(columns.filter(name => name in row).map(name => [name, row[name]])));
  const { signal } = running = new AbortController();
  shown = { prompts, columns, rows: [], answers: [] };
  start(rows.length);
  let size = Math.min(FIRST, LIMITS.rows), seconds = 0, failure = null;
  while (shown.rows.length < rows.length && !failure) {
    const part = portion(prompts, rows, shown.rows.length, size), answers = [], sent = performance.now();
    try {
      for (const prompt of prompts) answers.push(await predict(prompt.id, part, signal));
      const took = since(sent);
      size = took < QUICK_S ? Math.min(2 * size, LIMITS.rows) : took > SLOW_S ? Math.ceil(size / 2) : size;
      seconds += took;
      add(part, part.map((_, row) => answers.map(each => each[row])), rows.length);
    } catch (error) {
      if (error.status !== 504 || part.length === 1) failure = error;
      size = Math.ceil(part.length / 4); // a slow model answers fewer rows in time
      seconds += since(sent);
    }
  }
  running = null;
  conclude(given, seconds, failure);
}

function start(total) {
  $("error").textContent = $("status").textContent = "";
  $("table").replaceChildren();
  $("table").className = "";
  $("only").checked = false;
  $("answers").hidden = $("progress").hidden = $("stop").hidden = false;
  $("save").hidden = $("only-label").hidden = true;
  Object.assign($("progress"), { max: total, value: 0 });
}

function conclude(given, seconds, failure) {
  const { rows, prompts } = shown, stopped = failure?.name === "AbortError", differing = shown.answers.filter(differ).length;
  const of = rows.length < given.length ? ` of ${given.length.toLocaleString("en")}` : "";
  const speed = rows.length ? ` in ${seconds.toFixed(1)} s: ${(rows.length / seconds).toFixed(1)} rows a second` : "";
  const compared = prompts.length > 1 && rows.length ? ` A and B differ in ${plural(differing, "row")}.` : "";
  const cut = rows.length > LONG ? ` The table has the first ${LONG.toLocaleString("en")}, the CSV all.` : "";
  $("status").textContent = `${stopped ? "Stopped. " : ""}${plural(rows.length, "row")}${of}${speed}.${compared}${cut}`;
  if (document.activeElement === $("stop")) $("status").focus(); // the button goes
  $("progress").hidden = $("stop").hidden = true;
  $("save").hidden = !rows.length;
  $("only-label").hidden = !differing;
  $("answers").hidden = failure && !rows.length && !stopped;
  if (!failure || stopped) return;
  if (failure.status === 401) needKey();
  $("error").textContent = failure.message.replace(/^row (\d+)/, (_, row) => { // the server counts the rows of a request
    const number = rows.length + Number(row), { line } = given[number - 1];
    return `Row ${number}` + (line ? ` (line ${line})` : "");
  });
}

const differ = answers => answers.length > 1 && answers[0].answer !== answers[1].answer;

function add(rows, answers, total) {
  const first = shown.rows.length;
  if (!first) $("table").append(head(answers[0]), make("tbody", ""));
  shown.rows.push(...rows);
  shown.answers.push(...answers);
  const visible = rows.slice(0, Math.max(0, LONG - first));
  $("table").tBodies[0].append(...visible.map((row, place) => tableRow(first + place, row, answers[place])));
  if (!first) $("table").tBodies[0].rows[0].scrollIntoView({ block: "nearest" });
  $("progress").value = shown.rows.length;
  $("status").textContent = `${shown.rows.length.toLocaleString("en")} of ${plural(total, "row")}`;
}

function head(answers) {
  const th = (className, more, ...parts) => Object.assign(make("th", className, ...parts), { scope: "col", ...more });
  const above = ["Row", ...shown.columns].map(name => th("", { rowSpan: 2 }, name)), below = [];
  answers.forEach(({ attention }, place) => {
    const sources = Object.keys(attention ?? {}), mark = make("b", "mark", LETTERS[place]);
    above.push(th("prompt", { scope: "colgroup", colSpan: 1 + sources.length }, mark, ` ${shown.prompts[place].id}`));
    below.push(th("prompt", {}, `answer, probabilities${sources.length ? "; attention\u00a0→" : ""}`));
    below.push(...sources.map(name => th("source", {}, make("span", "", name))));
  });
  if (answers.length > 1) above.push(th("prompt", { rowSpan: 2 }, "A and B"));
  return make("thead", "", make("tr", "", ...above), make("tr", "names", ...below));
}

function tableRow(place, row, answers) {
  const cell = (className, name, ...parts) => { // narrow screens show the name of the column in the cell
    const made = make("td", className, ...parts);
    made.dataset.name = name;
    return made;
  };
  const cells = [Object.assign(make("th", "n", String(place + 1)), { scope: "row" })];
  cells.push(...shown.columns.map(name => cell("text", name, String(row[name] ?? ""))));
  answers.forEach(({ answer: text, in_label_set: known, probabilities, attention }, which) => {
    const parts = [make("strong", "", text || "(empty)"), ...(known === false ? [make("small", "", " not a label")] : [])];
    if (probabilities) parts.push(bars(probabilities, text));
    cells.push(cell("prompt", `${LETTERS[which]} ${shown.prompts[which].id}`, ...parts));
    for (const [name, weight] of Object.entries(attention ?? {})) {
      const heat = cell("heat", name, weight.toFixed(2));
      heat.style.setProperty("--share", `${100 * weight}%`);
      cells.push(heat);
    }
  });
  const differs = differ(answers);
  if (answers.length > 1) cells.push(make("td", `prompt ${differs ? "differ" : "muted"}`, differs ? "differ" : "agree"));
  return make("tr", differs ? "" : "same", ...cells);
}

function bars(probabilities, text) {
  const all = Object.entries(probabilities), many = all.length > MANY;
  const pairs = many ? all.sort((one, other) => other[1] - one[1]).slice(0, MANY - 1) : all;
  const list = make("ul", "bars", ...pairs.map(([label, share]) => {
    const bar = make("i", "");
    bar.style.width = `${100 * share}%`;
    const parts = [make("span", "", label), make("span", "track", bar), make("span", "n", share.toFixed(2))];
    return make("li", label === text ? "given" : "", ...parts);
  }));
  if (many) list.append(make("li", "rest", `and ${all.length - pairs.length} labels that are less probable`));
  return list;
}

// All rows, or those that differ where the table shows these alone, with all digits.
function csv() {
  const kinds = { probabilities: "p", attention: "attention" }, compared = shown.prompts.length > 1;
  const known = (each, prompt) => [[`${prompt.id}: answer`, each.answer], ...Object.entries(kinds).flatMap(([kind, short]) =>
    Object.entries(each[kind] ?? {}).map(([name, value]) => [`${prompt.id}: ${short}(${name})`, value]))];
  const pairs = shown.answers.map((answers, place) => [
    ["row", place + 1], ...shown.columns.map(name => [name, shown.rows[place][name] ?? ""]),
    ...answers.flatMap((each, which) => known(each, shown.prompts[which])), ...(compared ? [["differ", differ(answers)]] : [])]);
  const kept = pairs.filter((_, place) => !$("only").checked || differ(shown.answers[place]));
  const written = cell => (/[",\r\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : String(cell));
  const lines = [pairs[0].map(([name]) => name), ...kept.map(line => line.map(([, value]) => value))];
  return lines.map(line => `${line.map(written).join(",")}\r\n`).join("");
}

function save() {
  const href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  Object.assign(document.createElement("a"), { href, download: "answers.csv" }).click();
  URL.revokeObjectURL(href);
}

// Events

function onSubmit(form, act) {
  form.addEventListener("submit", event => {
    event.preventDefault();
    try {
      act();
    } catch (error) {
      $("error").textContent = error.message;
    }
  });
  form.addEventListener("keydown", event => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
}

onSubmit($("key-form"), () => {
  key = $("key").value.trim();
  load();
});
onSubmit($("one"), () => answer([{ row: Object.fromEntries(fields().map(field => [field.name, field.value])) }]));
onSubmit($("many"), () => answer(parsed($("pasted").value)));
for (const select of [$("a"), $("b")]) select.addEventListener("change", choose);
$("only").addEventListener("change", () => $("table").classList.toggle("only", $("only").checked));
$("reload").addEventListener("click", load);
$("stop").addEventListener("click", () => running?.abort());
$("save").addEventListener("click", save);
load();
