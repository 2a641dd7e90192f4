// Where the page gets its predictions: from the model in the file, or from the service that sent the page.
// Both return probabilities in the order of the labels, and positions in a text as UTF-16 units.

import { Classifier } from "./classifier.js";

const SLICE_MS = 8; // of computing without a pause, so that the page stays responsive
const BASE64_CHUNK = 1 << 16; // a multiple of 4

export class LocalSource {
  /** @param base64 the model file. It is read bit by bit, so that the page draws and reacts meanwhile. */
  constructor(base64, letters) {
    this.ready = runInSlices(this.load(base64, letters)).catch((error) => {
      throw new Error(`The model in this page cannot be read: ${error.message}.`);
    });
  }

  *load(base64, letters) {
    this.bytes = yield* decodeBase64(base64);
    this.classifier = yield* Classifier.load(this.bytes, letters);
  }

  async predict(texts, signal) {
    await this.ready;
    return runInSlices(this.predictSteps(texts), signal);
  }

  *predictSteps(texts) {
    const predictions = [];
    for (const text of texts) {
      predictions.push(this.classifier.predict(text));
      yield;
    }
    return predictions;
  }

  async explain(text, signal) {
    await this.ready;
    return runInSlices(this.classifier.explain(text), signal);
  }
}

/** Run a generator and let the page draw now and then. Returns the result, or null if aborted. */
export async function runInSlices(steps, signal) {
  let end = performance.now() + SLICE_MS;
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    if (performance.now() < end) continue;
    await nextTask();
    if (signal?.aborted) return null;
    end = performance.now() + SLICE_MS;
  }
}

/** Let the page draw and react. Timers would be slow in a tab that is in the background. */
function nextTask() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => resolve(port1.close());
    port2.postMessage(null);
  });
}

/** Decode base64 without a request, which fetch("data:...") would be. */
function* decodeBase64(text) {
  const nPadding = text.slice(-2).split("=").length - 1;
  const bytes = new Uint8Array((text.length / 4) * 3 - nPadding);
  for (let start = 0; start < text.length; start += BASE64_CHUNK) {
    const binary = atob(text.slice(start, start + BASE64_CHUNK));
    for (let i = 0; i < binary.length; i++) bytes[(start / 4) * 3 + i] = binary.charCodeAt(i);
    yield;
  }
  return bytes;
}

export class ServiceSource {
  constructor(labels) {
    this.ready = Promise.resolve();
    this.indices = new Map(labels.map((label, i) => [label, i]));
  }

  async predict(texts, signal) {
    const body = { texts, top_k: this.indices.size, novelty: true };
    const { predictions } = await this.post("predict", body, signal);
    return predictions.map(({ top, novelty, known }) => {
      const probabilities = new Array(this.indices.size).fill(0);
      for (const { label, probability } of top) probabilities[this.indices.get(label)] = probability;
      return { probabilities, novelty, known };
    });
  }

  async explain(text, signal) {
    const { parts, complete } = await this.post("explain", { text, unit: "word" }, signal);
    const units = [0]; // where each code point begins, in UTF-16 units
    for (const character of text) units.push(units.at(-1) + character.length);
    return { complete, parts: parts.map((part) => ({ ...part, start: units[part.start], end: units[part.end] })) };
  }

  async post(path, body, signal) {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
    const document = await response.json();
    if (response.ok) return document;
    throw new Error(`${document.error?.problem ?? response.statusText}; ${document.error?.hint ?? "try again"}`);
  }
}
