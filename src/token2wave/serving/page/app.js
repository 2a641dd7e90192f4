// The page: predicts and explains while you type.

import { addTabs, byId, download, foreign, make, ranking, selectTab } from "./dom.js";
import { ListView } from "./list_view.js";
import { MAX_EXPLAINED, Reading } from "./reading.js";
import { Result } from "./result.js";
import { Review } from "./review.js";
import { LocalSource, ServiceSource } from "./sources.js";

const QUICK_MS = 30; // slower predictions wait until typing pauses
const PAUSE_MS = 200;
const ANNOUNCE_MS = 900; // pause before a screen reader reads the prediction

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
    fitToContent(this.input);
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
    if (!this.answer && this.input.value.trim()) this.result.showWaiting();
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
    this.input.dispatchEvent(new Event("input"));
  }

  addExamples() {
    const buttons = byId("examples").children; // in the document from the start, so that nothing moves
    this.about.examples.forEach((example, i) => buttons[i].addEventListener("click", () => this.open(example)));
  }
}

/** Let a text box be as high as its text, also in browsers whose style sheets cannot. */
function fitToContent(input) {
  if (CSS.supports("field-sizing", "content")) return;
  input.addEventListener("input", () => {
    input.style.height = "auto";
    input.style.height = `${input.scrollHeight + 2}px`;
  });
}

function showProblem(message) {
  byId("problem").textContent = message;
  byId("problem").hidden = !message;
}

function showAbout({ facts }) {
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
  const canSave = () => (byId("model-file").hidden = false);
  source.ready.then(canSave, () => {}); // the first prediction shows the error
  byId("model-file").addEventListener("click", () => download("model.safetensors", source.bytes));
  return new Page(source, about);
}

globalThis.token2wavePage = start();
