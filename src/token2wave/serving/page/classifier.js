// Classifies and explains texts, as token2wave.Classifier does in Python.

import { readModelFile } from "./model_file.js";
import { addMoments, Network, probabilitiesOf } from "./network.js";
import { WordPieceFeatures } from "./wordpiece.js";
import { expandLetterTable, WordFeatures } from "./words.js";

const NOVELTY_QUANTILES = [0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99];
const PRIOR_FEATURES = 10;

export class Classifier {
  /**
   * Make a classifier. A generator, which yields now and then and returns the classifier.
   *
   * @param bytes the model file.
   * @param letters the letter table of letters.py.
   */
  static *load(bytes, letters) {
    const file = yield* readModelFile(bytes);
    const table = yield* expandLetterTable(letters);
    return new Classifier(file, table);
  }

  constructor({ metadata, tensors }, table) {
    this.labels = metadata.labels;
    this.network = new Network(metadata.network, tensors);
    const { kind, settings } = metadata.features;
    this.features =
      kind === "words"
        ? new WordFeatures(settings, tensors["features.buckets"], table, tensors["features.oov_hashes"])
        : new WordPieceFeatures(settings, tensors["features.vocabulary"], table);
    this.multiLabel = this.network.multi_label;
    this.thresholds = this.multiLabel ? metadata.thresholds ?? this.labels.map(() => 0.5) : null;
    this.noveltyReference = metadata.novelty ?? null;
  }

  /**
   * Predict the probability of each class, the novelty of the text (null if the model cannot measure it), and
   * whether the model knows any word or n-gram of it.
   */
  predict(text) {
    return this.prediction(this.read(text));
  }

  /** Tokens, features, words, states of the words, and the sums of all of them. */
  read(text) {
    const { features: table, network } = this;
    const tokens = table.tokenize(text);
    const { features, nUnknown } = table.lookUp(tokens);
    const sums = network.emptySums();
    const words = [];
    const wordOfToken = new Int32Array(tokens.starts.length).fill(-1);
    if (table.first !== undefined) {
      network.addFirst(sums, table.first);
      words.push(table.first);
    }
    for (const { row, first, nTokens } of features) {
      network.add(sums, row);
      if (nTokens === 1) wordOfToken[first] = words.push(row) - 1;
    }
    if (table.last !== undefined) {
      network.add(sums, table.last);
      words.push(table.last);
    }
    for (const entries of tokens.oov) network.addOov(sums, entries);
    const states = network.context_width ? words.map((_, place) => network.contextState(words, place)) : [];
    for (const state of states) addMoments(sums.words, state);
    return { tokens, features, nUnknown, words, wordOfToken, states, sums };
  }

  prediction({ tokens, sums, features, nUnknown }) {
    const logits = this.network.logits(sums);
    const hasRow = features.some(({ row }) => this.features.isKnown(row));
    const known = hasRow || tokens.oov.some((entries) => entries.length > 0);
    return {
      probabilities: probabilitiesOf(logits, this.multiLabel),
      novelty: this.noveltyReference && (known ? this.novelty(nUnknown, sums.features.count, logits) : 1),
      known,
    };
  }

  /** See token2wave/inference/novelty.py. */
  novelty(nUnknown, nKnown, logits) {
    const { usual_share: prior, unknown, evidence, scores } = this.noveltyReference;
    const fraction = (nUnknown + PRIOR_FEATURES * prior) / (nUnknown + nKnown + PRIOR_FEATURES);
    const highest = Math.max(...logits);
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - highest), 0);
    const score =
      (fraction - unknown[0]) / unknown[1] + (evidence[0] - highest - Math.log(sum)) / evidence[1];
    const last = scores.length - 1;
    if (score < scores[0]) return 0;
    if (score >= scores[last]) return 1 - (1 - NOVELTY_QUANTILES[last]) * Math.exp(scores[last] - score);
    const i = scores.findLastIndex((reference) => reference <= score);
    const weight = (score - scores[i]) / (scores[i + 1] - scores[i]);
    return NOVELTY_QUANTILES[i] + weight * (NOVELTY_QUANTILES[i + 1] - NOVELTY_QUANTILES[i]);
  }

  /**
   * Predict, and compute the exact effect of each word, as token2wave/explanation/explain.py does: its fraction
   * of the energy, and for each class the probability minus that of the text without the word.
   *
   * A generator, which yields between two words and returns the explanation, so that the page can pause.
   */
  *explain(text) {
    const read = this.read(text);
    const { features, tokens, words, wordOfToken } = read;
    const prediction = this.prediction(read);
    const energies = this.energyFractions(features, tokens.starts.length);
    const parts = [];
    for (const [first, last] of this.features.units(tokens)) {
      const without = probabilitiesOf(this.network.logits(this.sumsWithout(read, first, last)), this.multiLabel);
      const places = wordOfToken.subarray(first, last);
      parts.push({
        start: tokens.starts[first],
        end: tokens.ends[last - 1],
        energy: energies.subarray(first, last).reduce((sum, energy) => sum + energy, 0),
        effects: prediction.probabilities.map((probability, c) => probability - without[c]),
        known:
          places.some((place) => place >= 0 && this.features.isKnown(words[place])) ||
          tokens.oov.slice(first, last).some((entries) => entries.length > 0),
      });
      yield;
    }
    return { ...prediction, parts };
  }

  /** Fraction of the energy of all features that each token has; the tokens of an n-gram share its energy. */
  energyFractions(features, nTokens) {
    const energies = new Float64Array(nTokens);
    for (const { row, first, nTokens: n } of features) {
      const energy = this.network.variantsOf(row).reduce((sum, value) => sum + value * value, 0);
      for (let i = first; i < first + n; i++) energies[i] += energy / n;
    }
    const total = energies.reduce((sum, energy) => sum + energy, 0);
    return total > 0 ? energies.map((energy) => energy / total) : energies;
  }

  /** Sums of the text without the tokens from `begin` to `end`; their neighbours become adjacent. */
  sumsWithout({ tokens, words, wordOfToken, states, sums }, begin, end) {
    const { features, network } = this;
    const changed = structuredClone(sums);
    const change = (numbers, factor) => {
      const row = features.rowOf(tokens.keys, numbers);
      if (row >= 0) network.add(changed, row, factor);
    };
    const nTokens = tokens.starts.length;
    for (let n = 1; n <= features.longestNgram; n++) {
      for (let first = Math.max(begin - n + 1, 0); first < end && first + n <= nTokens; first++) {
        change(range(first, first + n), -1);
        const afterEnd = first + n + end - begin;
        if (first < begin && afterEnd <= nTokens) change([...range(first, begin), ...range(end, afterEnd)], 1);
      }
    }
    for (const entries of tokens.oov.slice(begin, end)) network.addOov(changed, entries, -1);
    const places = wordOfToken.subarray(begin, end).filter((place) => place >= 0);
    if (!network.context_width || !places.length) return changed;
    const [left, right] = [places[0], places.at(-1) + 1];
    const radius = network.context_radius;
    const near = [
      ...range(Math.max(left - 2 * radius, 0), left),
      ...range(right, Math.min(right + 2 * radius, words.length)),
    ];
    const nearWords = near.map((place) => words[place]);
    near.forEach((place, i) => {
      if (place < left - radius || place >= right + radius) return;
      addMoments(changed.words, states[place], -1);
      addMoments(changed.words, network.contextState(nearWords, i));
    });
    for (const place of places) addMoments(changed.words, states[place], -1);
    return changed;
  }
}

function range(first, last) {
  return Array.from({ length: Math.max(last - first, 0) }, (_, i) => first + i);
}
