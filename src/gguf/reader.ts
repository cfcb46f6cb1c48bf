/**
 * GGUF files by ranges: the header is read and checked, tensors are read when asked for.
 *
 * @module
 */
import type { ByteSource } from "../safetensors/mod.ts";
import { broken, NeedsMore } from "./cursor.ts";
import { type GgufHeader, type GgufTensor, parseGgufHeader } from "./header.ts";

/** A file whose header is read and checked. */
export interface GgufFile extends GgufHeader {
  /** The bytes of a tensor as they are in the file. Throws ConfigError when the source has become shorter. */
  read(tensor: GgufTensor): Promise<Uint8Array>;
}

/** The greatest header that is read: vocabularies of 256,000 tokens take some 10 MB. */
export const maxGgufHeaderBytes = 100_000_000;

/** What is read first; four times as much each time that it was not all. */
const firstBytes = 2 ** 20;

async function readExactly(source: ByteSource, at: number, count: number): Promise<Uint8Array> {
  const bytes = await source.read(at, count);
  if (bytes.length === count) return bytes;
  throw broken(`asked for ${count} bytes at ${at}, the source gave ${bytes.length}`);
}

/** The header, and no more than four times its bytes. */
async function readHeader(source: ByteSource): Promise<GgufHeader> {
  const most = Math.min(source.sizeBytes, maxGgufHeaderBytes);
  let bytes = await readExactly(source, 0, Math.min(firstBytes, most));
  for (;;) {
    try {
      return parseGgufHeader(bytes, source.sizeBytes);
    } catch (error) {
      if (!(error instanceof NeedsMore)) throw error;
    }
    if (bytes.length >= most) throw broken(`the header has more than ${maxGgufHeaderBytes} bytes`);
    const longer = new Uint8Array(Math.min(4 * bytes.length, most));
    longer.set(bytes);
    longer.set(await readExactly(source, bytes.length, longer.length - bytes.length), bytes.length);
    bytes = longer;
  }
}

/**
 * Reads and checks a file's header. The source stays the caller's to close.
 *
 * @throws ConfigError when the bytes break a rule of the format.
 */
export async function readGguf(source: ByteSource): Promise<GgufFile> {
  const header = await readHeader(source);
  return { ...header, read: ({ begin, end }) => readExactly(source, begin, end - begin) };
}
