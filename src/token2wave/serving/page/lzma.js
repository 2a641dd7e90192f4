// LZMA decoder for the arrays of compressed models. Names follow lzma-specification.txt of the LZMA SDK.

const N_BIT_MODEL_BITS = 11;
const MOVE_BITS = 5;
const TOP_VALUE = 1 << 24;
const N_STATES = 12;
const END_POSITION_MODEL_INDEX = 14;
const N_ALIGN_BITS = 4;
const MATCH_MIN_LENGTH = 2;
const HEADER_BYTES = 13;
const STEP_BYTES = 1 << 13; // decoded in one step

/** Range decoder over adaptive probabilities. */
class RangeDecoder {
  constructor(stream, position) {
    this.stream = stream;
    this.position = position + 1; // the first byte is always zero
    this.range = 0xffffffff;
    this.code = 0;
    for (let i = 0; i < 4; i++) this.code = ((this.code << 8) | stream[this.position++]) >>> 0;
  }

  normalize() {
    if (this.range >= TOP_VALUE) return;
    if (this.position >= this.stream.length) throw new Error("expected a whole LZMA stream");
    this.range = (this.range << 8) >>> 0;
    this.code = ((this.code << 8) | this.stream[this.position++]) >>> 0;
  }

  bit(probabilities, index) {
    const probability = probabilities[index];
    const bound = (this.range >>> N_BIT_MODEL_BITS) * probability;
    const bit = this.code < bound ? 0 : 1;
    if (bit) {
      this.range -= bound;
      this.code -= bound;
      probabilities[index] = probability - (probability >> MOVE_BITS);
    } else {
      this.range = bound;
      probabilities[index] = probability + (((1 << N_BIT_MODEL_BITS) - probability) >> MOVE_BITS);
    }
    this.normalize();
    return bit;
  }

  directBits(n) {
    let number = 0;
    for (; n > 0; n--) {
      this.range >>>= 1;
      const bit = this.code < this.range ? 0 : 1;
      if (bit) this.code -= this.range;
      this.normalize();
      number = number * 2 + bit;
    }
    return number;
  }

  tree(probabilities, offset, nBits) {
    let symbol = 1;
    for (let i = 0; i < nBits; i++) symbol = (symbol << 1) | this.bit(probabilities, offset + symbol);
    return symbol - (1 << nBits);
  }

  reverseTree(probabilities, offset, nBits) {
    let symbol = 1;
    let number = 0;
    for (let i = 0; i < nBits; i++) {
      const bit = this.bit(probabilities, offset + symbol);
      symbol = (symbol << 1) | bit;
      number |= bit << i;
    }
    return number;
  }
}

function initialProbabilities(n) {
  return new Uint16Array(n).fill(1 << (N_BIT_MODEL_BITS - 1));
}

/** Returns a function that decodes a length, given the position state. */
function lengthDecoder(decoder) {
  const [choice, low, middle, high] = [2, 128, 128, 256].map(initialProbabilities);
  return (positionState) => {
    if (!decoder.bit(choice, 0)) return decoder.tree(low, positionState << 3, 3);
    if (!decoder.bit(choice, 1)) return 8 + decoder.tree(middle, positionState << 3, 3);
    return 16 + decoder.tree(high, 0, 8);
  };
}

