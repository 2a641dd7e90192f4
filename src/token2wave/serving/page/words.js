// Words, their hashes, and the rows of n-grams, exactly as token2wave/features/text.py defines them.

import { decompressSteps } from "./lzma.js";
import { normalise, pairKey } from "./normal_form.js";

const SEPARATOR = 0;
const WORD = 1;
const SINGLE_LETTER = 4; // class of the letters of scripts without blanks
const AFTER_LETTER = 1; // the bit of a hash: such a letter directly after another
const APOSTROPHE = 0x27;
const MAX_WORD = 64;
const MAX_CHARACTERS = 5; // of an n-gram in the OOV table
const [BASE_HIGH, BASE_LOW] = [0x9e3779b9, 0x7f4a7c15]; // by whose powers the letters of a word are weighted
const [LINK_HIGH, LINK_LOW] = [0xd6e8feb8, 0x6659fd93];
const N_CODE_POINTS = 0x110000;
const NO_ENTRIES = [];

// A 64-bit integer is two halves of 32 bits, because BigInt is ten times slower. Functions return one here.
let high = 0;
let low = 0;

/** (ah, al) times (bh, bl), modulo 2^64. */
function multiply(ah, al, bh, bl) {
  const [a0, a1, b0, b1] = [al & 0xffff, al >>> 16, bl & 0xffff, bl >>> 16];
  const lowest = a0 * b0;
  const middle = a0 * b1 + a1 * b0 + Math.floor(lowest / 65536); // below 2^34, so exact
  high = (a1 * b1 + Math.floor(middle / 65536) + Math.imul(ah, bl) + Math.imul(al, bh)) >>> 0;
  low = ((middle << 16) | (lowest & 0xffff)) >>> 0;
}

/** (ah, al) plus (bh, bl), modulo 2^64. */
function add(ah, al, bh, bl) {
  const sum = al + bl;
  high = (ah + bh + (sum > 0xffffffff ? 1 : 0)) >>> 0;
  low = sum >>> 0;
}

/** Finalizer of SplitMix64. */
function mix(h, l) {
  multiply((h ^ (h >>> 30)) >>> 0, (l ^ ((h << 2) | (l >>> 30))) >>> 0, 0xbf58476d, 0x1ce4e5b9);
  [h, l] = [high, low];
  multiply((h ^ (h >>> 27)) >>> 0, (l ^ ((h << 5) | (l >>> 27))) >>> 0, 0x94d049bb, 0x133111eb);
  [h, l] = [high, low];
  high = (h ^ (h >>> 31)) >>> 0;
  low = (l ^ ((h << 1) | (l >>> 31))) >>> 0;
}

/** Lower half of the hash of a token as an n-gram. */
function lowOfGram(keys, i) {
  return (keys[2 * i + 1] & ~AFTER_LETTER) >>> 0;
}

/** Hash of an n-gram from that of its first n - 1 tokens and that of token `i`. */
function extendGram(gramHigh, gramLow, hashes, i) {
  multiply(gramHigh, gramLow, LINK_HIGH, LINK_LOW);
  add(high, low, hashes[2 * i], hashes[2 * i + 1]);
  mix(high, low);
}

const POWERS = new Uint32Array(2 * MAX_WORD); // of the base
for (let i = 0; i < MAX_WORD; i++) {
  if (i) multiply(high, low, BASE_HIGH, BASE_LOW);
  else [high, low] = [0, 1];
  POWERS.set([high, low], 2 * i);
}

/**
 * Expand the letter table of letters.py: what it says of every code point, the letters of those that become
 * several, and what pairs become. Yields now and then.
 */
export function* expandLetterTable({ lzma, size }) {
  const stream = Uint8Array.from(atob(lzma), (character) => character.charCodeAt(0));
  const table = JSON.parse(new TextDecoder().decode(yield* decompressSteps(stream, size)));
  const expanded = {
    classes: expandRuns(table.classes, new Uint8Array(N_CODE_POINTS)),
    shifts: expandRuns(table.shifts, new Int32Array(N_CODE_POINTS)),
    expansions: new Map(table.expansions.map(([code, letters]) => [code, [...letters]])),
  };
  yield;
  if (!table.compositions) return expanded; // for WordPiece
  const codesOf = (letters) => Array.from(letters, (letter) => letter.codePointAt(0));
  const compositions = new Map();
  const triples = codesOf(table.compositions);
  for (let i = 0; i < triples.length; i += 3) {
    compositions.set(pairKey(triples[i], triples[i + 1]), triples[i + 2]);
  }
  yield;
  return {
    ...expanded,
    marks: expandRuns(table.marks, new Uint8Array(N_CODE_POINTS)),
    combining: expandRuns(table.combining, new Uint8Array(N_CODE_POINTS)),
    expansions: new Map(table.expansions.map(([code, letters]) => [code, codesOf(letters)])),
    compositions,
  };
}

function expandRuns(runs, values) {
  let end = 0;
  for (let i = 0; i < runs.length; i += 2) values.fill(runs[i + 1], end, (end += runs[i]));
  return values;
}

/** Index of a number in an increasing array; -1 if it is not there. */
function indexIn(numbers, number) {
  let first = 0;
  let last = numbers.length;
  while (first < last) {
    const middle = (first + last) >>> 1;
    if (numbers[middle] < number) first = middle + 1;
    else last = middle;
  }
  return numbers[first] === number ? first : -1;
}

