// A list of texts, one a line: a table with labels, and the same as CSV.

import { byId, counted, foreign, given, made, percent } from "./dom.js";

const MAX_ROWS = 500; // shown; the CSV has all
const COUNTED = 12; // classes whose number of texts is shown
const LIST_PAUSE_MS = 120; // a list is classified once typing, or a paste, has paused

export class ListView {
  /**
   * @param open called with a text that is to be looked at by itself.
   * @param tell called with what went wrong; with nothing when all went well.
   */
  constructor(source, about, open, tell) {
    Object.assign(this, { source, about, open, tell });
    this.rows = [];
    this.input = byId("list");
    this.input.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.classify(), LIST_PAUSE_MS);
    });
    for (const id of ["below", "above"]) byId(id).addEventListener("input", () => this.show());
    byId("below-option").hidden = Boolean(about.thresholds);
    byId("above-option").hidden = !about.novelty;
    byId("download").addEventListener("click", () => this.download());
    byId("file").addEventListener("change", async (event) => {
      const [file] = event.target.files;
      if (!file) return;
      this.input.value = await file.text();
      this.classify();
    });
  }

  async classify() {
    this.running?.abort();
    const running = (this.running = new AbortController());
    const texts = this.input.value.split(/\r\n|\r|\n/).filter((line) => line.trim());
    byId("list-status").textContent = texts.length ? `Classifying ${counted(texts.length, "text")} …` : "";
    try {
      const answers = await this.source.predict(texts, running.signal);
      if (running.signal.aborted) return;
      this.rows = texts.map((text, i) => ({ text, ...answers[i] }));
      this.show();
      this.tell("");
    } catch (error) {
      if (!running.signal.aborted) this.tell(error.message);
    }
  }

  /** Labels of a row; none where the page is told to abstain. */
  labelsOf({ probabilities, novelty }) {
    const below = Number(byId("below").value) / 100;
    const above = Number(byId("above").value) / 100;
    const labels = given(probabilities, this.about.thresholds);
    const unsure = !this.about.thresholds && probabilities[labels[0]] < below;
    const strange = novelty !== null && novelty > above;
    return unsure || strange ? [] : labels;
  }

  show() {
    const { rows } = this;
    const table = byId("table");
    table.hidden = !rows.length;
    byId("download").disabled = !rows.length;
    const novelty = this.about.novelty;
    const heads = ["", "Text", "Label", "Probability", ...(novelty ? ["Unlike training"] : [])];
    const head = made(
      "tr",
      {},
      ...heads.map((name, i) => made("th", { scope: "col", class: i > 2 || !i ? "number" : "" }, name || "No.")),
    );
    table.tHead.replaceChildren(head);
    const counts = this.about.labels.map(() => 0);
    let nNone = 0;
    const lines = rows.map((row, i) => {
      const labels = this.labelsOf(row);
      for (const label of labels) counts[label]++;
      if (!labels.length) nNone++;
      return i < MAX_ROWS ? this.line(row, i, labels) : null;
    });
    table.tBodies[0].replaceChildren(...lines.filter(Boolean));
    byId("list-status").textContent = this.status(nNone);
    this.showCounts(counts);
  }

  line(row, i, labels) {
    const names = labels.flatMap((label, at) => [at ? ", " : "", foreign(this.about.labels[label])]);
    const shares = labels.map((label) => percent(row.probabilities[label])).join(", ");
    const button = made("button", { type: "button", class: "line", title: "Look at this text" }, foreign(row.text.slice(0, 400)));
    button.addEventListener("click", () => this.open(row.text));
    return made(
      "tr",
      {},
      made("td", { class: "number" }, String(i + 1)),
      made("td", {}, button),
      labels.length ? made("td", {}, ...names) : made("td", { class: "none" }, "no label"),
      made("td", { class: "number" }, shares || "–"),
      ...(this.about.novelty ? [made("td", { class: "number" }, percent(row.novelty, 0))] : []),
    );
  }

  status(nNone) {
    const { length } = this.rows;
    if (!length) return "";
    const none = nNone ? `, ${nNone.toLocaleString("en")} without a label` : "";
    const more = length > MAX_ROWS ? ` The first ${MAX_ROWS} are shown; the CSV has all.` : "";
    return `${counted(length, "text")}${none}.${more}`;
  }

  showCounts(counts) {
    const order = counts.map((_, i) => i).filter((i) => counts[i]);
    order.sort((a, b) => counts[b] - counts[a]);
    byId("counts").replaceChildren(
      ...order.slice(0, COUNTED).map((i) =>
        made("span", {}, foreign(this.about.labels[i]), made("b", {}, counts[i].toLocaleString("en"))),
      ),
    );
  }

  download() {
    const address = URL.createObjectURL(new Blob([this.csv()], { type: "text/csv" }));
    made("a", { href: address, download: "labels.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  csv() {
    const novelty = this.about.novelty;
    const lines = [["text", "label", "probability", ...(novelty ? ["novelty"] : [])]];
    for (const row of this.rows) {
      const labels = this.labelsOf(row);
      const names = labels.map((label) => this.about.labels[label]).join("; ");
      const shares = labels.map((label) => row.probabilities[label].toFixed(6)).join("; ");
      lines.push([row.text, names, shares, ...(novelty ? [row.novelty.toFixed(6)] : [])]);
    }
    return `${lines.map((cells) => cells.map(quoted).join(",")).join("\r\n")}\r\n`;
  }
}

function quoted(cell) {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
