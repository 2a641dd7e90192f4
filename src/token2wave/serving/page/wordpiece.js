// WordPiece tokens, as in BERT. The letter table has the normalization of each code point. (A dozen combining
// marks, mostly musical, are not put into Unicode's canonical order.)

const [REMOVED, SPACE, ISOLATED, EXPANDED] = [1, 2, 3, 4]; // classes of the letter table; see letters.py
const MAX_LETTERS = 100; // longer words are unknown

export class WordPieceFeatures {
  constructor(settings, vocabulary, table) {
    this.longestNgram = 1;
    this.maxTokens = (settings.max_tokens ?? 512) - 2;
    this.table = table;
    const entries = new TextDecoder("utf-8", { ignoreBOM: true }).decode(vocabulary).split("\n");
    this.rows = new Map(entries.map((entry, row) => [entry, row]));
    [this.first, this.last, this.unknown] = ["[CLS]", "[SEP]", "[UNK]"].map((entry) => this.rows.get(entry));
  }

  /** Split a text into tokens; see WordFeatures. `keys` are rows; `words` has the number of each token's word. */
  tokenize(text) {
    const tokens = { starts: [], ends: [], keys: [], words: [], oov: [] };
    let word = [];
    let nWords = 0;
    const endWord = () => {
      if (word.length) this.addWord(tokens, word, nWords++);
      word = [];
    };
    for (let i = 0; i < text.length && tokens.keys.length < this.maxTokens; ) {
      const code = text.codePointAt(i);
      const start = i;
      i += code > 0xffff ? 2 : 1;
      const kind = this.table.classes[code];
      if (kind === REMOVED) continue;
      if (kind === SPACE || kind === ISOLATED) endWord();
      if (kind === SPACE) continue;
      for (const letter of this.lettersOf(code, kind)) word.push({ letter, start, end: i });
      if (kind === ISOLATED) endWord();
    }
    endWord();
    for (const column of Object.values(tokens)) column.length = Math.min(column.length, this.maxTokens);
    return tokens;
  }

  lettersOf(code, kind) {
    if (kind !== EXPANDED) return [String.fromCodePoint(code + this.table.shifts[code])];
    return this.table.expansions.get(code) ?? [...String.fromCodePoint(code).normalize("NFD")]; // Hangul
  }

  /** Add the tokens of a word: greedily the longest entries, or one unknown token. */
  addWord(tokens, word, number) {
    let pieces = [];
    for (let first = 0; first < word.length; first = pieces.at(-1)[2]) {
      const piece = word.length <= MAX_LETTERS && this.longestPiece(word, first);
      if (piece) pieces.push(piece);
      else pieces = [[this.unknown, 0, word.length]];
    }
    for (const [row, first, last] of pieces) {
      tokens.starts.push(word[first].start);
      tokens.ends.push(word[last - 1].end);
      tokens.keys.push(row);
      tokens.words.push(number);
    }
  }

  longestPiece(word, first) {
    for (let last = word.length; last > first; last--) {
      const letters = word.slice(first, last).map(({ letter }) => letter);
      const row = this.rows.get((first ? "##" : "") + letters.join(""));
      if (row !== undefined) return [row, first, last];
    }
    return null;
  }

  /** See WordFeatures; every token has a row. */
  lookUp({ keys }) {
    return { features: keys.map((row, first) => ({ row, first, nTokens: 1 })), nUnknown: 0 };
  }

  rowOf(keys, numbers) {
    return keys[numbers[0]];
  }

  isKnown(row) {
    return row !== this.unknown;
  }

  /** See WordFeatures. Tokens of one character have the same place and form one unit. */
  units({ starts, ends, words }) {
    const units = [];
    let end = 0;
    words.forEach((word, i) => {
      const begins = word !== words[i - 1] && starts[i] >= end;
      if (begins || !units.length) units.push([i, i + 1]);
      else units.at(-1)[1] = i + 1;
      end = Math.max(end, ends[i]);
    });
    return units;
  }
}