export class WordFeatures {
  constructor(settings, buckets, table, oovHashes = new Uint32Array(0)) {
    this.nGrams = settings.ngrams ?? 2;
    this.longestNgram = Math.max(this.nGrams, settings.unspaced_ngrams ?? 4); // of letters after letters
    this.first = settings.cls ? 0 : undefined; // row of [CLS]
    this.shift = 32 - (settings.bits ?? 22);
    this.buckets = buckets;
    this.table = table;
    this.oovHashes = oovHashes;
  }

  /**
   * Split a text into tokens: where they start and end, in UTF-16 units, hashes, two halves each, and the
   * entries of the OOV table.
   */
  tokenize(text) {
    const { classes } = this.table;
    const { codes, starts, ends } = normalise(text, this.table);
    const tokens = { starts: [], ends: [], keys: [], oov: [] };
    const addToken = (first, last) => {
      let [h, l] = [0, 0];
      for (let i = first; i < last; i++) {
        multiply(0, codes[i] + 1, POWERS[2 * (i - first)], POWERS[2 * (i - first) + 1]);
        add(h, l, high, low);
        [h, l] = [high, low];
      }
      mix(h, l);
      const isAfterLetter = classes[codes[first]] === SINGLE_LETTER && classes[codes[first - 1]] === SINGLE_LETTER;
      tokens.starts.push(starts[first]);
      tokens.ends.push(ends[last - 1]);
      tokens.keys.push(high, ((low & ~AFTER_LETTER) | (isAfterLetter ? AFTER_LETTER : 0)) >>> 0);
      tokens.oov.push(this.oovEntries(high, codes, first, last));
    };
    const isWord = (i) => classes[codes[i]] === WORD;
    const isInside = (i) => isWord(i) || (codes[i] === APOSTROPHE && isWord(i - 1) && isWord(i + 1));
    for (let first = 0, last = 0; first < codes.length; first = last) {
      while (isInside(last)) last++;
      for (let i = first; i < last; i += MAX_WORD) addToken(i, Math.min(i + MAX_WORD, last));
      if (last > first) continue;
      last++;
      if (classes[codes[first]] !== SEPARATOR) addToken(first, last);
    }
    return tokens;
  }

  /** Row of the n-gram of some tokens, given by their numbers; -1 if it has none, or is no feature. */
  rowOf(keys, numbers) {
    const isAfterLetter = (number) => keys[2 * number + 1] & AFTER_LETTER;
    if (numbers.length > this.nGrams && !numbers.slice(1).every(isAfterLetter)) return -1;
    let [h, l] = [keys[2 * numbers[0]], lowOfGram(keys, numbers[0])];
    for (const number of numbers.slice(1)) {
      extendGram(h, l, keys, number);
      [h, l] = [high, low];
    }
    return this.rowOfBucket(h >>> this.shift);
  }

  rowOfBucket(bucket) {
    const index = indexIn(this.buckets, bucket);
    return index >= 0 && this.first === 0 ? index + 1 : index;
  }

  /** Entries of the OOV table for a token without a row: that of the word, else those of its character n-grams. */
  oovEntries(hash, codes, first, last) {
    const { oovHashes } = this;
    if (!oovHashes.length || this.rowOfBucket(hash >>> this.shift) >= 0) return NO_ENTRIES;
    const entry = indexIn(oovHashes, hash);
    if (entry >= 0) return [entry];
    const letters = [1, ...codes.slice(first, last).map((code) => code + 2), 1]; // with the ends of the word
    const rolled = letters.map(() => [LINK_HIGH, LINK_LOW]);
    const entries = [];
    for (let n = 1; n <= MAX_CHARACTERS; n++) {
      for (let i = 0; i + n <= letters.length; i++) {
        multiply(rolled[i][0], rolled[i][1], BASE_HIGH, BASE_LOW);
        add(high, low, 0, letters[i + n - 1]);
        rolled[i] = [high, low];
        mix(high, low);
        if (n > 1) entries.push(indexIn(oovHashes, high));
      }
    }
    return entries.filter((index) => index >= 0);
  }

  /** Features that have a row, words first: row, first token, number of tokens; and how many have none. */
  lookUp({ keys }) {
    const features = [];
    let nUnknown = 0;
    const nTokens = keys.length / 2;
    const lastSpaced = []; // the last token up to each one that is no letter after a letter
    for (let i = 0; i < nTokens; i++) lastSpaced.push(keys[2 * i + 1] & AFTER_LETTER ? lastSpaced[i - 1] : i);
    let firsts = lastSpaced.map((_, i) => i);
    let grams = firsts.flatMap((i) => [keys[2 * i], lowOfGram(keys, i)]);
    for (let n = 1; firsts.length; n++) {
      const [nextFirsts, nextGrams] = [[], []];
      firsts.forEach((first, i) => {
        const row = this.rowOfBucket(grams[2 * i] >>> this.shift);
        if (row >= 0) features.push({ row, first, nTokens: n });
        else nUnknown++;
        const added = first + n;
        const isLong = n >= this.nGrams && (n >= this.longestNgram || lastSpaced[added] > first);
        if (added === nTokens || isLong) return;
        extendGram(grams[2 * i], grams[2 * i + 1], keys, added);
        nextFirsts.push(first);
        nextGrams.push(high, low);
      });
      [firsts, grams] = [nextFirsts, nextGrams];
    }
    return { features, nUnknown };
  }

  /** Whether the model knows a token by itself, given its row. */
  isKnown(row) {
    return row >= 0;
  }

  /** First and past-the-last token of each word; every token is a word, but those of one character stay together. */
  units({ starts, ends }) {
    const firsts = starts.map((_, i) => i).filter((i) => !i || starts[i] >= ends[i - 1]);
    return firsts.map((first, i) => [first, firsts[i + 1] ?? starts.length]);
  }
}
