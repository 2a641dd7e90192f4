// LZMA, as tables of compressed models are packed: the stream of the LZMA SDK, decoded into one array.
// Names are those of its specification, lzma-specification.txt.

const N_BIT_MODEL_BITS = 11;
const PROBABILITY_HALF = 1 << (N_BIT_MODEL_BITS - 1);
const MOVE_BITS = 5;
const TOP_VALUE = 1 << 24;
const N_STATES = 12;
const N_POSITION_STATES_MAX = 16;
const N_LENGTH_TO_POSITION_STATES = 4;
const END_POSITION_MODEL_INDEX = 14;
const N_FULL_DISTANCES = 1 << (END_POSITION_MODEL_INDEX >> 1);
const N_ALIGN_BITS = 4;
const MATCH_MIN_LENGTH = 2;
const HEADER_BYTES = 13;

/** Range decoder over adaptive probabilities. */
class RangeDecoder {
  constructor(stream, at) {
    this.stream = stream;
    this.at = at + 1; // the first byte is always zero
    this.range = 0xffffffff;
    this.code = 0;
    for (let i = 0; i < 4; i++) this.code = ((this.code << 8) | this.stream[this.at++]) >>> 0;
  }

  bit(probabilities, index) {
    const probability = probabilities[index];
    const bound = (this.range >>> N_BIT_MODEL_BITS) * probability;
    let bit;
    if (this.code < bound) {
      this.range = bound;
      probabilities[index] = probability + (((1 << N_BIT_MODEL_BITS) - probability) >> MOVE_BITS);
      bit = 0;
    } else {
      this.range -= bound;
      this.code -= bound;
      probabilities[index] = probability - (probability >> MOVE_BITS);
      bit = 1;
    }
    if (this.range < TOP_VALUE) this.shift();
    return bit;
  }

  shift() {
    if (this.at >= this.stream.length) throw new Error("expected a whole LZMA stream");
    this.range = (this.range << 8) >>> 0;
    this.code = ((this.code << 8) | this.stream[this.at++]) >>> 0;
  }

  directBits(n) {
    let result = 0;
    for (; n > 0; n--) {
      this.range >>>= 1;
      let bit = 0;
      if (this.code >= this.range) {
        this.code -= this.range;
        bit = 1;
      }
      if (this.range < TOP_VALUE) this.shift();
      result = result * 2 + bit;
    }
    return result;
  }

  tree(probabilities, offset, nBits) {
    let symbol = 1;
    for (let i = 0; i < nBits; i++) symbol = (symbol << 1) | this.bit(probabilities, offset + symbol);
    return symbol - (1 << nBits);
  }

  reverseTree(probabilities, offset, nBits) {
    let symbol = 1;
    let result = 0;
    for (let i = 0; i < nBits; i++) {
      const bit = this.bit(probabilities, offset + symbol);
      symbol = (symbol << 1) | bit;
      result |= bit << i;
    }
    return result;
  }
}

function halves(n) {
  return new Uint16Array(n).fill(PROBABILITY_HALF);
}

class LengthDecoder {
  constructor() {
    this.choice = halves(2);
    this.low = halves(N_POSITION_STATES_MAX << 3);
    this.middle = halves(N_POSITION_STATES_MAX << 3);
    this.high = halves(256);
  }

  decode(decoder, positionState) {
    if (!decoder.bit(this.choice, 0)) return decoder.tree(this.low, positionState << 3, 3);
    if (!decoder.bit(this.choice, 1)) return 8 + decoder.tree(this.middle, positionState << 3, 3);
    return 16 + decoder.tree(this.high, 0, 8);
  }
}

