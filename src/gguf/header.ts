/**
 * Header bytes to a value that cannot be wrong: whoever holds a {@linkcode GgufHeader} may slice by it.
 *
 * The rules are those of ggml's own reader, version 2 and 3: tensors stand in the order of their offsets, each begins at
 * a multiple of the alignment, and nothing but padding is between them.
 *
 * @module
 */
import { broken, Cursor, quoted } from "./cursor.ts";
import { type GgufType, ggufTypes } from "./types.ts";

/** A value of the metadata. 64-bit integers past 2^53 are bigints. */
export type GgufScalar = number | bigint | boolean | string;

/** An entry of the metadata. */
export type GgufValue = GgufScalar | readonly GgufScalar[];

/** Where a tensor is and what it is. */
export interface GgufTensor {
  readonly name: string;
  readonly type: GgufType;
  /** Sizes, row-major: the last is that of a row. Files have them in the reverse order. */
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file; and one past the last. */
  readonly begin: number;
  readonly end: number;
}

/** A file's metadata and tensors. */
export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** By name, in the order of the data. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** What ggml allows: dimensions of a tensor, and bytes of its name with the zero that ends it in memory. */
const mostDimensions = 4;
const nameBytes = 64;

/** The alignment of files that name none, and the most that is believed. */
const usualAlignment = 32;
const mostAlignment = 2 ** 20;

const magic = "GGUF";

const whole = (value: bigint): number | bigint =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value)
    : value;

/** A kind of value: its least bytes, and how it is read. */
interface Kind {
  readonly bytes: number;
  read(from: Cursor, what: string): GgufScalar;
}

const scalars: readonly Kind[] = [
  { bytes: 1, read: (from, what) => from.uint8(what) },
  { bytes: 1, read: (from, what) => from.int8(what) },
  { bytes: 2, read: (from, what) => from.uint16(what) },
  { bytes: 2, read: (from, what) => from.int16(what) },
  { bytes: 4, read: (from, what) => from.uint32(what) },
  { bytes: 4, read: (from, what) => from.int32(what) },
  { bytes: 4, read: (from, what) => from.float32(what) },
  { bytes: 1, read: readFlag },
  { bytes: 8, read: (from, what) => from.text(what) },
];
const arrayKind = 9;
const wide: readonly Kind[] = [
  { bytes: 8, read: (from, what) => whole(from.uint64(what)) },
  { bytes: 8, read: (from, what) => whole(from.int64(what)) },
  { bytes: 8, read: (from, what) => from.float64(what) },
];

function readFlag(from: Cursor, what: string): boolean {
  const byte = from.uint8(what);
  if (byte > 1) throw broken(`${what} is the byte ${byte}, and a truth value is 0 or 1`);
  return byte === 1;
}

/** A kind by its number in files. */
function kindOf(number: number, what: string): Kind {
  const kind = number < arrayKind ? scalars[number] : wide[number - arrayKind - 1];
  if (kind) return kind;
  throw broken(
    number === arrayKind
      ? `${what} is an array of arrays, which is not supported`
      : `${what} has type ${number}, the format's types are 0 to ${arrayKind + wide.length}`,
  );
}

function readValue(from: Cursor, what: string): GgufValue {
  const number = from.uint32(`the type of ${what}`);
  if (number !== arrayKind) return kindOf(number, what).read(from, what);
  const kind = kindOf(from.uint32(`the type of ${what}`), what);
  const count = from.count(`the length of ${what}`, kind.bytes);
  const values: GgufScalar[] = [];
  for (let i = 0; i < count; i++) values.push(kind.read(from, what));
  return values;
}

function readMetadata(from: Cursor, count: number): ReadonlyMap<string, GgufValue> {
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const key = from.text(`metadata key ${i}`), what = `metadata ${quoted(key)}`;
    if (metadata.has(key)) throw broken(`${what} stands there twice`);
    metadata.set(key, readValue(from, what));
  }
  return metadata;
}

/** What a header says of a tensor; its place is still counted from the start of the data. */
interface Entry extends Pick<GgufTensor, "name" | "type" | "shape"> {
  readonly offset: bigint;
  readonly bytes: number;
}

function readSizes(from: Cursor, what: string): number[] {
  const dimensions = from.uint32(`the dimensions of ${what}`);
  if (dimensions < 1 || dimensions > mostDimensions) {
    throw broken(`${what} has ${dimensions} dimensions, the rule is 1 to ${mostDimensions}`);
  }
  const sizes: number[] = [];
  for (let i = 0; i < dimensions; i++) {
    const size = from.uint64(`the sizes of ${what}`);
    if (size < 1n || size > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw broken(`${what} has a size of ${size}, the rule is 1 to 2^53 - 1`);
    }
    sizes.push(Number(size));
  }
  return sizes;
}

