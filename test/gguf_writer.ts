/**
 * Writes GGUF files, byte by byte as the format is described, for tests.
 *
 * @module
 */

/** Numbers of the kinds of values. */
export const kindNumbers = {
  uint8: 0,
  int8: 1,
  uint16: 2,
  int16: 3,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  uint64: 10,
  int64: 11,
  float64: 12,
} as const;

export type Kind = keyof typeof kindNumbers;

type Scalar = number | bigint | boolean | string;

/** A value, or with `list` an array of such. */
export interface Entry {
  readonly kind: Kind;
  readonly value?: Scalar;
  readonly list?: readonly Scalar[];
}

/** A tensor as the file has it: the first size is that of a row. */
export interface StoredTensor {
  readonly name: string;
  readonly sizes: readonly number[];
  /** The number of its type. */
  readonly type: number;
  readonly bytes: Uint8Array;
}

const widths: Readonly<Record<Exclude<Kind, "string">, number>> = {
  ...{ uint8: 1, int8: 1, bool: 1, uint16: 2, int16: 2, uint32: 4, int32: 4, float32: 4 },
  ...{ uint64: 8, int64: 8, float64: 8 },
};

class Bytes {
  readonly parts: Uint8Array[] = [];
  length = 0;

  add(part: Uint8Array): void {
    this.parts.push(part);
    this.length += part.length;
  }

  scalar(kind: Kind, value: Scalar): void {
    if (kind === "string") {
      const text = new TextEncoder().encode(value as string);
      this.scalar("uint64", text.length);
      return this.add(text);
    }
    const view = new DataView(new ArrayBuffer(widths[kind])), number = Number(value);
    if (kind === "uint8" || kind === "bool") view.setUint8(0, number);
    else if (kind === "int8") view.setInt8(0, number);
    else if (kind === "uint16") view.setUint16(0, number, true);
    else if (kind === "int16") view.setInt16(0, number, true);
    else if (kind === "uint32") view.setUint32(0, number, true);
    else if (kind === "int32") view.setInt32(0, number, true);
    else if (kind === "float32") view.setFloat32(0, number, true);
    else if (kind === "float64") view.setFloat64(0, number, true);
    else if (kind === "int64") view.setBigInt64(0, BigInt(value as number), true);
    else view.setBigUint64(0, BigInt(value as number), true);
    this.add(new Uint8Array(view.buffer));
  }

  pad(alignment: number): void {
    const rest = this.length % alignment;
    if (rest > 0) this.add(new Uint8Array(alignment - rest));
  }

  all(): Uint8Array {
    const bytes = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }
}

/** What a file is written from; what is left out is as usual. */
export interface GgufParts {
  readonly metadata?: Readonly<Record<string, Entry>>;
  readonly tensors?: readonly StoredTensor[];
  readonly version?: number;
  readonly alignment?: number;
  /** In place of the offset of a tensor. */
  readonly offsetOf?: (offset: number, index: number) => number | bigint;
  /** In place of the counts of tensors and of metadata. */
  readonly counts?: readonly [number | bigint, number | bigint];
}

/** The bytes of a file. */
export function writeGguf(parts: GgufParts): Uint8Array {
  const { metadata = {}, tensors = [], version = 3, alignment = 32, offsetOf = (offset) => offset } = parts;
  const file = new Bytes(), entries = Object.entries(metadata);
  file.add(new TextEncoder().encode("GGUF"));
  file.scalar("uint32", version);
  const [tensorCount, entryCount] = parts.counts ?? [tensors.length, entries.length];
  file.scalar("uint64", tensorCount);
  file.scalar("uint64", entryCount);
  for (const [key, { kind, value, list }] of entries) {
    file.scalar("string", key);
    if (list) {
      file.scalar("uint32", 9);
      file.scalar("uint32", kindNumbers[kind]);
      file.scalar("uint64", list.length);
      for (const one of list) file.scalar(kind, one);
    } else {
      file.scalar("uint32", kindNumbers[kind]);
      file.scalar(kind, value!);
    }
  }
  let offset = 0;
  tensors.forEach(({ name, sizes, type, bytes }, index) => {
    file.scalar("string", name);
    file.scalar("uint32", sizes.length);
    for (const size of sizes) file.scalar("uint64", size);
    file.scalar("uint32", type);
    file.scalar("uint64", offsetOf(offset, index));
    offset = Math.ceil((offset + bytes.length) / alignment) * alignment;
  });
  for (const { bytes } of tensors) {
    file.pad(alignment);
    file.add(bytes);
  }
  return file.all();
}
