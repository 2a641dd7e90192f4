// The normal form of texts, exactly as token2wave/features/normalisation.py defines it. Not that of
// String.prototype.normalize, whose version of Unicode is the browser's.

const [BEGINS, LEFT_OUT] = [253, 254]; // marks; so is one more, of what needs more than to be folded
const [IOTA_BELOW, IOTA] = [0x345, 0x3b9];
const [LEADS, VOWELS, FINALS, SYLLABLES] = [0x1100, 0x1161, 0x11a7, 0xac00]; // of Hangul; FINALS is before the first
const [N_LEADS, N_VOWELS, N_FINALS] = [19, 21, 28];
const N_SYLLABLES = N_LEADS * N_VOWELS * N_FINALS;

/**
 * Normalise a text: the code points of its normal form, and where each comes from in the text, in UTF-16 units.
 * The code points of a segment that changed as a whole all come from the whole segment.
 */
export function normalise(text, table) {
  const { marks, shifts } = table;
  const raw = [];
  const places = [];
  for (let i = 0; i < text.length; i += raw.at(-1) > 0xffff ? 2 : 1) {
    raw.push(text.codePointAt(i)); // a lone surrogate is a code point
    places.push(i);
  }
  places.push(text.length);
  const form = { codes: [], starts: [], ends: [] };
  const add = (code, first, last) => {
    form.codes.push(code);
    form.starts.push(places[first]);
    form.ends.push(places[last]);
  };
  for (let first = 0, last = 0; first < raw.length; first = last) {
    let changes = marks[raw[last++]] >= BEGINS;
    for (; last < raw.length && marks[raw[last]] && marks[raw[last]] !== BEGINS; last++) {
      changes ||= marks[raw[last]] >= BEGINS || marks[raw[last]] < marks[raw[last - 1]];
    }
    if (changes) for (const code of normaliseSegment(raw.slice(first, last), table)) add(code, first, last);
    else for (let i = first; i < last; i++) add(raw[i] + shifts[raw[i]], i, i + 1);
  }
  return form;
}

function normaliseSegment(codes, table) {
  const letters = codes.flatMap((code) => lettersOf(code, table));
  return compose(order(letters, table), table);
}

/** What stands for a code point before marks are put in order. */
function lettersOf(code, { marks, shifts, expansions }) {
  if (marks[code] === LEFT_OUT) return [];
  const folded = code + shifts[code];
  return expansions.get(code) ?? expansions.get(folded) ?? folded;
}

/** Put each run of marks in the order of their combining classes. */
function order(letters, { combining }) {
  for (let first = 0, last = 0; first < letters.length; first = ++last) {
    while (last < letters.length && combining[letters[last]]) last++;
    const run = letters.slice(first, last).sort((a, b) => combining[a] - combining[b]);
    run.forEach((letter, i) => (letters[first + i] = letter));
  }
  return letters.map((letter) => (letter === IOTA_BELOW ? IOTA : letter));
}

/** Join letters with the starter before them. */
function compose(letters, { combining, compositions }) {
  const composed = [];
  let starter = -1;
  let highest = -1; // class of the last letter that stayed after the starter; -1 for none
  for (const letter of letters) {
    const own = combining[letter];
    if (starter >= 0 && (highest < own || highest < 0)) {
      const joined = join(composed[starter], letter, compositions);
      if (joined !== undefined) {
        composed[starter] = joined;
        continue;
      }
    }
    if (!own) starter = composed.length;
    highest = own || -1;
    composed.push(letter);
  }
  return composed;
}

/** What a pair of code points becomes; undefined if it stays. */
function join(first, second, compositions) {
  const [lead, vowel, syllable, final] = [first - LEADS, second - VOWELS, first - SYLLABLES, second - FINALS];
  if (lead >= 0 && lead < N_LEADS && vowel >= 0 && vowel < N_VOWELS) {
    return SYLLABLES + (lead * N_VOWELS + vowel) * N_FINALS;
  }
  if (syllable >= 0 && syllable < N_SYLLABLES && syllable % N_FINALS === 0 && final > 0 && final < N_FINALS) {
    return first + final;
  }
  return compositions.get(pairKey(first, second));
}

/** A pair of code points as one number. */
export function pairKey(first, second) {
  return first * 0x200000 + second;
}
