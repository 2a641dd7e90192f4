// The arithmetic of a compiled network, as token2wave/inference/reference.py says it: in double precision.

import { NETWORK_DEFAULTS } from "./model_file.js";

const NORM_EPSILON = 1e-5;

/** What a text comes to: sums over its features and words, which add up. */
export class Sums {
  constructor(width, contextWidth, nSvmScores) {
    this.nFeatures = 0;
    this.total = new Float64Array(2 * width);
    this.squares = new Float64Array(2 * width);
    this.first = new Float64Array(2 * width);
    this.nWords = 0;
    this.contextTotal = new Float64Array(contextWidth);
    this.contextSquares = new Float64Array(contextWidth);
    this.linear_svm = new Float64Array(nSvmScores);
  }

  copy() {
    const copied = Object.create(Sums.prototype);
    for (const [name, value] of Object.entries(this)) {
      copied[name] = typeof value === "number" ? value : value.slice();
    }
    return copied;
  }
}

export class Network {
  constructor(settings, tensors) {
    Object.assign(this, NETWORK_DEFAULTS, settings);
    requireChoice("operation", this.operation, ["interference", "modulation"]);
    requireChoice("readout", this.readout, ["cls", "text"]);
    this.tensors = tensors;
    this.waveWidth = this.variants === "rows" ? 2 * this.width : this.width;
    this.nSvmScores = this.linear_svm ? this.n_classes : 0;
    this.rowWidth = this.waveWidth + this.nSvmScores;
    this.rows = tensors["embedding.weight"];
    this.expanded = new Map(); // rows whose variants, and whose context variants, were needed before
    this.contextVariants = new Map();
  }

  /** Both variants of a row side by side, 2 D numbers. */
  variantsOf(row) {
    const numbers = this.rows.subarray(row * this.rowWidth, row * this.rowWidth + this.waveWidth);
    if (this.variants === "rows") return numbers;
    return remembered(this.expanded, row, () => this.linear("layers.0.variants", numbers));
  }

  svmWeightsOf(row) {
    return this.rows.subarray(row * this.rowWidth + this.waveWidth, (row + 1) * this.rowWidth);
  }

  /** Sums of no features. */
  nothing() {
    return new Sums(this.width, this.context_width, this.nSvmScores);
  }

  /** Add a feature to sums, or with a factor of -1 take one away. */
  add(sums, row, factor = 1) {
    const variants = this.variantsOf(row);
    sums.nFeatures += factor;
    for (let k = 0; k < variants.length; k++) {
      sums.total[k] += factor * variants[k];
      sums.squares[k] += factor * variants[k] * variants[k];
    }
    const linear_svm = this.svmWeightsOf(row);
    for (let c = 0; c < linear_svm.length; c++) sums.linear_svm[c] += factor * linear_svm[c];
  }

  /** Let [CLS], which stands before all others, be the first feature of sums. */
  addFirst(sums, row) {
    if (this.readout === "text") {
      this.add(sums, row);
      return;
    }
    sums.nFeatures += 1;
    sums.first.set(this.variantsOf(row));
    const linear_svm = this.svmWeightsOf(row);
    for (let c = 0; c < linear_svm.length; c++) sums.linear_svm[c] += linear_svm[c];
  }

  addState(sums, state, factor = 1) {
    sums.nWords += factor;
    for (let k = 0; k < state.length; k++) {
      sums.contextTotal[k] += factor * state[k];
      sums.contextSquares[k] += factor * state[k] * state[k];
    }
  }

  /** State of word `place` among rows `words`, from the waves between it and its neighbours. */
  contextState(words, place) {
    const width = this.context_width;
    const variantsAt = (i) =>
      remembered(this.contextVariants, words[i], () => {
        const first = words[i] * this.rowWidth;
        return this.linear("context.variants", this.rows.subarray(first, first + this.waveWidth));
      });
    const imaginary = new Float64Array(2 * width);
    const collect = (first, last, offset) => {
      for (let i = Math.max(first, 0); i < Math.min(last, words.length); i++) {
        const variants = variantsAt(i);
        for (let k = offset; k < offset + width; k++) imaginary[k] += variants[k] * variants[k];
      }
    };
    collect(place - this.context_radius, place, 0);
    collect(place + 1, place + 1 + this.context_radius, width);
    for (let k = 0; k < imaginary.length; k++) imaginary[k] = Math.sqrt(imaginary[k]);
    const overlay = this.overlay(variantsAt(place), imaginary);
    const state = this.linear("context.linear", this.norm("context.norm", overlay));
    for (let k = 0; k < state.length; k++) state[k] = gelu(state[k]);
    return state;
  }

