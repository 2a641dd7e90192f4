// A model that classifies and explains texts: what token2wave.Classifier is in Python.

import { readModelFile } from "./model_file.js";
import { Network, probabilitiesOf } from "./network.js";
import { WordPieceFeatures } from "./wordpiece.js";
import { LetterTable, WordFeatures } from "./words.js";

const NOVELTY_LEVELS = [0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99];
const USUAL_FEATURES = 10;

export class Classifier {
  /**
   * @param bytes the model file.
   * @param letters runs of the letter table.
   */
  constructor(bytes, letters) {
    const { metadata, tensors } = readModelFile(bytes);
    this.labels = metadata.labels;
    this.network = new Network(metadata.network, tensors);
    const { kind, settings } = metadata.features;
    const table = new LetterTable(letters);
    this.features =
      kind === "words"
        ? new WordFeatures(settings, tensors["features.buckets"], table)
        : new WordPieceFeatures(settings, tensors["features.vocabulary"], table);
    this.multiLabel = this.network.multi_label;
    this.thresholds = this.multiLabel ? metadata.thresholds ?? this.labels.map(() => 0.5) : null;
    this.usual = metadata.novelty ?? null;
  }

  /** Classify a text: the probability of each class, and how unlike training it is (null if unknown). */
  predict(text) {
    const read = this.read(text);
    return this.said(read, this.network.logits(read.sums));
  }

  /** Tokens, features, words, states of the words, and the sums of all of them. */
  read(text) {
    const { features, network } = this;
    const tokens = features.tokens(text);
    const { found, nUnknown } = features.features(tokens);
    const sums = network.nothing();
    const words = [];
    const wordOfToken = new Int32Array(tokens.length).fill(-1);
    if (features.first !== undefined) {
      network.addFirst(sums, features.first);
      words.push(features.first);
    }
    for (const { row, first, nTokens } of found) {
      network.add(sums, row);
      if (nTokens > 1) continue;
      wordOfToken[first] = words.length;
      words.push(row);
    }
    if (features.last !== undefined) {
      network.add(sums, features.last);
      words.push(features.last);
    }
    const states = network.context_width ? words.map((_, place) => network.contextState(words, place)) : [];
    for (const state of states) network.addState(sums, state);
    return { tokens, found, nUnknown, words, wordOfToken, states, sums };
  }

  said({ sums, nUnknown }, logits) {
    return {
      probabilities: probabilitiesOf(logits, this.multiLabel),
      novelty: this.usual && this.novelty(nUnknown, sums.nFeatures, logits),
    };
  }

  novelty(nUnknown, nKnown, logits) {
    const { usual_share: share, unknown, evidence, scores } = this.usual;
    const found = (nUnknown + USUAL_FEATURES * share) / (nUnknown + nKnown + USUAL_FEATURES);
    const highest = Math.max(...logits);
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - highest), 0);
    const score =
      (found - unknown[0]) / unknown[1] + (evidence[0] - highest - Math.log(sum)) / evidence[1];
    const last = scores.length - 1;
    if (score < scores[0]) return 0;
    if (score >= scores[last]) return 1 - (1 - NOVELTY_LEVELS[last]) * Math.exp(scores[last] - score);
    let i = last - 1;
    while (scores[i] > score) i--;
    const part = (score - scores[i]) / (scores[i + 1] - scores[i]);
    return NOVELTY_LEVELS[i] + part * (NOVELTY_LEVELS[i + 1] - NOVELTY_LEVELS[i]);
  }

  /**
   * Classify a text, and say what each word does to it: its share of the energy, and for each class the
   * probability less the one that the text without it has. Exact, as token2wave/explanation/compute.py.
   *
   * It is a generator, so that a long text does not hold up the page: it yields between two words.
   */
  *explaining(text) {
    const read = this.read(text);
    const { tokens, found, words, wordOfToken } = read;
    const result = this.said(read, this.network.logits(read.sums));
    const energies = this.energyShares(found, tokens.length);
    const parts = [];
    for (const [first, last] of this.features.units(tokens)) {
      const without = probabilitiesOf(this.network.logits(this.sumsWithout(read, first, last)), this.multiLabel);
      const knows = (token) => wordOfToken[token] >= 0 && this.features.knows(words[wordOfToken[token]]);
      parts.push({
        start: tokens.starts[first],
        end: tokens.ends[last - 1],
        energy: energies.slice(first, last).reduce((sum, energy) => sum + energy, 0),
        effects: result.probabilities.map((share, c) => share - without[c]),
        known: range(first, last).some(knows),
      });
      yield;
    }
    return { ...result, parts };
  }

  explain(text) {
    const steps = this.explaining(text);
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
    }
  }

  /** Each token's share of the energy of all features; that of an n-gram is its tokens' in equal parts. */
  energyShares(found, nTokens) {
    const energies = new Float64Array(nTokens);
    for (const { row, first, nTokens: n } of found) {
      const energy = this.network.variantsOf(row).reduce((sum, value) => sum + value * value, 0);
      for (let i = first; i < first + n; i++) energies[i] += energy / n;
    }
    const total = energies.reduce((sum, energy) => sum + energy, 0);
    return total > 0 ? energies.map((energy) => energy / total) : energies;
  }

  /** Sums of the text without some tokens: their features go, and their neighbours meet. */
  sumsWithout({ tokens, words, wordOfToken, states, sums }, begin, end) {
    const { features, network } = this;
    const changed = sums.copy();
    const change = (numbers, factor) => {
      const row = features.rowOf(tokens.hashes, numbers);
      if (row >= 0) network.add(changed, row, factor);
    };
    const size = end - begin;
    for (let n = 1; n <= features.nGrams; n++) {
      const earliest = Math.max(begin - n + 1, 0);
      for (let first = earliest; first < end && first + n <= tokens.length; first++) {
        change(range(first, first + n), -1);
      }
      for (let first = earliest; first < begin && first + n + size <= tokens.length; first++) {
        change([...range(first, begin), ...range(end, first + n + size)], 1);
      }
    }
    const places = range(begin, end).map((token) => wordOfToken[token]).filter((place) => place >= 0);
    if (!network.context_width || !places.length) return changed;
    const [left, right] = [places[0], places[places.length - 1] + 1];
    const radius = network.context_radius;
    const near = [
      ...range(Math.max(left - 2 * radius, 0), left),
      ...range(right, Math.min(right + 2 * radius, words.length)),
    ];
    const nearWords = near.map((place) => words[place]);
    near.forEach((place, at) => {
      if (place < left - radius || place >= right + radius) return;
      network.addState(changed, states[place], -1);
      network.addState(changed, network.contextState(nearWords, at), 1);
    });
    for (const place of places) network.addState(changed, states[place], -1);
    return changed;
  }
}

function range(first, last) {
  return Array.from({ length: Math.max(last - first, 0) }, (_, i) => first + i);
}
