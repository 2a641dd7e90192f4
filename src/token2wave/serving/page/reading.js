// The text with each word coloured by its effect, and a table of the strongest words.

import { breakable, byId, foreign, make, percent, points, ranking, shorten } from "./dom.js";

export const MAX_EXPLAINED = 10_000; // characters; the default limit of the service, too
const MAX_STRONGEST = 8;
const NOISE = 1e-6; // smaller effects come from rounding
const UNDERLINED = 0.3; // of the strongest effect; so that colour is not the only sign
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

export class Reading {
  constructor(labels) {
    this.labels = labels;
    this.box = byId("reading");
    this.spans = [];
    for (const event of ["pointerover", "click"]) {
      this.box.addEventListener(event, ({ target }) => this.showDetail(this.spans.indexOf(target)));
    }
    this.box.addEventListener("keydown", (event) => this.move(event));
  }

  /**
   * @param parts the parts of the explanation; null if the text is too long.
   * @param probabilities of the classes.
   * @param label the class whose effects are shown.
   * @param isPartial whether the parts end before the text does.
   */
  show(text, parts, probabilities, label, isPartial) {
    Object.assign(this, { text, parts, probabilities, label });
    this.current = -1;
    byId("detail").textContent = "Click a word to see its figures, or move to it with the arrow keys.";
    byId("words").hidden = parts?.length === 0;
    byId("words-body").hidden = !parts?.length;
    const lead = parts
      ? ["How many points each word adds to the probability of ", this.name, " or takes from it. The page leaves the word out and predicts again."]
      : [`Texts of more than ${MAX_EXPLAINED.toLocaleString("en")} characters are not explained.`];
    if (isPartial) lead.push(" Only the beginning of this text was explained, because it took too long.");
    byId("reading-lead").replaceChildren(...lead);
    if (!parts) return;
    const strongest = parts
      .filter(({ effects }) => Math.abs(effects[label]) > NOISE)
      .sort((a, b) => Math.abs(b.effects[label]) - Math.abs(a.effects[label]));
    const max = strongest.length ? Math.abs(strongest[0].effects[label]) : 1;
    this.colour(max);
    const rows = strongest.slice(0, MAX_STRONGEST).map((part) => this.strongestRow(part, max));
    byId("strongest").replaceChildren(...rows);
    byId("strongest").parentElement.hidden = !rows.length;
  }

  get name() {
    return breakable(this.labels[this.label]);
  }

  word({ start, end }, maxCharacters) {
    return foreign(shorten(this.text.slice(start, end), maxCharacters));
  }

  colour(max) {
    const pieces = [];
    let previousEnd = 0;
    this.spans = this.parts.map(({ start, end, effects, known }) => {
      const span = make("span", {}, this.text.slice(start, end));
      const strength = Math.abs(effects[this.label]) / max;
      if (Math.abs(effects[this.label]) > NOISE) {
        span.className = effects[this.label] > 0 ? "for" : "against";
        span.classList.toggle("strong", strength > UNDERLINED);
        span.style.setProperty("--strength", strength.toFixed(2));
      }
      span.classList.toggle("unknown", !known);
      pieces.push(this.text.slice(previousEnd, start), span);
      previousEnd = end;
      return span;
    });
    this.box.replaceChildren(...pieces, this.text.slice(previousEnd));
    const key = [
      make("span", { class: "for" }, "raises ", this.name),
      make("span", { class: "against" }, "lowers ", this.name),
    ];
    if (this.parts.some(({ known }) => !known)) key.push(make("span", { class: "unknown" }, "unknown word"));
    byId("key").replaceChildren(...key);
  }

  strongestRow(part, max) {
    const effect = part.effects[this.label];
    const bar = make("span", { class: effect > 0 ? "for" : "against" });
    bar.style.width = `${(50 * Math.abs(effect)) / max}%`;
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, this.word(part, 30)),
      make("td", { "aria-hidden": "true" }, make("span", { class: "balance" }, bar)),
      make("td", { class: "number" }, points(effect)),
    );
  }

  /** Arrow keys move from word to word. */
  move(event) {
    const step = STEPS[event.key];
    if (!step || !this.spans.length) return;
    event.preventDefault();
    this.showDetail(Math.min(Math.max(this.current + step, 0), this.spans.length - 1));
    this.spans[this.current].scrollIntoView({ block: "nearest" });
  }

  showDetail(i) {
    if (i < 0) return;
    this.spans[this.current]?.classList.remove("current");
    this.current = i;
    this.spans[i].classList.add("current");
    const { effects, energy, known } = this.parts[i];
    const without = Array.from(this.probabilities, (probability, c) => probability - effects[c]);
    const [label, labelWithout] = [this.probabilities, without].map((numbers) => ranking(numbers)[0]);
    const other = [breakable(this.labels[labelWithout]), ` (${percent(without[labelWithout])}).`];
    byId("detail").replaceChildren(
      make("strong", {}, this.word(this.parts[i], 40)),
      `: ${points(effects[this.label])} points for `,
      this.name,
      `, ${percent(energy)} of the text's energy${known ? "" : "; unknown word"}.`,
      ...(label === labelWithout ? [] : [" Without it, the most probable class is ", ...other]),
    );
  }
}