  /** Logits of a text from its sums. */
  logits(sums) {
    let real = sums.first;
    let imaginary = sums.squares.map((square) => Math.sqrt(Math.max(square, 0)));
    if (this.readout === "text") {
      [real, imaginary] = meanAndDeviation(sums.nFeatures, sums.total, sums.squares);
    }
    const overlay = this.overlay(real, imaginary);
    const logits = this.linear("head", this.norm("norm", this.restored(overlay)));
    if (this.context_width) {
      const moments = meanAndDeviation(sums.nWords, sums.contextTotal, sums.contextSquares);
      const more = this.linear("context.head", sideBySide(...moments));
      for (let c = 0; c < logits.length; c++) logits[c] += more[c];
    }
    if (this.linear_svm) {
      const share = 1 / Math.sqrt(Math.max(sums.nFeatures, 1));
      const { "linear_svm.weight": weight, "linear_svm.bias": bias } = this.tensors;
      for (let c = 0; c < logits.length; c++) {
        logits[c] += sums.linear_svm[c] * share * weight[c] + bias[c];
      }
    }
    return logits;
  }

  /** Interference or modulation of both waves, real and imaginary part side by side. */
  overlay(real, imaginary) {
    const width = real.length / 2;
    const both = new Float64Array(2 * width);
    const modulation = this.operation === "modulation";
    for (let k = 0; k < width; k++) {
      const w = real[k];
      const w2 = real[width + k];
      const s = imaginary[k];
      const s2 = imaginary[width + k];
      both[k] = modulation ? w * w2 - s * s2 : w + w2;
      both[width + k] = modulation ? w * s2 + w2 * s : s + s2;
    }
    return both;
  }

  /** Complex to real. */
  restored(overlay) {
    if (this.restore === "linear") return this.linear("layers.0.restore.linear", overlay);
    const width = overlay.length / 2;
    const real = overlay.slice(0, width);
    return this.restore === "real" ? real : real.map((value, k) => Math.hypot(value, overlay[width + k]));
  }

  linear(name, values) {
    const weight = this.tensors[`${name}.weight`];
    const result = new Float64Array(this.tensors[`${name}.bias`]);
    const width = values.length;
    for (let i = 0; i < result.length; i++) {
      let sum = 0;
      for (let k = 0; k < width; k++) sum += weight[i * width + k] * values[k];
      result[i] += sum;
    }
    return result;
  }

  norm(name, values) {
    const weight = this.tensors[`${name}.weight`];
    const bias = this.tensors[`${name}.bias`];
    const width = values.length;
    let mean = 0;
    for (let k = 0; k < width; k++) mean += values[k] / width;
    let variance = 0;
    for (let k = 0; k < width; k++) variance += (values[k] - mean) ** 2 / width;
    const scale = 1 / Math.sqrt(variance + NORM_EPSILON);
    const normed = new Float64Array(width);
    for (let k = 0; k < width; k++) normed[k] = (values[k] - mean) * scale * weight[k] + bias[k];
    return normed;
  }
}

function requireChoice(setting, value, choices) {
  if (!choices.includes(value)) {
    throw new Error(`network.${setting}: expected ${choices.join(" or ")}, found ${value}`);
  }
}

/** Probabilities of logits: a sigmoid each where a text may have several classes, else a softmax. */
export function probabilitiesOf(logits, multiLabel) {
  if (multiLabel) return logits.map((logit) => 1 / (1 + Math.exp(-logit)));
  const highest = logits.reduce((most, logit) => Math.max(most, logit), -Infinity);
  const powers = logits.map((logit) => Math.exp(logit - highest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

function meanAndDeviation(count, total, squares) {
  const share = 1 / Math.max(count, 1);
  const mean = new Float64Array(total.length);
  const deviation = new Float64Array(total.length);
  for (let k = 0; k < total.length; k++) {
    mean[k] = total[k] * share;
    deviation[k] = Math.sqrt(Math.max(squares[k] * share - mean[k] * mean[k], 0));
  }
  return [mean, deviation];
}

function sideBySide(first, second) {
  const both = new Float64Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/** x Phi(x), with Phi by Abramowitz and Stegun, 7.1.26, as the package has it. */
function gelu(value) {
  const t = 1 / (1 + (0.3275911 / Math.SQRT2) * Math.abs(value));
  const series =
    t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = 0.5 * series * Math.exp((-value * value) / 2);
  return value * (value < 0 ? tail : 1 - tail);
}

const MAX_REMEMBERED = 1 << 16;

function remembered(memory, key, compute) {
  let value = memory.get(key);
  if (value === undefined) {
    if (memory.size >= MAX_REMEMBERED) memory.clear();
    value = compute();
    memory.set(key, value);
  }
  return value;
}