/** Decode a stream of `size` decompressed bytes; what follows it is ignored. */
export function decompress(stream, size) {
  const steps = decompressSteps(stream, size);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** The same as a generator, which yields now and then and returns the bytes. */
export function* decompressSteps(stream, size) {
  if (stream.length < HEADER_BYTES + 5 || stream[0] >= 225) throw new Error("expected a whole LZMA stream");
  const nLiteralBits = stream[0] % 9;
  const positionBits = Math.floor(stream[0] / 9);
  const nLiteralPositionBits = positionBits % 5;
  const literalPositionMask = (1 << nLiteralPositionBits) - 1;
  const positionMask = (1 << Math.floor(positionBits / 5)) - 1;
  const decoder = new RangeDecoder(stream, HEADER_BYTES);
  const literals = initialProbabilities(0x300 << (nLiteralBits + nLiteralPositionBits));
  const [isMatch, isRepeat0Long] = [N_STATES << 4, N_STATES << 4].map(initialProbabilities);
  const isRepeat = [0, 1, 2, 3].map(() => initialProbabilities(N_STATES)); // isRep, isRepG0, isRepG1, isRepG2
  const positionSlots = initialProbabilities(4 << 6);
  const positions = initialProbabilities(115);
  const aligns = initialProbabilities(1 << N_ALIGN_BITS);
  const [matchLength, repeatLength] = [lengthDecoder(decoder), lengthDecoder(decoder)];
  const out = new Uint8Array(size);
  const distances = [0, 0, 0, 0]; // of the last matches, minus 1
  let position = 0;
  let state = 0;

  const literal = () => {
    const previous = position ? out[position - 1] : 0;
    const context = ((position & literalPositionMask) << nLiteralBits) + (previous >> (8 - nLiteralBits));
    const offset = 0x300 * context;
    let symbol = 1;
    for (let matched = out[position - distances[0] - 1]; state >= 7 && symbol < 0x100; matched <<= 1) {
      const matchedBit = (matched >> 7) & 1;
      const bit = decoder.bit(literals, offset + ((1 + matchedBit) << 8) + symbol);
      symbol = (symbol << 1) | bit;
      if (matchedBit !== bit) break;
    }
    while (symbol < 0x100) symbol = (symbol << 1) | decoder.bit(literals, offset + symbol);
    out[position++] = symbol;
    state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
  };

  const distance = (length) => {
    const slot = decoder.tree(positionSlots, Math.min(length, 3) << 6, 6);
    if (slot < 4) return slot;
    const nDirectBits = (slot >> 1) - 1;
    const base = (2 | (slot & 1)) * 2 ** nDirectBits;
    if (slot < END_POSITION_MODEL_INDEX) return base + decoder.reverseTree(positions, base - slot, nDirectBits);
    const high = decoder.directBits(nDirectBits - N_ALIGN_BITS);
    return base + high * (1 << N_ALIGN_BITS) + decoder.reverseTree(aligns, 0, N_ALIGN_BITS);
  };

  /** Decode one literal or match. Returns whether the stream goes on. */
  const decodeNext = () => {
    const positionState = position & positionMask;
    if (!decoder.bit(isMatch, (state << 4) + positionState)) {
      literal();
      return true;
    }
    let length = 1;
    if (!decoder.bit(isRepeat[0], state)) {
      const coded = matchLength(positionState);
      distances.pop();
      distances.unshift(distance(coded));
      if (distances[0] === 0xffffffff) return false; // the end mark
      length = coded + MATCH_MIN_LENGTH;
      state = state < 7 ? 7 : 10;
    } else {
      let which = 0;
      while (which < 3 && decoder.bit(isRepeat[which + 1], state)) which++;
      if (which || decoder.bit(isRepeat0Long, (state << 4) + positionState)) {
        distances.unshift(...distances.splice(which, 1));
        length = repeatLength(positionState) + MATCH_MIN_LENGTH;
        state = state < 7 ? 8 : 11;
      } else state = state < 7 ? 9 : 11;
    }
    if (distances[0] >= position || position + length > size) throw new Error("expected an undamaged LZMA stream");
    for (; length > 0; length--, position++) out[position] = out[position - distances[0] - 1];
    return true;
  };

  const decodeUntil = (end) => {
    while (position < end) if (!decodeNext()) return false;
    return true;
  };

  while (position < size && decodeUntil(Math.min(position + STEP_BYTES, size))) yield;
  if (position !== size) throw new Error("expected a whole LZMA stream");
  return out;
}
