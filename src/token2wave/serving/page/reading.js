// The text with every word coloured by what it does, and the strongest words as a table.

import { byId, foreign, made, percent, points, ranking, shortened } from "./dom.js";

const LISTED = 8;
const NOISE = 1e-6; // smaller effects come from rounding
const UNDERLINED = 0.3; // of the strongest effect; so colour alone is not what tells for from against

export class Reading {
  constructor(labels) {
    this.labels = labels;
    this.box = byId("reading");
    this.spans = [];
    this.box.addEventListener("pointerover", (event) => this.tell(this.spans.indexOf(event.target)));
    this.box.addEventListener("click", (event) => this.tell(this.spans.indexOf(event.target)));
    this.box.addEventListener("keydown", (event) => this.move(event));
  }

  /**
   * @param parts of the explanation; null where there is none, for which `reason` says why.
   * @param probabilities of the classes.
   * @param chosen the class whose effects are shown.
   */
  show(text, parts, probabilities, chosen, reason) {
    Object.assign(this, { text, parts, probabilities, chosen });
    this.at = -1;
    byId("detail").textContent = "Click on a word, or go from word to word with the arrow keys, for its figures.";
    byId("words").hidden = Boolean(parts) && !parts.length;
    byId("words-body").hidden = !parts?.length;
    if (!parts) {
      byId("reading-lead").textContent = reason;
      return;
    }
    byId("reading-lead").replaceChildren(
      "Percentage points by which the probability of ",
      foreign(this.labels[chosen]),
      " is higher because the word is there. Exact: each word is left out once.",
    );
    this.colour();
    this.showKey();
    this.showStrongest();
  }

  colour() {
    const most = Math.max(...this.parts.map(({ effects }) => Math.abs(effects[this.chosen])), NOISE);
    const pieces = [];
    let before = 0;
    this.spans = this.parts.map(({ start, end, effects, known }) => {
      const effect = effects[this.chosen];
      const span = made("span", {}, this.text.slice(start, end));
      const share = Math.abs(effect) / most;
      if (Math.abs(effect) > NOISE) {
        span.className = effect > 0 ? "for" : "against";
        span.classList.toggle("strong", share > UNDERLINED);
        span.style.setProperty("--strength", share.toFixed(2));
      }
      span.classList.toggle("unknown", !known);
      pieces.push(this.text.slice(before, start), span);
      before = end;
      return span;
    });
    this.box.replaceChildren(...pieces, this.text.slice(before));
  }

  showKey() {
    const key = byId("key");
    const name = () => foreign(this.labels[this.chosen]);
    const entries = [
      made("span", { class: "for" }, "raises ", name()),
      made("span", { class: "against" }, "lowers ", name()),
    ];
    if (this.parts.some(({ known }) => !known)) {
      entries.push(made("span", { class: "unknown" }, "unknown to the model"));
    }
    key.replaceChildren(...entries);
  }

  showStrongest() {
    const strongest = this.parts
      .filter(({ effects }) => Math.abs(effects[this.chosen]) > NOISE)
      .sort((a, b) => Math.abs(b.effects[this.chosen]) - Math.abs(a.effects[this.chosen]))
      .slice(0, LISTED);
    const most = strongest.length ? Math.abs(strongest[0].effects[this.chosen]) : 1;
    const rows = strongest.map(({ start, end, effects, energy }) => {
      const effect = effects[this.chosen];
      const bar = made("span", { class: effect > 0 ? "for" : "against" });
      bar.style.width = `${(50 * Math.abs(effect)) / most}%`;
      return made(
        "tr",
        {},
        made("th", { scope: "row" }, foreign(shortened(this.text.slice(start, end), 30))),
        made("td", { "aria-hidden": "true" }, made("span", { class: "balance" }, bar)),
        made("td", { class: "number" }, points(effect)),
        made("td", { class: "number" }, percent(energy)),
      );
    });
    byId("strongest").replaceChildren(...rows);
    byId("strongest").parentElement.hidden = !rows.length;
  }

  /** Arrow keys go from word to word. */
  move(event) {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    const step = steps[event.key];
    if (!step || !this.spans.length) return;
    event.preventDefault();
    this.tell(Math.min(Math.max(this.at + step, 0), this.spans.length - 1));
    this.spans[this.at].scrollIntoView({ block: "nearest" });
  }

  tell(i) {
    if (i < 0) return;
    this.spans[this.at]?.classList.remove("chosen");
    this.at = i;
    this.spans[i].classList.add("chosen");
    const { start, end, effects, energy, known } = this.parts[i];
    byId("detail").replaceChildren(
      made("strong", {}, foreign(shortened(this.text.slice(start, end), 40))),
      `: ${points(effects[this.chosen])} points for `,
      foreign(this.labels[this.chosen]),
      `, ${percent(energy)} of the energy${known ? "" : "; unknown to the model"}.`,
      ...this.otherwise(effects),
    );
  }

  /** What the text would be without a word, where that is another class. */
  otherwise(effects) {
    const without = Array.from(this.probabilities, (share, c) => share - effects[c]);
    const [before, after] = [ranking(this.probabilities)[0], ranking(without)[0]];
    if (before === after) return [];
    return [" Without it the most probable class is ", foreign(this.labels[after]), ` (${percent(without[after], 0)}).`];
  }
}
