// From the text of an HTML file to bytes, and from bytes to arrays.

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PADDING = "=".charCodeAt(0);

/** Decode base64 without padding or white space between; a loop, since fetch("data:...") is a request. */
export function bytesOfBase64(text) {
  const values = new Uint8Array(128);
  for (let i = 0; i < 64; i++) values[BASE64.charCodeAt(i)] = i;
  let length = text.length;
  while (length && text.charCodeAt(length - 1) === PADDING) length--;
  const bytes = new Uint8Array(Math.floor((length * 3) / 4));
  let at = 0;
  for (let i = 0; i < length; i += 4) {
    const group =
      (values[text.charCodeAt(i)] << 18) |
      (values[text.charCodeAt(i + 1)] << 12) |
      (i + 2 < length ? values[text.charCodeAt(i + 2)] << 6 : 0) |
      (i + 3 < length ? values[text.charCodeAt(i + 3)] : 0);
    bytes[at++] = group >> 16;
    bytes[at++] = group >> 8; // beyond the end of a typed array nothing is written
    bytes[at++] = group;
  }
  return bytes;
}

/** Decode increasing whole numbers (storage `delta_varint` of docs/format.md). */
export function decodeDeltaVarint(bytes) {
  const numbers = [];
  let before = -1;
  let gap = 0;
  let factor = 1;
  for (const byte of bytes) {
    gap += (byte & 127) * factor;
    factor *= 128;
    if (byte < 128) {
      before += gap + 1;
      numbers.push(before);
      gap = 0;
      factor = 1;
    }
  }
  return Uint32Array.from(numbers);
}

/** Half-precision numbers in single precision. */
export function floatsOfHalves(halves) {
  const floats = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const exponent = (halves[i] >> 10) & 31;
    const fraction = halves[i] & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    floats[i] = halves[i] & 32768 ? -size : size;
  }
  return floats;
}
