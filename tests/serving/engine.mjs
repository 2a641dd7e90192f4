// Answers of the page's engine, without a browser: reads {letters, model, texts, explained} from standard input.

import { readFileSync } from "node:fs";
import { Classifier } from "../../src/token2wave/serving/page/classifier.js";

const { letters, model, texts, explained = [], waves = [] } = JSON.parse(readFileSync(0, "utf8"));
const classifier = new Classifier(new Uint8Array(readFileSync(model)), letters);
const plain = ({ probabilities, novelty }) => ({ probabilities: Array.from(probabilities), novelty });
const answers = {
  labels: classifier.labels,
  predictions: texts.map((text) => plain(classifier.predict(text))),
  explanations: explained.map((text) => {
    const { parts, ...prediction } = classifier.explain(text);
    return {
      ...plain(prediction),
      parts: parts.map((part) => ({ ...part, effects: Array.from(part.effects) })),
    };
  }),
  waves: waves.map(([text, variant]) => classifier.waves(text, variant)),
};
process.stdout.write(JSON.stringify(answers));