/** Bytes of a tensor whose rows are stored in whole blocks. */
function bytesOf({ blockSize, blockBytes, name }: GgufType, sizes: readonly number[], what: string): number {
  if (sizes[0] % blockSize !== 0) {
    throw broken(
      `${what} has rows of ${sizes[0]} elements, and ${name} stores multiples of ${blockSize}`,
    );
  }
  const bytes = sizes.reduce((product, size) => product * size, blockBytes) / blockSize;
  if (bytes <= Number.MAX_SAFE_INTEGER) return bytes;
  throw broken(`${what} has more than 2^53 - 1 bytes`);
}

function readEntry(from: Cursor, index: number): Entry {
  const name = from.text(`the name of tensor ${index}`), what = `tensor ${quoted(name)}`;
  if (new TextEncoder().encode(name).length >= nameBytes) {
    throw broken(`the name of ${what} has ${nameBytes} bytes or more`);
  }
  const sizes = readSizes(from, what);
  const number = from.uint32(`the type of ${what}`), type = ggufTypes.get(number);
  if (!type) throw broken(`${what} has type ${number}, which is not known`);
  const offset = from.uint64(`the offset of ${what}`);
  return { name, type, shape: sizes.slice().reverse(), offset, bytes: bytesOf(type, sizes, what) };
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>): number {
  const value = metadata.get("general.alignment") ?? usualAlignment;
  const isPower = typeof value === "number" && Number.isInteger(value) && value >= 1 &&
    value <= mostAlignment && Number.isInteger(Math.log2(value));
  if (isPower) return value;
  throw broken(
    `metadata "general.alignment" is ${String(value)}, the rule is a power of two, at most ${mostAlignment}`,
  );
}

const aligned = (at: number, alignment: number): number => Math.ceil(at / alignment) * alignment;

/** Every tensor begins where the one before ended, after padding; the last ends with the file, or padding does. */
function place(
  entries: readonly Entry[],
  { start, alignment, fileBytes }: { start: number; alignment: number; fileBytes: number },
): ReadonlyMap<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  let at = 0;
  for (const { name, type, shape, offset, bytes } of entries) {
    const what = `tensor ${quoted(name)}`;
    if (tensors.has(name)) throw broken(`${what} stands there twice`);
    if (offset % BigInt(alignment) !== 0n) {
      throw broken(`${what} begins at data byte ${offset}, the rule is a multiple of ${alignment}`);
    }
    if (offset < BigInt(at)) {
      throw broken(`${what} begins at data byte ${offset}, but bytes before ${at} are another tensor's`);
    }
    if (offset > BigInt(at)) {
      throw broken(`${what} begins at data byte ${offset}, which leaves a hole after byte ${at}`);
    }
    const begin = start + at, end = begin + bytes;
    if (end > fileBytes) {
      throw broken(`${what} ends at byte ${end}, and the file at ${fileBytes}: it is cut off`);
    }
    tensors.set(name, { name, type, shape, begin, end });
    at = aligned(at + bytes, alignment);
  }
  if (fileBytes > start + at) {
    throw broken(`the tensors end at byte ${start + at}, the file at ${fileBytes}`);
  }
  return tensors;
}

function readVersion(from: Cursor): number {
  const start = [0, 1, 2, 3].map(() => String.fromCharCode(from.uint8("the magic"))).join("");
  if (start !== magic) throw broken(`the file starts with ${quoted(start)}, not with ${magic}`);
  const version = from.uint32("the version");
  if (version === 2 || version === 3) return version;
  throw broken(
    version % 0x10000 === 0 && version !== 0
      ? "it is big-endian; little-endian files are supported"
      : `its version is ${version}, supported are 2 and 3`,
  );
}

/**
 * Parses and checks a header.
 *
 * @param bytes The first bytes of the file.
 * @param fileBytes How many the file has.
 * @throws ConfigError when a rule of the format is broken; {@linkcode NeedsMore} when the header is longer than `bytes`.
 */
export function parseGgufHeader(bytes: Uint8Array, fileBytes: number): GgufHeader {
  const from = new Cursor(bytes, fileBytes);
  const version = readVersion(from);
  // The least that an entry takes: a name's length, dimensions, a size, a type, an offset; or a length, a type, a byte.
  const tensorCount = from.count("the number of tensors", 8 + 4 + 8 + 4 + 8);
  const metadata = readMetadata(from, from.count("the number of metadata entries", 8 + 4 + 1));
  const entries: Entry[] = [];
  for (let i = 0; i < tensorCount; i++) entries.push(readEntry(from, i));
  const alignment = alignmentOf(metadata), start = aligned(from.at, alignment);
  // A file without tensors need not have the padding before them.
  const end = entries.length === 0 ? Math.min(start, fileBytes) : start;
  return { version, metadata, tensors: place(entries, { start: end, alignment, fileBytes }) };
}
