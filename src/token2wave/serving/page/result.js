// The classes as bars, what the text is said to be, and how unlike training it is.

import { byId, counted, foreign, given, made, percent, ranking } from "./dom.js";

const FEW = 8; // classes; so many keep their places, since bars that move are easier followed than names
const STRANGE = 0.95;
const UNKNOWN_SHARE = "Unlike most texts that the model was made for: take its word with care.";

export class Result {
  /** @param choose called with a class that was clicked. */
  constructor(labels, thresholds, choose) {
    this.labels = labels;
    this.thresholds = thresholds;
    this.all = false;
    this.rows = labels.map((label, i) => this.row(label, i, choose));
    this.more = byId("more-classes");
    this.more.hidden = labels.length <= FEW;
    byId("threshold-note").hidden = !thresholds;
    this.more.addEventListener("click", () => {
      this.all = !this.all;
      this.show(this.probabilities, this.novelty, this.chosen, this.empty);
    });
  }

  row(label, i, choose) {
    const share = made("span", { class: "number" });
    const fill = made("span", { class: "fill" });
    const track = made("span", { class: "track", "aria-hidden": "true" }, fill);
    const button = made("button", { type: "button" }, made("span", { class: "name" }, foreign(label)), share, track);
    button.title = "Colour the words by what they do to this class";
    button.addEventListener("click", () => choose(i));
    if (this.thresholds) {
      const mark = made("span", { class: "threshold" });
      mark.style.left = `${100 * this.thresholds[i]}%`;
      track.append(mark);
    }
    return { item: made("li", {}, button), button, share, fill };
  }

  /**
   * @param chosen the class by which words are coloured.
   * @param empty whether there is no text; what the model says of nothing is no verdict.
   */
  show(probabilities, novelty, chosen, empty) {
    Object.assign(this, { probabilities, novelty, chosen, empty });
    const order = ranking(probabilities);
    const labels = given(probabilities, this.thresholds);
    const few = this.labels.length <= FEW;
    const shown = few ? probabilities.map((_, i) => i) : this.all ? order : order.slice(0, FEW);
    const places = Array.from(shown, (i) => this.rows[i].item);
    const list = byId("bars");
    const current = Array.from(list.children);
    if (current.length !== places.length || current.some((item, i) => item !== places[i])) {
      const focused = document.activeElement;
      list.replaceChildren(...places);
      if (list.contains(focused)) focused.focus();
    }
    for (const i of shown) {
      const { item, button, share, fill } = this.rows[i];
      share.textContent = percent(probabilities[i]);
      fill.style.width = `${100 * probabilities[i]}%`;
      item.className = labels.includes(i) && !empty ? "given" : "";
      button.setAttribute("aria-pressed", String(i === chosen && !empty));
    }
    this.more.textContent = this.all ? "Show fewer" : `Show all ${this.labels.length} classes`;
    this.showVerdict(labels);
    this.showNovelty();
  }

  showVerdict(labels) {
    const names = labels.map((i) => foreign(this.labels[i]));
    const parts = names.flatMap((name, i) => (i ? [", ", name] : [name]));
    if (!labels.length) parts.push("none of the labels");
    if (labels.length && !this.thresholds) {
      parts.push(made("small", {}, percent(this.probabilities[labels[0]])));
    }
    byId("verdict").classList.toggle("empty", this.empty);
    byId("verdict").replaceChildren(...(this.empty ? ["Nothing typed yet"] : parts));
  }

  showNovelty() {
    const box = byId("novelty");
    box.hidden = this.novelty === null || this.empty;
    if (box.hidden) return;
    const strange = this.novelty >= STRANGE;
    box.classList.toggle("strange", strange);
    const share = `More unlike training than ${percent(this.novelty, this.novelty > 0.99 ? 1 : 0)} of usual texts.`;
    byId("novelty-text").textContent = strange ? `${UNKNOWN_SHARE} ${share}` : share;
    byId("novelty-mark").style.left = `${100 * this.novelty}%`;
  }

  /** One sentence for a screen reader. */
  sentence() {
    const labels = given(this.probabilities, this.thresholds);
    if (!labels.length) return "None of the labels.";
    const said = labels.slice(0, 3).map((i) => `${this.labels[i]}, ${percent(this.probabilities[i], 0)}`);
    const rest = labels.length > 3 ? `; and ${counted(labels.length - 3, "more label")}` : "";
    const warning = this.novelty !== null && this.novelty >= STRANGE ? " Unlike training." : "";
    return `${said.join("; ")}${rest}.${warning}`;
  }
}
