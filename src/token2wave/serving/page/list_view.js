// A list of texts, one a line, as a table with labels and as CSV.

import { breakable, byId, download, foreign, make, percent, plural, predictedClasses, ranking } from "./dom.js";
import { runInSlices } from "./sources.js";
import { csvLine, guessTable, hasRows, readLines, readRows, readText } from "./table.js";

const MAX_ROWS = 500; // in the table; the CSV has all
const MAX_COUNTS = 12; // classes whose number of texts is shown
const LIST_PAUSE_MS = 120; // without typing, before the list is classified
const CHUNK_TEXTS = 200; // also the texts of a request to a service
const CHUNK_CHARACTERS = 100_000;

export class ListView {
  /**
   * @param open called with a text that was clicked.
   * @param showProblem called with the message of an error, or with "" if there was none.
   */
  constructor(source, about, open, showProblem) {
    Object.assign(this, { source, about, open, showProblem });
    this.rows = [];
    this.input = byId("list");
    this.input.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.load(this.input.value), LIST_PAUSE_MS);
    });
    for (const id of ["below", "above"]) byId(id).addEventListener("input", () => this.show());
    byId("below-option").hidden = Boolean(about.thresholds);
    byId("above-option").hidden = !about.novelty;
    byId("download").addEventListener("click", () => this.save());
    byId("column").addEventListener("change", () => this.classify());
    byId("cancel").addEventListener("click", () => this.running.abort());
    byId("file").addEventListener("change", ({ target }) => this.openFile(target));
  }

  async openFile(target) {
    const [file] = target.files;
    if (!file) return;
    clearTimeout(this.timer);
    this.running?.abort();
    this.input.value = ""; // a long text in a text area stops the browser
    try {
      const text = await readText(file);
      this.load(text, file.name, /\.(csv|tsv)$/i.test(file.name));
    } catch (error) {
      this.load("");
      this.showProblem(error.message);
    }
    target.value = ""; // so that the same file can be opened again
  }

  /** Choose how to read a text, and classify it. */
  load(text, name = "", isTableFile = false) {
    const { delimiter, header, column } = guessTable(text, isTableFile);
    Object.assign(this, { text, delimiter });
    const options = ["Each line is a text", ...header.map((title, i) => `Column ${i + 1}: ${title}`)];
    const elements = options.map((title, i) => make("option", { value: i - 1, dir: "auto" }, title.slice(0, 60)));
    byId("column").replaceChildren(...elements);
    byId("column").value = column;
    byId("column-option").hidden = !name && column < 0 && !delimiter;
    byId("file-name").textContent = name;
    return this.classify();
  }

  async classify() {
    this.running?.abort();
    const { signal } = (this.running = new AbortController());
    const column = Number(byId("column").value);
    Object.assign(this, { rows: [], header: ["text"] });
    this.showProblem("");
    byId("list-status").textContent = "";
    byId("work").hidden = !this.text;
    byId("progress").removeAttribute("value");
    try {
      const rows = await runInSlices(this.readSteps(column), signal);
      for (let first = 0; !signal.aborted && first < rows.length; ) {
        let [last, nCharacters] = [first, 0];
        while (last < rows.length && last < first + CHUNK_TEXTS && nCharacters < CHUNK_CHARACTERS) {
          nCharacters += (rows[last++][Math.max(column, 0)] ?? "").length;
        }
        const chunk = rows.slice(first, last);
        const texts = chunk.map((cells) => cells[Math.max(column, 0)] ?? "");
        const predictions = await this.source.predict(texts, signal);
        if (signal.aborted) break;
        chunk.forEach((cells, i) => this.rows.push(this.summary(cells, texts[i], predictions[i])));
        byId("progress").value = last / rows.length;
        byId("list-status").textContent = `Classified ${last.toLocaleString("en")} of ${plural(rows.length, "text")} …`;
        first = last;
      }
    } catch (error) {
      if (!signal.aborted) this.showProblem(error.message);
    }
    if (this.running.signal !== signal) return; // another list is being classified
    byId("work").hidden = true;
    this.show();
    if (signal.aborted) byId("list-status").prepend("Cancelled. ");
  }

  /** Read the rows, one a step; and keep the header. */
  *readSteps(column) {
    const rows = [];
    const reader = column < 0 ? readLines(this.text) : readRows(this.text, this.delimiter);
    if (column >= 0) this.header = reader.next().value ?? [];
    for (const row of reader) {
      rows.push(row);
      if (column >= 0 && row.some((cell) => hasRows(cell, this.delimiter, this.header.length))) {
        const problem = `Row ${rows.length} after the header: a quote opens a cell that runs over lines that look like rows`;
        throw new Error(`${problem}; double that quote, or choose "Each line is a text"`);
      }
      yield;
    }
    return rows;
  }

  /** What the table and the CSV need of a prediction: few numbers, because there can be many rows. */
  summary(cells, text, { probabilities, novelty, known }) {
    const labels = predictedClasses(probabilities, this.about.thresholds);
    return { cells, text, labels, probabilities: labels.map((label) => probabilities[label]), novelty, known };
  }

  /** Labels of a row; none if the model abstains, as should_abstain in Python. */
  labelsOf({ labels, probabilities, novelty, known }) {
    const [below, above] = this.bounds;
    const isUnsure = !this.about.thresholds && probabilities[0] < below;
    if (!known && (below > 0 || above < 1)) return [];
    return isUnsure || (novelty !== null && novelty > above) ? [] : labels;
  }

  show() {
    const { about, rows } = this;
    this.bounds = ["below", "above"].map((id) => Number(byId(id).value) / 100);
    byId("table").hidden = !rows.length;
    byId("download").disabled = !rows.length;
    const names = ["No.", "Text", "Label", "Probability", ...(about.novelty ? ["Novelty"] : [])];
    const cells = names.map((name, i) => make("th", { scope: "col", class: i > 2 || !i ? "number" : "" }, name));
    byId("table").tHead.replaceChildren(make("tr", {}, ...cells));
    const labels = rows.map((row) => this.labelsOf(row));
    const lines = rows.slice(0, MAX_ROWS).map((row, i) => this.line(row, i, labels[i]));
    byId("table").tBodies[0].replaceChildren(...lines);
    this.showCounts(labels);
  }

  line(row, i, labels) {
    const names = labels.flatMap((label, place) => [place ? ", " : "", breakable(this.about.labels[label])]);
    const probabilities = row.probabilities.slice(0, labels.length).map((each) => percent(each)).join(", ");
    const title = "Show this text in full";
    const button = make("button", { type: "button", class: "line", title }, foreign(row.text.slice(0, 400)));
    button.addEventListener("click", () => this.open(row.text));
    const number = (text) => make("td", { class: "number" }, text);
    const unknown = row.known ? [] : [make("small", { class: "muted" }, " (nothing known)")];
    return make(
      "tr",
      {},
      number(String(i + 1)),
      make("td", {}, button),
      make("td", labels.length ? {} : { class: "none" }, ...(labels.length ? names : ["no label"]), ...unknown),
      number(probabilities || "–"),
      ...(this.about.novelty ? [number(percent(row.novelty))] : []),
    );
  }

  /** Show how many texts have each label, and how many have none. */
  showCounts(labels) {
    const counts = this.about.labels.map(() => 0);
    for (const label of labels.flat()) counts[label]++;
    const items = ranking(counts)
      .filter((label) => counts[label])
      .slice(0, MAX_COUNTS)
      .map((label) => [breakable(this.about.labels[label]), make("b", {}, counts[label].toLocaleString("en"))])
      .map((children) => make("span", {}, ...children));
    byId("counts").replaceChildren(...items);
    const nNone = labels.filter((own) => !own.length).length;
    const none = nNone ? `, ${nNone.toLocaleString("en")} without a label` : "";
    const more = labels.length > MAX_ROWS ? ` The table has the first ${MAX_ROWS}; the CSV has all.` : "";
    byId("list-status").textContent = labels.length ? `${plural(labels.length, "text")}${none}.${more}` : "";
  }

  async save() {
    const lines = await runInSlices(this.csvSteps());
    download("labels.csv", lines, "text/csv");
  }

  /** Lines of the CSV: all columns of the input, then the predictions. */
  *csvSteps() {
    const { labels: names, novelty } = this.about;
    const width = this.rows.reduce((width, row) => Math.max(width, row.cells.length), this.header.length);
    const filled = (cells) => Array.from({ length: width }, (_, i) => cells[i] ?? "");
    const title = (name) => (this.header.includes(name) ? title(`predicted_${name}`) : name);
    const titles = ["label", "probability", "known", ...(novelty ? ["novelty"] : [])].map(title);
    const lines = [csvLine([...filled(this.header), ...titles])];
    for (const row of this.rows) {
      const labels = this.labelsOf(row);
      const probabilities = row.probabilities.slice(0, labels.length).map((each) => each.toFixed(6));
      const predictions = [labels.map((label) => names[label]).join("; "), probabilities.join("; "), String(row.known)];
      lines.push(csvLine([...filled(row.cells), ...predictions, ...(novelty ? [row.novelty.toFixed(6)] : [])]));
      yield;
    }
    return lines;
  }
}