/** Decode a stream that comes to `size` bytes; what follows its end mark is ignored. */
export function decompress(stream, size) {
  if (stream.length < HEADER_BYTES + 5 || stream[0] >= 225) throw new Error("expected a whole LZMA stream");
  const nLiteralBits = stream[0] % 9;
  const rest = (stream[0] - nLiteralBits) / 9;
  const literalPositionMask = (1 << rest % 5) - 1;
  const positionMask = (1 << Math.floor(rest / 5)) - 1;
  const decoder = new RangeDecoder(stream, HEADER_BYTES);
  const literals = halves(0x300 << (nLiteralBits + (rest % 5)));
  const isMatch = halves(N_STATES << 4);
  const isRepeat = halves(N_STATES);
  const isRepeatG0 = halves(N_STATES);
  const isRepeatG1 = halves(N_STATES);
  const isRepeatG2 = halves(N_STATES);
  const isRepeat0Long = halves(N_STATES << 4);
  const positionSlots = halves(N_LENGTH_TO_POSITION_STATES << 6);
  const positions = halves(1 + N_FULL_DISTANCES - END_POSITION_MODEL_INDEX);
  const aligns = halves(1 << N_ALIGN_BITS);
  const lengths = new LengthDecoder();
  const repeatLengths = new LengthDecoder();
  const out = new Uint8Array(size);
  let at = 0;
  let state = 0;
  let [repeat0, repeat1, repeat2, repeat3] = [0, 0, 0, 0];

  const literal = () => {
    const before = at ? out[at - 1] : 0;
    const place = ((at & literalPositionMask) << nLiteralBits) + (before >> (8 - nLiteralBits));
    const offset = 0x300 * place;
    let symbol = 1;
    if (state >= 7) {
      let matched = out[at - repeat0 - 1];
      do {
        const wanted = (matched >> 7) & 1;
        matched <<= 1;
        const bit = decoder.bit(literals, offset + ((1 + wanted) << 8) + symbol);
        symbol = (symbol << 1) | bit;
        if (wanted !== bit) break;
      } while (symbol < 0x100);
    }
    while (symbol < 0x100) symbol = (symbol << 1) | decoder.bit(literals, offset + symbol);
    out[at++] = symbol;
    state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
  };

  const distance = (length) => {
    const lengthState = Math.min(length, N_LENGTH_TO_POSITION_STATES - 1);
    const slot = decoder.tree(positionSlots, lengthState << 6, 6);
    if (slot < 4) return slot;
    const nDirect = (slot >> 1) - 1;
    const base = (2 | (slot & 1)) * 2 ** nDirect;
    if (slot < END_POSITION_MODEL_INDEX) return base + decoder.reverseTree(positions, base - slot, nDirect);
    return base + decoder.directBits(nDirect - N_ALIGN_BITS) * 16 + decoder.reverseTree(aligns, 0, N_ALIGN_BITS);
  };

  while (at < size) {
    const positionState = at & positionMask;
    if (!decoder.bit(isMatch, (state << 4) + positionState)) {
      literal();
      continue;
    }
    let length;
    if (decoder.bit(isRepeat, state)) {
      if (!decoder.bit(isRepeatG0, state)) {
        if (!decoder.bit(isRepeat0Long, (state << 4) + positionState)) {
          if (repeat0 >= at) throw new Error("expected an undamaged LZMA stream");
          state = state < 7 ? 9 : 11;
          out[at] = out[at - repeat0 - 1];
          at++;
          continue;
        }
      } else {
        let found;
        if (!decoder.bit(isRepeatG1, state)) found = repeat1;
        else {
          if (!decoder.bit(isRepeatG2, state)) found = repeat2;
          else {
            found = repeat3;
            repeat3 = repeat2;
          }
          repeat2 = repeat1;
        }
        repeat1 = repeat0;
        repeat0 = found;
      }
      length = repeatLengths.decode(decoder, positionState);
      state = state < 7 ? 8 : 11;
    } else {
      [repeat3, repeat2, repeat1] = [repeat2, repeat1, repeat0];
      length = lengths.decode(decoder, positionState);
      state = state < 7 ? 7 : 10;
      repeat0 = distance(length);
      if (repeat0 === 0xffffffff) break; // the end mark
    }
    length += MATCH_MIN_LENGTH;
    if (repeat0 >= at || at + length > size) throw new Error("expected an undamaged LZMA stream");
    for (; length > 0; length--, at++) out[at] = out[at - repeat0 - 1];
  }
  if (at !== size) throw new Error("expected a whole LZMA stream");
  return out;
}
