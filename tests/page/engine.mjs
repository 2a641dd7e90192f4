// Answers of the page's engine, without a browser. Reads [{model, letters, texts, explained}] from standard
// input.

import { readFileSync } from "node:fs";
import { Classifier } from "../../src/token2wave/serving/page/classifier.js";

const cases = JSON.parse(readFileSync(0, "utf8"));
function finish(steps) {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

const plain = ({ probabilities, ...others }) => ({ probabilities: Array.from(probabilities), ...others });
const answers = cases.map(({ model, letters, texts, explained }) => {
  const classifier = finish(Classifier.load(new Uint8Array(readFileSync(model)), letters));
  return {
    predictions: texts.map((text) => plain(classifier.predict(text))),
    explanations: explained.map((text) => {
      const { parts, ...prediction } = finish(classifier.explain(text));
      return {
        ...plain(prediction),
        parts: parts.map((part) => ({ ...part, effects: Array.from(part.effects) })),
      };
    }),
  };
});
process.stdout.write(JSON.stringify(answers));
