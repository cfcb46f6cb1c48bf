/**
 * Tensors out of a file, by ranges, and out of memory.
 *
 * @module
 */
import { alignmentBytes, type SafetensorsDtype } from "./dtypes.ts";
import { quoted, SafetensorsError } from "./errors.ts";
import { foreignKind } from "./foreign.ts";
import { headerSize, parseHeader, type SafetensorsHeader, type TensorInfo } from "./header.ts";

/** Bytes that are read by ranges, e.g. a file. */
export interface ByteSource {
  readonly sizeBytes: number;
  /** Exactly `count` bytes from byte `at` on; the caller keeps `at + count <= sizeBytes`. */
  read(at: number, count: number): Promise<Uint8Array>;
  /** Frees what the source holds. */
  close?(): Promise<void>;
}

/** One tensor's elements as they are in the file: little-endian, row-major. */
export interface TensorView {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** Starts at a multiple of the element size in its buffer, so that a typed array may lie over it. */
  readonly bytes: Uint8Array;
}

/** A file whose header is read and checked; tensors are read when asked for. */
export interface SafetensorsFile extends SafetensorsHeader {
  /** Throws SafetensorsError when there is no such tensor, or the source has become shorter. */
  read(name: string): Promise<TensorView>;
}

/** A file in memory; `read` gives views of it, and copies only where the alignment is off. */
export interface SafetensorsBytes extends SafetensorsHeader {
  /** Throws SafetensorsError when there is no such tensor. */
  read(name: string): TensorView;
}

/** The bounds of a reader. */
export interface ReadOptions {
  /** The greatest header to read, in bytes; at most, and by default, the format's 100,000,000. */
  readonly maxHeaderBytes?: number;
}

/** Memory as a source; ranges are views, not copies. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    sizeBytes: bytes.length,
    read: (at, count) => Promise.resolve(bytes.subarray(at, at + count)),
  };
}

/**
 * Reads and checks a file's header. The source stays the caller's to close.
 *
 * @throws SafetensorsError when the bytes break a rule of the format.
 */
export async function openSafetensors(
  source: ByteSource,
  options: ReadOptions = {},
): Promise<SafetensorsFile> {
  const { sizeBytes } = source;
  const prefix = await readExactly(source, 0, Math.min(8, sizeBytes));
  const size = await sizeOf(source, prefix, options);
  const dataStart = 8 + size;
  const bytes = await readExactly(source, 8, size);
  const header = headerOf({ prefix, bytes }, sizeBytes - dataStart);
  return {
    ...header,
    read: async (name) => {
      const info = find(header, name);
      return view(info, await readExactly(source, dataStart + info.begin, info.end - info.begin));
    },
  };
}

/**
 * Checks a file in memory; nothing is copied.
 *
 * @throws SafetensorsError when the bytes break a rule of the format.
 */
export function parseSafetensors(bytes: Uint8Array, options: ReadOptions = {}): SafetensorsBytes {
  const prefix = bytes.subarray(0, 8);
  let size: number;
  try {
    size = headerSize(prefix, { ...options, fileBytes: bytes.length });
  } catch (error) {
    throw namingForeign(error, bytes.subarray(0, startBytes));
  }
  const data = bytes.subarray(8 + size);
  const header = headerOf({ prefix, bytes: bytes.subarray(8, 8 + size) }, data.length);
  return {
    ...header,
    read: (name) => {
      const info = find(header, name);
      return view(info, data.subarray(info.begin, info.end));
    },
  };
}

/** First bytes that tell what a file is. */
const startBytes = 64;

/** The error for a file of another kind, in place of an error about its bytes; unless its header begins as one does. */
function namingForeign(error: unknown, start: Uint8Array): unknown {
  const kind = start[8] === 0x7b ? undefined : foreignKind(start);
  if (!kind || !(error instanceof SafetensorsError)) return error;
  return new SafetensorsError(`Cannot read safetensors: ${kind}`, { cause: error });
}

async function sizeOf(source: ByteSource, prefix: Uint8Array, options: ReadOptions): Promise<number> {
  try {
    return headerSize(prefix, { ...options, fileBytes: source.sizeBytes });
  } catch (error) {
    throw namingForeign(error, await readExactly(source, 0, Math.min(startBytes, source.sizeBytes)));
  }
}

function headerOf(
  { prefix, bytes }: { readonly prefix: Uint8Array; readonly bytes: Uint8Array },
  dataBytes: number,
): SafetensorsHeader {
  try {
    return parseHeader(bytes, dataBytes);
  } catch (error) {
    const start = new Uint8Array(startBytes);
    start.set(prefix);
    start.set(bytes.subarray(0, startBytes - 8), 8);
    throw namingForeign(error, start);
  }
}

async function readExactly(source: ByteSource, at: number, count: number): Promise<Uint8Array> {
  const bytes = await source.read(at, count);
  if (bytes.length === count) return bytes;
  throw new SafetensorsError(
    `Cannot read safetensors: asked for ${count} bytes at ${at}, the source gave ${bytes.length}`,
  );
}

function find(header: SafetensorsHeader, name: string): TensorInfo {
  const info = header.tensors.get(name);
  if (info) return info;
  throw new SafetensorsError(`Cannot read tensor ${quoted(name)}: the file has no tensor of that name`);
}

function view({ name, dtype, shape }: TensorInfo, bytes: Uint8Array): TensorView {
  const isAligned = bytes.byteOffset % alignmentBytes(dtype) === 0;
  return { name, dtype, shape, bytes: isAligned ? bytes : bytes.slice() };
}
