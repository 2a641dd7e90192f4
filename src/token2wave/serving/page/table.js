// Reads delimited text and files, and writes CSV that a spreadsheet does not execute.

const MAX_FILE_BYTES = 1 << 28;
const DELIMITERS = [",", ";", "\t"];
const PREVIEW_CHARACTERS = 100_000; // from which the default column is chosen
const FORMULA = /^[=+\-@\uff1d\uff0b\uff0d\uff20\u0000-\u001f\u007f-\u009f]/; // the wide forms count, too
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** Text of a file in UTF-8, or in UTF-16 with a byte order mark. */
export async function readText(file) {
  if (file.size > MAX_FILE_BYTES) throw new Error(`${file.name} has more than 256 MiB; split it first`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const utf16 = { 0xfffe: "utf-16le", 0xfeff: "utf-16be" }[(bytes[0] << 8) | bytes[1]];
  try {
    const text = new TextDecoder(utf16 ?? "utf-8", { fatal: true }).decode(bytes);
    if (!text.includes("\0")) return text;
  } catch {} // the error below says it
  throw new Error(`${file.name} is not a text file in UTF-8; save it as CSV or text in UTF-8`);
}

/** The delimiter that is most frequent in the header outside quotes, or null. */
export function headerDelimiter(text) {
  const header = /^(?:"(?:[^"]|"")*"|[^"\r\n]|")*/.exec(text.slice(0, PREVIEW_CHARACTERS))[0].replace(/"(?:[^"]|"")*"/g, "");
  const count = (delimiter) => header.split(delimiter).length;
  const best = DELIMITERS.reduce((a, b) => (count(b) > count(a) ? b : a));
  return count(best) > 1 ? best : null;
}

/**
 * Yields the rows of delimited text without blank lines. A quote opens a cell only if its closing quote ends the
 * cell; else it is a character of the text, so that it swallows no rows.
 */
export function* readRows(text, delimiter) {
  const cellEnd = new RegExp(delimiter ? `[${delimiter}\r\n]` : "[\r\n]", "g");
  let row = [];
  for (let start = 0; start <= text.length; ) {
    let [cell, end] = quotedCell(text, start, delimiter);
    if (end === null) {
      cellEnd.lastIndex = start;
      end = cellEnd.exec(text)?.index ?? text.length;
      cell = text.slice(start, end);
    }
    row.push(cell);
    start = end + 1;
    if (delimiter && text[end] === delimiter) continue;
    if (text[end] === "\r" && text[start] === "\n") start++;
    if (row.length > 1 || row[0].trim()) yield row;
    row = [];
  }
}

/** Yields the lines that are not blank, as rows of one cell. */
export function* readLines(text) {
  for (const [line] of text.matchAll(/[^\r\n]+/g)) if (line.trim()) yield [line];
}

function quotedCell(text, start, delimiter) {
  if (text[start] !== '"') return ["", null];
  let close = text.indexOf('"', start + 1);
  while (close >= 0 && text[close + 1] === '"') close = text.indexOf('"', close + 2);
  const isClosed = close >= 0 && [delimiter, "\r", "\n", undefined].includes(text[close + 1]);
  return isClosed ? [text.slice(start + 1, close).replaceAll('""', '"'), close + 1] : ["", null];
}

/** Whether a cell spans several lines that have as many cells as the header: a quote has swallowed rows. */
export function hasRows(cell, delimiter, nColumns) {
  const lines = nColumns > 1 && cell.includes("\n") ? cell.split("\n").slice(1, -1) : [];
  return lines.length > 1 && lines.every((line) => line.split(delimiter).length === nColumns);
}

/** How to read a text: its delimiter, header and default column; a column of -1 makes each line a text. */
export function guessTable(text, isTableFile) {
  const delimiter = headerDelimiter(text);
  const preview = [...readRows(text.slice(0, PREVIEW_CHARACTERS), delimiter)];
  const [header = [], ...rows] = preview.length > 2 && text.length > PREVIEW_CHARACTERS ? preview.slice(0, -1) : preview;
  const textColumn = header.findIndex((name) => name.trim().toLowerCase() === "text");
  const areNames = header.length > 1 && rows.length && header.every((name) => /^\S/.test(name));
  const isTable = isTableFile || textColumn >= 0 || (areNames && rows.every((row) => row.length === header.length));
  const lengths = header.map((_, i) => rows.reduce((sum, row) => sum + (row[i]?.length ?? 0), 0));
  const column = textColumn >= 0 ? textColumn : lengths.indexOf(Math.max(...lengths));
  return { delimiter, header, column: isTable ? column : -1 };
}

/** A line of CSV. An apostrophe keeps spreadsheets from computing cells, as in formatting.py. */
export function csvLine(cells) {
  return joinCells(cells.map((cell) => (FORMULA.test(cell) && !NUMBER.test(cell) ? `'${cell}` : cell)));
}

/** A line of CSV whose cells stay as they are. */
export function joinCells(cells) {
  return `${cells.map((cell) => (/[",;\t\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",")}\r\n`;
}
