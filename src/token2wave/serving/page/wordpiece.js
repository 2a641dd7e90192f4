// WordPiece features, as BERT has them: what normalisation makes of a code point is in the letter table. (Marks
// that stay, a dozen musical ones and the like, are not put into Unicode's canonical order.)

import { Tokens } from "./words.js";

const DROPPED = 1;
const SPACE = 2;
const ALONE = 3;
const SEVERAL = 4;
const LONGEST_PIECES = 100; // letters of a word; a longer one is unknown
const HANGUL = { first: 0xac00, leading: 0x1100, vowel: 0x1161, trailing: 0x11a7, nVowels: 21, nTrailing: 28 };

export class WordPieceFeatures {
  constructor(settings, vocabulary, table) {
    this.nGrams = 1;
    this.mostTokens = (settings.max_tokens ?? 512) - 2;
    this.table = table;
    const entries = new TextDecoder("utf-8", { ignoreBOM: true }).decode(vocabulary).split("\n");
    this.rows = new Map(entries.map((entry, row) => [entry, row]));
    [this.first, this.last, this.unknown] = ["[CLS]", "[SEP]", "[UNK]"].map((entry) => this.rows.get(entry));
  }

  /** Cut a text into pieces: rows, and which word each belongs to. What is beyond the limit is left out. */
  tokens(text) {
    const tokens = new Tokens([], [], []);
    tokens.words = [];
    let word = [];
    let nWords = 0;
    const end = () => {
      if (word.length && tokens.length < this.mostTokens) this.addWord(tokens, word, nWords++);
      word = [];
    };
    for (let i = 0; i < text.length && tokens.length < this.mostTokens; ) {
      const code = text.codePointAt(i);
      const start = i;
      i += code > 0xffff ? 2 : 1;
      const kind = this.table.classes[code];
      if (kind === DROPPED) continue;
      if (kind === SPACE || kind === ALONE) end();
      if (kind === SPACE) continue;
      for (const letter of this.lettersOf(code, kind)) word.push({ letter, start, end: i });
      if (kind === ALONE) end();
    }
    end();
    for (const column of [tokens.starts, tokens.ends, tokens.hashes, tokens.words]) {
      column.length = Math.min(column.length, this.mostTokens);
    }
    return tokens;
  }

  lettersOf(code, kind) {
    if (kind !== SEVERAL) return [String.fromCodePoint(code + this.table.shifts[code])];
    const several = this.table.several.get(code);
    if (several) return several;
    const place = code - HANGUL.first;
    const trailing = place % HANGUL.nTrailing;
    const vowel = Math.floor(place / HANGUL.nTrailing) % HANGUL.nVowels;
    const leading = Math.floor(place / (HANGUL.nTrailing * HANGUL.nVowels));
    const letters = [HANGUL.leading + leading, HANGUL.vowel + vowel];
    if (trailing) letters.push(HANGUL.trailing + trailing);
    return letters.map((letter) => String.fromCodePoint(letter));
  }

  /** The longest pieces, greedily; one unknown piece where that fails. */
  addWord(tokens, word, number) {
    const pieces = [];
    for (let first = 0; first < word.length && word.length <= LONGEST_PIECES; ) {
      let last = word.length;
      let row;
      for (; last > first; last--) {
        const letters = word.slice(first, last).map(({ letter }) => letter);
        row = this.rows.get((first ? "##" : "") + letters.join(""));
        if (row !== undefined) break;
      }
      if (row === undefined) break;
      pieces.push([row, first, last]);
      first = last;
    }
    const whole = pieces.length && pieces[pieces.length - 1][2] === word.length;
    for (const [row, first, last] of whole ? pieces : [[this.unknown, 0, word.length]]) {
      tokens.starts.push(word[first].start);
      tokens.ends.push(word[last - 1].end);
      tokens.hashes.push(row);
      tokens.words.push(number);
    }
  }

  /** All pieces are rows; see the same method of WordFeatures. */
  features(tokens) {
    return { found: tokens.hashes.map((row, first) => ({ row, first, nTokens: 1 })), nUnknown: 0 };
  }

  rowOf(rows, numbers) {
    return rows[numbers[0]];
  }

  /** Whether the model knows a token by itself. */
  knows(row) {
    return row !== this.unknown;
  }

  /** First and past-the-last token of each word; pieces of one character share its place, and make one. */
  units(tokens) {
    const units = [];
    let ended = 0;
    tokens.words.forEach((word, i) => {
      const begins = word !== tokens.words[i - 1] && tokens.starts[i] >= ended;
      if (begins || !units.length) units.push([i, i + 1]);
      else units[units.length - 1][1] = i + 1;
      ended = Math.max(ended, tokens.ends[i]);
    });
    return units;
  }
}
