// Reads the model file, which docs/format.md specifies.

import { decompressSteps } from "./lzma.js";

const FORMAT_VERSION = 4;
const TYPES = { F32: Float32Array, F16: Uint16Array, I8: Int8Array, U8: Uint8Array, U32: Uint32Array };
const STEP_NUMBERS = 1 << 17; // made in one step
const DECODERS = {
  *float16(encoded) {
    return new Float32Array(encoded).map(decodeFloat16);
  },
  *delta_varint(encoded) {
    return decodeDeltaVarint(encoded);
  },
  *int8(encoded, { scales }) {
    const width = encoded.length / scales.length;
    return yield* makeNumbers(encoded.length, (i) => encoded[i] * scales[Math.floor(i / width)]);
  },
  *lzma(encoded, { shape, step }) {
    const numbers = new Int8Array((yield* decompressSteps(encoded, shape[0] * shape[1])).buffer);
    return yield* makeNumbers(numbers.length, (i) => numbers[i] * step);
  },
};

/** Read a model file: its metadata, and its decoded arrays by name. Yields now and then. */
export function* readModelFile(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  const metadata = JSON.parse(header.__metadata__.token2wave);
  delete header.__metadata__;
  if (metadata.format_version !== FORMAT_VERSION) {
    throw new Error(`expected format ${FORMAT_VERSION}, found format ${metadata.format_version}`);
  }
  const tensors = {};
  for (const [name, { data_offsets: [first, last], dtype }] of Object.entries(header)) {
    if (start + last > bytes.length) throw new Error("expected a whole model file");
    tensors[name] = new TYPES[dtype](bytes.slice(start + first, start + last).buffer); // an aligned copy
    yield;
  }
  for (const [name, encoding] of Object.entries(metadata.storage)) {
    const decode = DECODERS[encoding.kind];
    if (!decode) throw new Error(`expected one of ${Object.keys(DECODERS).join(", ")}, found ${encoding.kind}`);
    tensors[name] = yield* decode(tensors[name], { ...encoding, scales: tensors[`${name}.scale`] });
    yield;
  }
  return { metadata, tensors };
}

/** The numbers that a function gives for each place, in steps. */
function* makeNumbers(n, numberAt) {
  const numbers = new Float32Array(n);
  for (let first = 0; first < n; first += STEP_NUMBERS) {
    const last = Math.min(first + STEP_NUMBERS, n);
    for (let i = first; i < last; i++) numbers[i] = numberAt(i);
    yield;
  }
  return numbers;
}

/** Increasing integers from their differences, seven bits a byte. */
function decodeDeltaVarint(bytes) {
  const numbers = [];
  let previous = -1;
  let gap = 0;
  let factor = 1;
  for (const byte of bytes) {
    gap += (byte & 127) * factor;
    factor *= 128;
    if (byte >= 128) continue;
    previous += gap + 1;
    numbers.push(previous);
    gap = 0;
    factor = 1;
  }
  return Uint32Array.from(numbers);
}

function decodeFloat16(half) {
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  const magnitude = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
  return half & 32768 ? -magnitude : magnitude;
}
