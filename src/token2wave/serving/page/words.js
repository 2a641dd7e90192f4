// Text to tokens to hashes to rows, bit by bit as the docstring of token2wave/features/text.py defines it.

const SEPARATOR = 0;
const WORD = 1;
const APOSTROPHE = 0x27;
const LONGEST_WORD = 64;
const N_CODE_POINTS = 0x110000;

// A 64-bit number is two halves of 32 bits, since BigInt takes ten times as long. What returns one leaves it here.
let high = 0;
let low = 0;

/** (ah, al) times (bh, bl), modulo 2^64. */
function multiply(ah, al, bh, bl) {
  const a0 = al & 0xffff;
  const a1 = al >>> 16;
  const b0 = bl & 0xffff;
  const b1 = bl >>> 16;
  const lowest = a0 * b0;
  const middle = a0 * b1 + a1 * b0 + Math.floor(lowest / 65536); // below 2^34, so exact
  high = (a1 * b1 + Math.floor(middle / 65536) + Math.imul(ah, bl) + Math.imul(al, bh)) >>> 0;
  low = ((middle << 16) | (lowest & 0xffff)) >>> 0;
}

/** Finaliser of SplitMix64. */
function mix(h, l) {
  multiply((h ^ (h >>> 30)) >>> 0, (l ^ ((h << 2) | (l >>> 30))) >>> 0, 0xbf58476d, 0x1ce4e5b9);
  [h, l] = [high, low];
  multiply((h ^ (h >>> 27)) >>> 0, (l ^ ((h << 5) | (l >>> 27))) >>> 0, 0x94d049bb, 0x133111eb);
  [h, l] = [high, low];
  high = (h ^ (h >>> 31)) >>> 0;
  low = (l ^ ((h << 1) | (l >>> 31))) >>> 0;
}

/** Hash of an n-gram from that of its first tokens and that of its last token. */
function nextGram(gramHigh, gramLow, tokenHigh, tokenLow) {
  multiply(gramHigh, gramLow, 0xd6e8feb8, 0x6659fd93);
  const sum = low + tokenLow;
  mix((high + tokenHigh + (sum > 0xffffffff ? 1 : 0)) >>> 0, sum >>> 0);
}

const POWERS = (() => {
  const powers = new Uint32Array(2 * LONGEST_WORD);
  powers[1] = 1;
  for (let i = 1; i < LONGEST_WORD; i++) {
    multiply(powers[2 * i - 2], powers[2 * i - 1], 0x9e3779b9, 0x7f4a7c15);
    powers[2 * i] = high;
    powers[2 * i + 1] = low;
  }
  return powers;
})();

/** Class and lower-case letter of every code point, from runs of [length, value]; letters.py has made them. */
export class LetterTable {
  constructor({ classes, shifts, several = [] }) {
    this.several = new Map(several.map(([code, letters]) => [code, Array.from(letters)]));
    this.classes = new Uint8Array(N_CODE_POINTS);
    let at = 0;
    for (let i = 0; i < classes.length; i += 2) {
      this.classes.fill(classes[i + 1], at, (at += classes[i]));
    }
    this.shifts = new Int32Array(N_CODE_POINTS);
    at = 0;
    for (let i = 0; i < shifts.length; i += 2) {
      this.shifts.fill(shifts[i + 1], at, (at += shifts[i]));
    }
  }
}

/** Tokens of a text: places in it (of UTF-16 units), and hashes, two halves each; of WordPiece, rows. */
export class Tokens {
  constructor(starts, ends, hashes) {
    this.starts = starts;
    this.ends = ends;
    this.hashes = hashes;
  }

  get length() {
    return this.starts.length;
  }
}

export class WordFeatures {
  constructor(settings, buckets, table) {
    this.nGrams = settings.ngrams ?? 2;
    this.first = settings.cls ? 0 : undefined; // row of [CLS]
    this.shift = 32 - (settings.bits ?? 22);
    this.buckets = buckets;
    this.table = table;
  }

  /** Cut a text into tokens. */
  tokens(text) {
    const { classes, shifts } = this.table;
    const codes = [];
    const places = [];
    for (let i = 0; i < text.length; ) {
      const code = text.codePointAt(i); // a lone surrogate is a code point
      codes.push(code + shifts[code]);
      places.push(i);
      i += code > 0xffff ? 2 : 1;
    }
    places.push(text.length);
    const isWord = (i) => i >= 0 && i < codes.length && classes[codes[i]] === WORD;
    const starts = [];
    const ends = [];
    const hashes = [];
    const add = (first, last) => {
      let h = 0;
      let l = 0;
      for (let i = first; i < last; i++) {
        multiply(0, codes[i] + 1, POWERS[2 * (i - first)], POWERS[2 * (i - first) + 1]);
        l += low;
        h = (h + high + (l > 0xffffffff ? 1 : 0)) >>> 0;
        l >>>= 0;
      }
      mix(h, l);
      starts.push(places[first]);
      ends.push(places[last]);
      hashes.push(high, low);
    };
    for (let i = 0; i < codes.length; ) {
      const inside = (k) => isWord(k) || (codes[k] === APOSTROPHE && isWord(k - 1) && isWord(k + 1));
      if (inside(i)) {
        let last = i + 1;
        while (last < codes.length && inside(last)) last++;
        for (; i < last; i += LONGEST_WORD) add(i, Math.min(i + LONGEST_WORD, last));
        i = last;
      } else {
        if (classes[codes[i]] !== SEPARATOR) add(i, i + 1);
        i++;
      }
    }
    return new Tokens(starts, ends, hashes);
  }

  /** Row of the n-gram of some tokens, given by their numbers; -1 if it is none. */
  rowOf(hashes, numbers) {
    let h = hashes[2 * numbers[0]];
    let l = hashes[2 * numbers[0] + 1];
    for (let k = 1; k < numbers.length; k++) {
      nextGram(h, l, hashes[2 * numbers[k]], hashes[2 * numbers[k] + 1]);
      [h, l] = [high, low];
    }
    return this.rowOfBucket(h >>> this.shift);
  }

  rowOfBucket(bucket) {
    const { buckets } = this;
    let first = 0;
    let last = buckets.length;
    while (first < last) {
      const middle = (first + last) >>> 1;
      if (buckets[middle] < bucket) first = middle + 1;
      else last = middle;
    }
    return buckets[first] === bucket ? first + (this.first === 0 ? 1 : 0) : -1;
  }

  /** Features that are rows: [row, first token, tokens it covers], words first; and how many are none. */
  features(tokens) {
    const { hashes, length } = tokens;
    const found = [];
    let nUnknown = 0;
    let grams = hashes;
    for (let n = 1; n <= this.nGrams && n <= length; n++) {
      const next = new Uint32Array(2 * Math.max(length - n, 0));
      for (let first = 0; first + n <= length; first++) {
        const row = this.rowOfBucket(grams[2 * first] >>> this.shift);
        if (row >= 0) found.push({ row, first, nTokens: n });
        else nUnknown++;
        if (first + n < length) {
          nextGram(grams[2 * first], grams[2 * first + 1], hashes[2 * (first + n)], hashes[2 * (first + n) + 1]);
          next[2 * first] = high;
          next[2 * first + 1] = low;
        }
      }
      grams = next;
    }
    return { found, nUnknown };
  }

  /** Whether the model knows a token by itself, given its row. */
  knows(row) {
    return row >= 0;
  }

  /** First and past-the-last token of each word: every token is one. */
  units(tokens) {
    return tokens.starts.map((_, i) => [i, i + 1]);
  }
}
