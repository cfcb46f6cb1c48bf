/**
 * Tensors to a file: whole in memory, or a layout by which the caller writes tensor after tensor.
 *
 * @module
 */
import { dtypeBits, isSafetensorsDtype, type SafetensorsDtype, tensorBytes } from "./dtypes.ts";
import { quoted, SafetensorsError } from "./errors.ts";
import { maxHeaderBytes, metadataKey, type TensorInfo } from "./header.ts";
import type { TensorView } from "./reader.ts";

/** A tensor to be written, without its elements. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
}

/** The metadata of a file. */
export interface WriteOptions {
  /** Free texts, e.g. `{ format: "pt" }`. */
  readonly metadata?: ReadonlyMap<string, string> | Readonly<Record<string, string>>;
}

/** A file before its data: write `header`, then each tensor's bytes in the order of `tensors`. */
export interface SafetensorsLayout {
  /** Size prefix and header; the data starts at byte `header.length` of the file, a multiple of 8. */
  readonly header: Uint8Array;
  /** In the order of the data: descending alignment of the dtype, then name. */
  readonly tensors: readonly TensorInfo[];
  /** Bytes of the whole file. */
  readonly sizeBytes: number;
}

const dtypeRank = new Map(Object.keys(dtypeBits).map((code, rank) => [code, rank]));

/** The order of UTF-8 bytes, which UTF-16 units do not have beyond U+FFFF. */
function compareNames(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a.charCodeAt(at) === b.charCodeAt(at)) at++;
  if (at > 0 && (a.charCodeAt(at - 1) & 0xfc00) === 0xd800) at--;
  return (a.codePointAt(at) ?? -1) - (b.codePointAt(at) ?? -1);
}

function compareSpecs(a: TensorSpec, b: TensorSpec): number {
  return dtypeRank.get(b.dtype)! - dtypeRank.get(a.dtype)! || compareNames(a.name, b.name);
}

/** Bytes of a tensor that may be written. */
function checkedBytes(spec: TensorSpec): number {
  const cannot = `Cannot write tensor ${quoted(spec.name)}`;
  if (spec.name === metadataKey) {
    throw new SafetensorsError(`${cannot}: the format keeps that name for itself`);
  }
  if (!spec.name.isWellFormed()) {
    throw new SafetensorsError(`${cannot}: its name holds half a surrogate pair`);
  }
  if (!isSafetensorsDtype(spec.dtype)) {
    throw new TypeError(`${cannot}: its dtype ${quoted(String(spec.dtype))} is not one of the format's`);
  }
  const fail = (why: string): never => {
    throw new RangeError(`${cannot}: ${why}`);
  };
  for (const size of spec.shape) {
    if (!Number.isSafeInteger(size) || size < 0) {
      fail(`its shape [${spec.shape}] has a size that is no count`);
    }
  }
  return tensorBytes(spec, fail);
}

function metadataJson(metadata: NonNullable<WriteOptions["metadata"]>): string {
  const entries = metadata instanceof Map ? [...metadata] : Object.entries(metadata);
  const pairs = entries.map(([key, value]: readonly [string, unknown]) => {
    if (typeof value !== "string" || !value.isWellFormed() || !key.isWellFormed()) {
      throw new SafetensorsError(
        `Cannot write safetensors metadata ${quoted(key)}: keys and values are Unicode strings`,
      );
    }
    return `${JSON.stringify(key)}:${JSON.stringify(value)}`;
  });
  return `${JSON.stringify(metadataKey)}:{${pairs.join(",")}}`;
}

/** Size prefix, header text, and spaces up to a multiple of 8. */
function encodeHeader(text: string): Uint8Array {
  const encoded = new TextEncoder().encode(text);
  const size = Math.ceil(encoded.length / 8) * 8;
  if (size > maxHeaderBytes) {
    throw new RangeError(
      `Cannot write safetensors: the header takes ${size} bytes, the format allows ${maxHeaderBytes}`,
    );
  }
  const header = new Uint8Array(8 + size).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(size), true);
  header.set(encoded, 8);
  return header;
}

/**
 * Header and positions of a file of these tensors, so that a file of any size can be written a tensor at a time.
 *
 * @throws SafetensorsError for names the format cannot hold, TypeError for dtypes, RangeError for shapes.
 */
export function layoutSafetensors(
  specs: Iterable<TensorSpec>,
  options: WriteOptions = {},
): SafetensorsLayout {
  const parts = options.metadata === undefined ? [] : [metadataJson(options.metadata)];
  const tensors: TensorInfo[] = [];
  let begin = 0;
  // Checked before they are ordered: an unknown dtype has no place in the order.
  const sized = [...specs].map((spec) => ({ spec, bytes: checkedBytes(spec) }));
  for (const { spec: { name, dtype, shape }, bytes } of sized.sort((a, b) => compareSpecs(a.spec, b.spec))) {
    const end = begin + bytes;
    tensors.push({ name, dtype, shape: [...shape], begin, end });
    const sizes = shape.join(",");
    parts.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${sizes}],"data_offsets":[${begin},${end}]}`,
    );
    begin = end;
  }
  checkUnique(tensors);
  const header = encodeHeader(`{${parts.join(",")}}`);
  return { header, tensors, sizeBytes: header.length + begin };
}

function checkUnique(tensors: readonly TensorSpec[]): void {
  const seen = new Set<string>();
  for (const { name } of tensors) {
    if (seen.has(name)) {
      throw new SafetensorsError(`Cannot write tensor ${quoted(name)}: there are two of that name`);
    }
    seen.add(name);
  }
}

/**
 * A file of these tensors, in memory.
 *
 * @throws as {@linkcode layoutSafetensors}, and RangeError when a tensor's bytes are not what its shape needs.
 */
export function writeSafetensors(tensors: Iterable<TensorView>, options: WriteOptions = {}): Uint8Array {
  const views = [...tensors];
  const layout = layoutSafetensors(views, options);
  const byName = new Map(views.map((view) => [view.name, view.bytes]));
  const file = new Uint8Array(layout.sizeBytes);
  file.set(layout.header);
  for (const { name, dtype, shape, begin, end } of layout.tensors) {
    const bytes = byName.get(name)!;
    if (bytes.length !== end - begin) {
      throw new RangeError(
        `Cannot write tensor ${quoted(name)}: ${dtype} of shape [${shape}] takes ${
          end - begin
        } bytes, got ${bytes.length}`,
      );
    }
    file.set(bytes, layout.header.length + begin);
  }
  return file;
}
