// The page: what happens when someone types.

import { byId, counted, foreign, made, ranking, shortened } from "./dom.js";
import { ListView } from "./list_view.js";
import { Reading } from "./reading.js";
import { Result } from "./result.js";
import { LocalSource, ServiceSource } from "./sources.js";

const QUICK_MS = 30; // what takes longer waits until typing pauses
const PAUSE_MS = 200;
const SAID_AFTER_MS = 900; // a screen reader is told once typing has paused
const MAX_CHARACTERS_EXPLAINED = 10_000; // a service's own limit, too
const EXAMPLE_COLUMNS = 60;

class Page {
  constructor(source, about) {
    Object.assign(this, { source, about });
    this.wanted = null; // class that was clicked; else the most probable one colours the words
    this.duration = 0;
    this.result = new Result(about.labels, about.thresholds, (label) => this.choose(label));
    this.reading = new Reading(about.labels);
    this.list = new ListView(source, about, (text) => this.open(text), showProblem);
    this.input = byId("text");
    this.input.addEventListener("input", () => this.changed());
    byId("clear").addEventListener("click", () => {
      this.open("");
      this.input.focus();
    });
    this.addExamples();
    this.addTabs();
    this.changed();
  }

  changed() {
    clearTimeout(this.timer);
    this.running?.abort();
    if (this.duration < QUICK_MS) this.update();
    else this.timer = setTimeout(() => this.update(), PAUSE_MS);
  }

  async update() {
    const { signal } = (this.running = new AbortController());
    const text = this.input.value;
    const before = performance.now();
    try {
      const answers = await this.source.predict([text], signal);
      if (signal.aborted || !answers) return;
      this.answer = answers[0];
      this.duration = performance.now() - before;
      this.showAnswer();
      const explained = text.length <= MAX_CHARACTERS_EXPLAINED;
      const explanation = explained ? await this.source.explain(text, signal) : null;
      if (signal.aborted) return;
      this.parts = explanation?.parts ?? null;
      this.text = text;
      this.showParts();
      this.duration = Math.max(this.duration, (performance.now() - before) / 4);
      showProblem("");
    } catch (error) {
      if (!signal.aborted) showProblem(error.message);
    }
  }

  /** The class that colours the words. */
  get chosen() {
    return this.wanted ?? ranking(this.answer.probabilities)[0];
  }

  choose(label) {
    this.wanted = this.wanted === label ? null : label;
    this.showAnswer();
    if (this.text === this.input.value) this.showParts(); // else they are still computed
  }

  showAnswer() {
    const { probabilities, novelty } = this.answer;
    this.result.show(probabilities, novelty, this.chosen, !this.input.value.trim());
    clearTimeout(this.saying);
    this.saying = setTimeout(() => {
      byId("live").textContent = this.input.value ? this.result.sentence() : "";
    }, SAID_AFTER_MS);
  }

  showParts() {
    const reason = `Of a text of more than ${MAX_CHARACTERS_EXPLAINED.toLocaleString("en")} characters only the classes are shown.`;
    this.reading.show(this.text, this.parts, this.answer.probabilities, this.chosen, reason);
  }

  /** Look at a text by itself. */
  open(text) {
    this.input.value = text;
    this.wanted = null;
    this.select("text");
    this.changed();
  }

  addExamples() {
    const buttons = this.about.examples.map((example) => {
      const shown = foreign(shortened(example, EXAMPLE_COLUMNS));
      const button = made("button", { type: "button", title: example }, shown);
      button.addEventListener("click", () => this.open(example));
      return button;
    });
    byId("examples").append(...buttons);
    byId("examples").hidden = !buttons.length;
  }

  addTabs() {
    const tabs = ["text", "list"];
    for (const name of tabs) {
      const tab = byId(`tab-${name}`);
      tab.addEventListener("click", () => this.select(name));
      tab.addEventListener("keydown", (event) => {
        if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
        const other = tabs[1 - tabs.indexOf(name)];
        this.select(other);
        byId(`tab-${other}`).focus();
      });
    }
  }

  select(wanted) {
    for (const name of ["text", "list"]) {
      const tab = byId(`tab-${name}`);
      tab.setAttribute("aria-selected", String(name === wanted));
      tab.tabIndex = name === wanted ? 0 : -1;
      byId(`panel-${name}`).hidden = name !== wanted;
    }
  }
}

function showProblem(message) {
  byId("problem").textContent = message;
  byId("problem").hidden = !message;
}

function showAbout({ labels, facts, thresholds, size }) {
  const several = thresholds ? ", of which several may hold at once" : "";
  const inAll = size ? ` · ${size}` : "";
  byId("subtitle").textContent = `${counted(labels.length, "class", "classes")}${several}${inAll}`;
  const entries = facts.flatMap(([name, value]) => [made("dt", {}, name), made("dd", {}, made("bdi", {}, value))]);
  byId("about").replaceChildren(...entries);
}

function offerModelFile(bytes) {
  const button = byId("model-file");
  button.hidden = false;
  button.addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([bytes]));
    made("a", { href: address, download: "model.safetensors" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });
}

function dataOf(id) {
  const element = byId(id);
  const text = element.textContent;
  element.remove(); // a model in text form needs its room twice
  return text;
}

function start() {
  const about = JSON.parse(dataOf("page-about"));
  showAbout(about);
  if (!byId("page-model")) return new Page(new ServiceSource(about.labels), about);
  const source = new LocalSource(dataOf("page-model"), JSON.parse(dataOf("page-letters")));
  offerModelFile(source.bytes);
  return new Page(source, about);
}

try {
  globalThis.token2wavePage = start();
} catch (error) {
  showProblem(`The model in this page cannot be read: ${error.message}.`);
  throw error;
}
