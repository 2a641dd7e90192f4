// Unpacks LZMA streams with the page's decoder. Reads [{stream, size}], base64, from standard input.

import { readFileSync } from "node:fs";
import { decompress } from "../../src/token2wave/serving/page/lzma.js";

const unpacked = JSON.parse(readFileSync(0, "utf8")).map(({ stream, size }) => {
  try {
    return Buffer.from(decompress(Buffer.from(stream, "base64"), size)).toString("base64");
  } catch (error) {
    return { error: error.message };
  }
});
process.stdout.write(JSON.stringify(unpacked));
