// The model file, as docs/format.md specifies it.

import { floatsOfHalves, decodeDeltaVarint } from "./bytes.js";
import { decompress } from "./lzma.js";

const FORMAT_VERSION = 3;
const TYPES = { F32: Float32Array, F16: Uint16Array, I8: Int8Array, U8: Uint8Array, U32: Uint32Array };
export const NETWORK_DEFAULTS = {
  width: 768,
  layers: 1,
  operation: "modulation",
  variants: "linear",
  restore: "linear",
  readout: "cls",
  positions: "none",
  context_width: 0,
  context_radius: 3,
  linear_svm: false,
  multi_label: false,
};

/** Read a model file: its metadata, and its arrays decoded, by name. */
export function readModelFile(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const metadata = JSON.parse(header.__metadata__.token2wave);
  delete header.__metadata__;
  if (metadata.format_version !== FORMAT_VERSION) {
    throw new Error(`expected format ${FORMAT_VERSION}, found format ${metadata.format_version}`);
  }
  const tensors = {};
  for (const [name, entry] of Object.entries(header)) {
    const [first, last] = entry.data_offsets;
    if (8 + length + last > bytes.length) throw new Error("expected a whole model file");
    const body = bytes.slice(8 + length + first, 8 + length + last); // a copy, which is aligned
    tensors[name] = new TYPES[entry.dtype](body.buffer);
  }
  for (const [name, how] of Object.entries(metadata.storage)) {
    tensors[name] = decoded(name, how, tensors);
  }
  return { metadata, tensors };
}

function decoded(name, how, tensors) {
  const encoded = tensors[name];
  if (how.kind === "float16") return floatsOfHalves(encoded);
  if (how.kind === "delta_varint") return decodeDeltaVarint(encoded);
  if (how.kind === "int8") {
    const scales = tensors[`${name}.scale`];
    const width = encoded.length / scales.length;
    return scaled(encoded, (i) => scales[Math.floor(i / width)]);
  }
  if (how.kind === "lzma") {
    const unpacked = decompress(encoded, how.shape[0] * how.shape[1]);
    return scaled(new Int8Array(unpacked.buffer), () => how.step);
  }
  throw new Error(`expected storage of a known kind, found ${how.kind}`);
}

function scaled(numbers, scaleOf) {
  const values = new Float32Array(numbers.length);
  for (let i = 0; i < numbers.length; i++) values[i] = numbers[i] * scaleOf(i);
  return values;
}
