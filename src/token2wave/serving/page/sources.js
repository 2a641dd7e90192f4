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

  async waves(text, variant) {
    return this.classifier.waves(text, variant);
  }
}
