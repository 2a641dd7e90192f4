// The classes as bars, the predicted class, and the novelty of the text.

import { breakable, byId, make, percent, plural, predictedClasses, ranking } from "./dom.js";

const MAX_BARS = 8; // up to this number, bars keep their places, because moving bars are hard to follow
const HIGH_NOVELTY = 0.95;

export class Result {
  /** @param select called with a class that was clicked. */
  constructor(labels, thresholds, select) {
    Object.assign(this, { labels, thresholds });
    this.showAll = false;
    this.rows = labels.map((label, i) => this.row(label, i, select));
    this.searched = labels.map((label) => wordsOf(label));
    this.more = byId("more-classes");
    this.filter = byId("class-filter");
    this.more.addEventListener("click", () => {
      this.showAll = !this.showAll;
      this.filter.value = "";
      this.show(this, this.selected, this.isEmpty);
    });
    this.filter.addEventListener("input", () => this.show(this, this.selected, this.isEmpty));
  }

  row(label, i, select) {
    const number = make("span", { class: "number" });
    const fill = make("span", { class: "fill" });
    const track = make("span", { class: "track", "aria-hidden": "true" }, fill);
    const name = make("span", { class: "name" }, breakable(label));
    const title = "Colour the words by their effect on this class";
    const button = make("button", { type: "button", title }, name, number, track);
    button.addEventListener("click", () => select(i));
    if (this.thresholds) {
      const mark = make("span", { class: "threshold" });
      mark.style.left = `${100 * this.thresholds[i]}%`;
      track.append(mark);
    }
    return { item: make("li", {}, button), button, number, fill };
  }

  /**
   * @param selected the class whose effects colour the words.
   * @param isEmpty whether there is no text, and so no prediction to show.
   */
  show({ probabilities, novelty, known }, selected, isEmpty) {
    Object.assign(this, { probabilities, novelty, known, selected, isEmpty });
    const predicted = predictedClasses(probabilities, this.thresholds);
    this.showBars(isEmpty ? [] : this.visibleClasses(), predicted);
    const areMany = this.labels.length > MAX_BARS;
    byId("find-class").hidden = isEmpty || !areMany;
    byId("threshold-note").hidden = isEmpty || !this.thresholds;
    this.more.hidden = isEmpty || !areMany;
    this.more.textContent = this.showAll ? "Show fewer classes" : `Show all ${this.labels.length} classes`;
    this.showLabels(predicted);
    this.showNovelty();
  }

  /** Classes with all words of the filter, the most probable first; without a filter the first few, unless all. */
  visibleClasses() {
    const words = wordsOf(this.filter.value).split(" ").filter(Boolean);
    const order = ranking(this.probabilities).filter((i) => words.every((word) => this.searched[i].includes(word)));
    byId("no-class").hidden = order.length > 0;
    if (this.labels.length <= MAX_BARS) return order.sort((a, b) => a - b);
    return order.slice(0, this.showAll || words.length ? Infinity : MAX_BARS);
  }

  showBars(visible, predicted) {
    const list = byId("bars");
    const items = visible.map((i) => this.rows[i].item);
    if (items.length !== list.children.length || items.some((item, i) => item !== list.children[i])) {
      const focused = document.activeElement;
      list.replaceChildren(...items);
      if (list.contains(focused)) focused.focus();
    }
    for (const i of visible) {
      const { item, button, number, fill } = this.rows[i];
      number.textContent = percent(this.probabilities[i]);
      fill.style.width = `${100 * this.probabilities[i]}%`;
      item.className = predicted.includes(i) ? "predicted" : "";
      button.setAttribute("aria-pressed", String(i === this.selected));
    }
  }

  /** Say that the model is still being read. */
  showWaiting() {
    byId("verdict").replaceChildren("Reading the model …");
  }

  showLabels(predicted) {
    const children = predicted.flatMap((i, place) => [place ? ", " : "", breakable(this.labels[i])]);
    if (!predicted.length) children.push("none of the labels");
    else if (!this.thresholds) children.push(make("small", {}, percent(this.probabilities[predicted[0]])));
    byId("verdict").classList.toggle("empty", this.isEmpty);
    byId("verdict").replaceChildren(...(this.isEmpty ? ["Nothing typed yet"] : children));
  }

  showNovelty() {
    byId("nothing-known").hidden = this.known || this.isEmpty;
    byId("novelty").hidden = this.novelty === null || this.isEmpty || !this.known;
    if (byId("novelty").hidden) return;
    const isHigh = this.novelty >= HIGH_NOVELTY;
    byId("novelty").classList.toggle("unusual", isHigh);
    const warning = isHigh ? "This text is unlike those the model was trained on. Do not rely on the prediction. " : "";
    const fraction = percent(this.novelty);
    byId("novelty-text").textContent = `${warning}It is more unusual than ${fraction} of the texts the model was checked on.`;
    byId("novelty-mark").style.left = `${100 * this.novelty}%`;
  }

  /** One sentence for a screen reader. */
  sentence() {
    const predicted = predictedClasses(this.probabilities, this.thresholds);
    if (!predicted.length) return "None of the labels.";
    const names = predicted.slice(0, 3).map((i) => `${this.labels[i]}, ${percent(this.probabilities[i])}`);
    const more = predicted.length > 3 ? `; and ${plural(predicted.length - 3, "more label")}` : "";
    const isHigh = this.novelty !== null && this.novelty >= HIGH_NOVELTY;
    const warning = !this.known ? " The model knows nothing of it." : isHigh ? " Unlike the training texts." : "";
    return `${names.join("; ")}${more}.${warning}`;
  }
}

/** A name in lower case, with blanks for all marks, so that a filter finds its words. */
function wordsOf(name) {
  return name.toLowerCase().replace(/[^\p{L}\p{N}\p{M}]+/gu, " ");
}
