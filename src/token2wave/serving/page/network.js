// Computes a compiled network in double precision, as token2wave/inference/reference.py does.
// Code that runs once a word has loops, because `map` on typed arrays is several times slower.

const NORM_EPSILON = 1e-5;
const MAX_CACHED = 1 << 16;
const DEFAULTS = {
  width: 768,
  operation: "modulation",
  variants: "linear",
  restore: "linear",
  readout: "cls",
  context_width: 0,
  context_radius: 3,
  linear_svm: false,
  multi_label: false,
};

export class Network {
  constructor(settings, tensors) {
    Object.assign(this, DEFAULTS, settings);
    requireChoice("operation", this.operation, ["interference", "modulation"]);
    requireChoice("readout", this.readout, ["cls", "text"]);
    this.tensors = tensors;
    this.waveWidth = this.variants === "rows" ? 2 * this.width : this.width;
    this.nSvmScores = this.linear_svm ? this.n_classes : 0;
    this.rowWidth = this.waveWidth + this.nSvmScores;
    this.rows = tensors["embedding.weight"];
    this.variantsCache = new Map();
    this.contextVariantsCache = new Map();
  }

  waveOf(row) {
    return this.rows.subarray(row * this.rowWidth, row * this.rowWidth + this.waveWidth);
  }

  svmWeightsOf(row) {
    return this.rows.subarray(row * this.rowWidth + this.waveWidth, (row + 1) * this.rowWidth);
  }

  /** Both variants of a row side by side, 2 D numbers. */
  variantsOf(row) {
    const wave = this.waveOf(row);
    if (this.variants === "rows") return wave;
    return cached(this.variantsCache, row, () => this.linear("layers.0.variants", wave));
  }

  /** Sums over the features and words of a text; those of no text. */
  emptySums() {
    return {
      features: emptyMoments(2 * this.width),
      first: new Float64Array(2 * this.width),
      words: emptyMoments(this.context_width),
      svmScores: new Float64Array(this.nSvmScores),
      nOov: 0, // tokens with entries in the OOV table
    };
  }

  /** Add a feature to sums, or remove it with a factor of -1. */
  add(sums, row, factor = 1) {
    addMoments(sums.features, this.variantsOf(row), factor);
    this.addScores(sums, this.svmWeightsOf(row), factor);
  }

  /** Add a token without a row, given its entries in the OOV table, or remove it with a factor of -1. */
  addOov(sums, entries, factor = 1) {
    if (entries.length) sums.nOov += factor;
    const [weights, width] = [this.tensors["oov.weight"], this.nSvmScores];
    for (const i of entries) this.addScores(sums, weights.subarray(i * width, (i + 1) * width), factor);
  }

  /** Add [CLS], which is the first feature. */
  addFirst(sums, row) {
    if (this.readout === "text") return this.add(sums, row);
    sums.features.count += 1;
    sums.first.set(this.variantsOf(row));
    this.addScores(sums, this.svmWeightsOf(row), 1);
  }

  addScores(sums, weights, factor) {
    for (let c = 0; c < weights.length; c++) sums.svmScores[c] += factor * weights[c];
  }

  /** State of word `place` among the rows `words`, from the waves of its neighbours. */
  contextState(words, place) {
    const width = this.context_width;
    const variantsAt = (i) =>
      cached(this.contextVariantsCache, words[i], () => this.linear("context.variants", this.waveOf(words[i])));
    const imaginary = new Float64Array(2 * width);
    const addNeighbours = (first, last, offset) => {
      for (let i = Math.max(first, 0); i < Math.min(last, words.length); i++) {
        const variants = variantsAt(i);
        for (let k = offset; k < offset + width; k++) imaginary[k] += variants[k] * variants[k];
      }
    };
    addNeighbours(place - this.context_radius, place, 0);
    addNeighbours(place + 1, place + 1 + this.context_radius, width);
    for (let k = 0; k < 2 * width; k++) imaginary[k] = Math.sqrt(imaginary[k]);
    const overlay = this.overlay(variantsAt(place), imaginary);
    const state = this.linear("context.linear", this.norm("context.norm", overlay));
    for (let k = 0; k < width; k++) state[k] = gelu(state[k]);
    return state;
  }

