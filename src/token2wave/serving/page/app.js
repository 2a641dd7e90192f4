// The page: predicts and explains while you type.

import { addTabs, byId, download, foreign, make, plural, ranking, selectTab, shorten } from "./dom.js";
import { ListView } from "./list_view.js";
import { MAX_EXPLAINED, Reading } from "./reading.js";
import { Result } from "./result.js";
import { Review } from "./review.js";
import { LocalSource, ServiceSource } from "./sources.js";

const QUICK_MS = 30; // slower predictions wait until typing pauses
const PAUSE_MS = 200;
const ANNOUNCE_MS = 900; // pause before a screen reader reads the prediction
const EXAMPLE_WIDTH = 60;

class Page {
  constructor(source, about) {
    Object.assign(this, { source, about });
    this.selected = null; // the class that was clicked; null for the most probable one
    this.duration = 0;
    this.result = new Result(about.labels, about.thresholds, (label) => this.selectClass(label));
    this.reading = new Reading(about.labels);
    this.list = new ListView(source, about, (text) => this.open(text), showProblem);
    this.input = byId("text");
    this.input.addEventListener("input", () => this.schedule());
    byId("clear").addEventListener("click", () => {
      this.open("");
      this.input.focus();
    });
    this.addExamples();
    this.review = new Review();
    addTabs();
    this.schedule();
  }

  schedule() {
    clearTimeout(this.timer);
    this.running?.abort();
    if (this.duration < QUICK_MS) this.update();
    else this.timer = setTimeout(() => this.update(), PAUSE_MS);
  }

  async update() {
    const { signal } = (this.running = new AbortController());
    const text = this.input.value;
    const start = performance.now();
    try {
      const predictions = await this.source.predict([text], signal);
      if (signal.aborted || !predictions) return;
      this.answer = predictions[0];
      this.duration = performance.now() - start;
      this.showPrediction();
      const explanation = text.length <= MAX_EXPLAINED ? await this.source.explain(text, signal) : null;
      if (signal.aborted) return;
      this.parts = explanation?.parts ?? null;
      this.isPartial = explanation?.complete === false; // the service ran out of time
      this.text = text;
      this.showParts();
      this.duration = Math.max(this.duration, (performance.now() - start) / 4);
      showProblem("");
    } catch (error) {
      if (!signal.aborted) showProblem(error.message);
    }
  }

  /** The class whose effects colour the words. */
  get colouredClass() {
    return this.selected ?? ranking(this.answer.probabilities)[0];
  }

  selectClass(label) {
    this.selected = this.selected === label ? null : label;
    this.showPrediction();
    if (this.text === this.input.value) this.showParts(); // else they are being computed
  }

  showPrediction() {
    this.result.show(this.answer, this.colouredClass, !this.input.value.trim());
    clearTimeout(this.announcing);
    this.announcing = setTimeout(() => {
      byId("live").textContent = this.input.value ? this.result.sentence() : "";
    }, ANNOUNCE_MS);
  }

  showParts() {
    this.reading.show(this.text, this.parts, this.answer.probabilities, this.colouredClass, this.isPartial);
  }

  /** Show a text in the first tab. */
  open(text) {
    this.input.value = text;
    this.selected = null;
    selectTab("text");
    this.schedule();
  }

  addExamples() {
    const buttons = this.about.examples.map((example) => {
      const button = make("button", { type: "button", title: example }, foreign(shorten(example, EXAMPLE_WIDTH)));
      button.addEventListener("click", () => this.open(example));
      return button;
    });
    byId("examples").append(...buttons);
    byId("examples").hidden = !buttons.length;
  }
}

function showProblem(message) {
  byId("problem").textContent = message;
  byId("problem").hidden = !message;
}

function showAbout({ labels, facts, thresholds, size }) {
  const multiLabel = thresholds ? ", several for each text" : "";
  const fileSize = size ? ` · ${size}` : "";
  byId("subtitle").textContent = `${plural(labels.length, "class", "classes")}${multiLabel}${fileSize}`;
  const entries = facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, foreign(value))]);
  byId("about").replaceChildren(...entries);
}

function takeData(id) {
  const element = byId(id);
  element.remove(); // frees the memory of the model's text
  return element.textContent;
}

function start() {
  const about = JSON.parse(takeData("page-about"));
  showAbout(about);
  if (!byId("page-model")) return new Page(new ServiceSource(about.labels), about);
  const source = new LocalSource(takeData("page-model"), JSON.parse(takeData("page-letters")));
  byId("model-file").hidden = false;
  byId("model-file").addEventListener("click", () => download("model.safetensors", source.bytes));
  return new Page(source, about);
}

try {
  globalThis.token2wavePage = start();
} catch (error) {
  showProblem(`The model in this page cannot be read: ${error.message}.`);
  throw error;
}
