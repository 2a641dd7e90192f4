// A list of texts, one a line, as a table with labels and as CSV.

import { byId, download, foreign, make, percent, plural, predictedClasses, ranking } from "./dom.js";

const MAX_ROWS = 500; // in the table; the CSV has all
const MAX_COUNTS = 12; // classes whose number of texts is shown
const LIST_PAUSE_MS = 120; // without typing, before the list is classified

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
      this.timer = setTimeout(() => this.classify(), LIST_PAUSE_MS);
    });
    for (const id of ["below", "above"]) byId(id).addEventListener("input", () => this.show());
    byId("below-option").hidden = Boolean(about.thresholds);
    byId("above-option").hidden = !about.novelty;
    byId("download").addEventListener("click", () => download("labels.csv", this.csv(), "text/csv"));
    byId("file").addEventListener("change", async ({ target }) => {
      if (!target.files.length) return;
      this.input.value = await target.files[0].text();
      this.classify();
    });
  }

  async classify() {
    this.running?.abort();
    const { signal } = (this.running = new AbortController());
    const texts = this.input.value.split(/\r\n|\r|\n/).filter((line) => line.trim());
    byId("list-status").textContent = texts.length ? `Classifying ${plural(texts.length, "text")} …` : "";
    try {
      const predictions = await this.source.predict(texts, signal);
      if (signal.aborted) return;
      this.rows = texts.map((text, i) => ({ text, ...predictions[i] }));
      this.show();
      this.showProblem("");
    } catch (error) {
      if (!signal.aborted) this.showProblem(error.message);
    }
  }

  /** Labels of a row; none if the model abstains. */
  labelsOf({ probabilities, novelty }) {
    const [below, above] = ["below", "above"].map((id) => Number(byId(id).value) / 100);
    const labels = predictedClasses(probabilities, this.about.thresholds);
    const isUnsure = !this.about.thresholds && probabilities[labels[0]] < below;
    return isUnsure || (novelty !== null && novelty > above) ? [] : labels;
  }

  show() {
    const { about, rows } = this;
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
    const names = labels.flatMap((label, place) => [place ? ", " : "", foreign(this.about.labels[label])]);
    const probabilities = labels.map((label) => percent(row.probabilities[label])).join(", ");
    const title = "Show this text in full";
    const button = make("button", { type: "button", class: "line", title }, foreign(row.text.slice(0, 400)));
    button.addEventListener("click", () => this.open(row.text));
    const number = (text) => make("td", { class: "number" }, text);
    return make(
      "tr",
      {},
      number(String(i + 1)),
      make("td", {}, button),
      labels.length ? make("td", {}, ...names) : make("td", { class: "none" }, "no label"),
      number(probabilities || "–"),
      ...(this.about.novelty ? [number(percent(row.novelty, 0))] : []),
    );
  }

  /** Show how many texts have each label, and how many have none. */
  showCounts(labels) {
    const counts = this.about.labels.map(() => 0);
    for (const label of labels.flat()) counts[label]++;
    const items = ranking(counts)
      .filter((label) => counts[label])
      .slice(0, MAX_COUNTS)
      .map((label) => [foreign(this.about.labels[label]), make("b", {}, counts[label].toLocaleString("en"))])
      .map((children) => make("span", {}, ...children));
    byId("counts").replaceChildren(...items);
    const nNone = labels.filter((own) => !own.length).length;
    const none = nNone ? `, ${nNone.toLocaleString("en")} without a label` : "";
    const more = labels.length > MAX_ROWS ? ` The table has the first ${MAX_ROWS}; the CSV has all.` : "";
    byId("list-status").textContent = labels.length ? `${plural(labels.length, "text")}${none}.${more}` : "";
  }

  csv() {
    const { labels: names, novelty } = this.about;
    const lines = this.rows.map((row) => {
      const labels = this.labelsOf(row);
      const probabilities = labels.map((label) => row.probabilities[label].toFixed(6)).join("; ");
      const label = labels.map((own) => names[own]).join("; ");
      return [row.text, label, probabilities, ...(novelty ? [row.novelty.toFixed(6)] : [])];
    });
    lines.unshift(["text", "label", "probability", ...(novelty ? ["novelty"] : [])]);
    return lines.map((cells) => `${cells.map(quoteCell).join(",")}\r\n`).join("");
  }
}

function quoteCell(cell) {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
