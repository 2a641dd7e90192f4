// Where the page's answers come from: the model inside the file, or the service that serves the page.
// Both give the same: probabilities in the labels' order, and places in a text as UTF-16 units.

import { bytesOfBase64 } from "./bytes.js";
import { Classifier } from "./classifier.js";

const SLICE_MS = 8; // of work at a time, so that the page keeps answering
const TEXTS_IN_REQUEST = 200;

/** Let the page draw and take events. */
export function breath() {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** The engine on a model file in base64. */
export class LocalSource {
  constructor(base64, letters) {
    this.bytes = bytesOfBase64(base64);
    this.classifier = new Classifier(this.bytes, letters);
  }

  async predict(texts, signal) {
    const answers = [];
    let end = performance.now() + SLICE_MS;
    for (const text of texts) {
      answers.push(this.classifier.predict(text));
      if (performance.now() < end) continue;
      await breath();
      if (signal?.aborted) return null;
      end = performance.now() + SLICE_MS;
    }
    return answers;
  }

  async explain(text, signal) {
    const steps = this.classifier.explaining(text);
    let end = performance.now() + SLICE_MS;
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
      if (performance.now() < end) continue;
      await breath();
      if (signal?.aborted) return null;
      end = performance.now() + SLICE_MS;
    }
  }
}

/** The service that this page came from. */
export class ServiceSource {
  constructor(labels) {
    this.places = new Map(labels.map((label, i) => [label, i]));
  }

  async predict(texts, signal) {
    const answers = [];
    for (let first = 0; first < texts.length; first += TEXTS_IN_REQUEST) {
      const some = texts.slice(first, first + TEXTS_IN_REQUEST);
      const wanted = { texts: some, top_k: this.places.size, novelty: true };
      const { predictions } = await this.ask("predict", wanted, signal);
      for (const { top, novelty } of predictions) {
        const probabilities = new Array(this.places.size).fill(0);
        for (const { label, probability } of top) probabilities[this.places.get(label)] = probability;
        answers.push({ probabilities, novelty });
      }
    }
    return answers;
  }

  async explain(text, signal) {
    const { parts } = await this.ask("explain", { text, unit: "word" }, signal);
    const units = unitsOfCodePoints(text);
    return { parts: parts.map((part) => ({ ...part, start: units[part.start], end: units[part.end] })) };
  }

  async ask(path, wanted, signal) {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(wanted),
      signal,
    });
    const found = await answer.json();
    if (!answer.ok) throw new Error(`${found.error?.problem ?? answer.statusText}; ${found.error?.hint ?? "try again"}`);
    return found;
  }
}

/** For each code point of a text, and its end, the UTF-16 unit where it begins. */
function unitsOfCodePoints(text) {
  const units = [0];
  for (const character of text) units.push(units[units.length - 1] + character.length);
  return units;
}