  /** Logits of a text from its sums. */
  logits(sums) {
    let [real, imaginary] = [sums.first, sums.features.squares.map((square) => Math.sqrt(Math.max(square, 0)))];
    if (this.readout === "text") [real, imaginary] = meanAndDeviation(sums.features);
    const overlay = this.overlay(real, imaginary);
    const logits = this.linear("head", this.norm("norm", this.restored(overlay)));
    if (this.context_width) {
      const context = this.linear("context.head", meanAndDeviation(sums.words).flatMap((values) => [...values]));
      for (let c = 0; c < logits.length; c++) logits[c] += context[c];
    }
    if (this.linear_svm) {
      const scale = 1 / Math.sqrt(Math.max(sums.features.count + sums.nOov, 1));
      const { "linear_svm.weight": weight, "linear_svm.bias": bias } = this.tensors;
      for (let c = 0; c < logits.length; c++) logits[c] += sums.svmScores[c] * scale * weight[c] + bias[c];
    }
    return logits;
  }

  /** Interference or modulation of both waves, real and imaginary part side by side. */
  overlay(real, imaginary) {
    const width = real.length / 2;
    const overlay = new Float64Array(2 * width);
    const modulation = this.operation === "modulation";
    for (let k = 0; k < width; k++) {
      const [w, w2, s, s2] = [real[k], real[width + k], imaginary[k], imaginary[width + k]];
      overlay[k] = modulation ? w * w2 - s * s2 : w + w2;
      overlay[width + k] = modulation ? w * s2 + w2 * s : s + s2;
    }
    return overlay;
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
    const { [`${name}.weight`]: weight, [`${name}.bias`]: bias } = this.tensors;
    const width = values.length;
    const normed = new Float64Array(width);
    let mean = 0;
    for (let k = 0; k < width; k++) mean += values[k] / width;
    let variance = 0;
    for (let k = 0; k < width; k++) variance += (values[k] - mean) ** 2 / width;
    const scale = 1 / Math.sqrt(variance + NORM_EPSILON);
    for (let k = 0; k < width; k++) normed[k] = (values[k] - mean) * scale * weight[k] + bias[k];
    return normed;
  }
}

function requireChoice(setting, value, choices) {
  if (!choices.includes(value)) {
    throw new Error(`network.${setting}: expected ${choices.join(" or ")}, found ${value}`);
  }
}

/**
 * Probabilities of logits: the sigmoid of each if a text may have several classes, else the softmax.
 *
 * Throws an error if a logit is not finite: no label rests on a weight that overflows.
 */
export function probabilitiesOf(logits, multiLabel) {
  if (!logits.every(Number.isFinite)) {
    throw new Error("the weights of the model overflow for this text; train it again");
  }
  if (multiLabel) return logits.map((logit) => 1 / (1 + Math.exp(-logit)));
  const highest = logits.reduce((max, logit) => Math.max(max, logit), -Infinity);
  const powers = logits.map((logit) => Math.exp(logit - highest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

function emptyMoments(width) {
  return { count: 0, total: new Float64Array(width), squares: new Float64Array(width) };
}

/** Add values to a count, a sum and a sum of squares, or remove them with a factor of -1. */
export function addMoments(moments, values, factor = 1) {
  moments.count += factor;
  for (let k = 0; k < values.length; k++) {
    moments.total[k] += factor * values[k];
    moments.squares[k] += factor * values[k] * values[k];
  }
}

function meanAndDeviation({ count, total, squares }) {
  const scale = 1 / Math.max(count, 1);
  const mean = total.map((value) => value * scale);
  return [mean, mean.map((value, k) => Math.sqrt(Math.max(squares[k] * scale - value * value, 0)))];
}

/** x Phi(x), with Phi by Abramowitz and Stegun, 7.1.26, as in the Python package. */
function gelu(value) {
  const t = 1 / (1 + (0.3275911 / Math.SQRT2) * Math.abs(value));
  const series =
    t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = 0.5 * series * Math.exp((-value * value) / 2);
  return value * (value < 0 ? tail : 1 - tail);
}

function cached(cache, key, compute) {
  let value = cache.get(key);
  if (value === undefined) {
    if (cache.size >= MAX_CACHED) cache.clear();
    value = compute();
    cache.set(key, value);
  }
  return value;
}
