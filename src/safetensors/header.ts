/**
 * Header bytes to a value that cannot be wrong: whoever holds a {@linkcode SafetensorsHeader} may slice by it.
 *
 * @module
 */
import { isSafetensorsDtype, type SafetensorsDtype, tensorBytes } from "./dtypes.ts";
import { quoted, SafetensorsError } from "./errors.ts";
import { HeaderScanner } from "./scanner.ts";

/** Where a tensor is and what it is. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  /** Sizes, row-major; `[]` for a scalar. */
  readonly shape: readonly number[];
  /** First byte, counted from the start of the data (the byte after the header). */
  readonly begin: number;
  /** One past the last byte; `end - begin` is what dtype and shape need. */
  readonly end: number;
}

/** A file's tensors and metadata. */
export interface SafetensorsHeader {
  /** By name, in the order of the data. Together the tensors cover all of it, without holes and overlaps. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** The free texts under `__metadata__`; empty when the file has none. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** The greatest header the format allows. */
export const maxHeaderBytes = 100_000_000;

/** The header's key that is no tensor's name. */
export const metadataKey = "__metadata__";

/**
 * The header's size from a file's first 8 bytes.
 *
 * @param options `fileBytes` is the size of the whole file, `maxHeaderBytes` what the caller is ready to read.
 * @throws SafetensorsError when a file of this size cannot have such a header.
 */
export function headerSize(
  prefix: Uint8Array,
  options: { readonly fileBytes: number; readonly maxHeaderBytes?: number },
): number {
  const limit = options.maxHeaderBytes ?? maxHeaderBytes;
  if (!Number.isSafeInteger(limit) || limit < 0 || limit > maxHeaderBytes) {
    throw new RangeError(
      `Cannot read safetensors: maxHeaderBytes is ${limit}, the format allows 0 to ${maxHeaderBytes}`,
    );
  }
  if (prefix.length < 8) {
    throw new SafetensorsError(
      `Cannot read safetensors: a file starts with 8 bytes of header size, got ${prefix.length}`,
    );
  }
  const size = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (size > BigInt(limit)) {
    throw new SafetensorsError(
      `Cannot read safetensors: the header's size is ${size} bytes, the limit is ${limit}`,
    );
  }
  if (Number(size) > options.fileBytes - 8) {
    throw new SafetensorsError(
      `Cannot read safetensors: the header's size is ${size} bytes, but only ${options.fileBytes - 8} follow`,
    );
  }
  return Number(size);
}

/**
 * Parses and checks a header.
 *
 * @param header The header's bytes, without the 8 of its size.
 * @param dataBytes How many bytes follow it.
 * @throws SafetensorsError when a rule of the format is broken.
 */
export function parseHeader(header: Uint8Array, dataBytes: number): SafetensorsHeader {
  const text = decode(header);
  if (text[0] !== "{") {
    throw new SafetensorsError(
      `Cannot read safetensors header: it starts with ${quoted(text.slice(0, 12))}, not with {`,
    );
  }
  const scanner = new HeaderScanner(text);
  const metadata = new Map<string, string>();
  const infos: TensorInfo[] = [];
  const { subject } = scanner;
  scanner.object((name) => {
    scanner.subject = () => name === metadataKey ? `safetensors ${metadataKey}` : `tensor ${quoted(name)}`;
    if (name === metadataKey) {
      // The format's own reader takes null for none.
      if (!scanner.null()) scanner.object((key) => metadata.set(key, scanner.string()));
    } else infos.push(tensorInfo(scanner, name));
    scanner.subject = subject;
  });
  scanner.end();
  infos.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkCover(infos, dataBytes);
  return { tensors: new Map(infos.map((info) => [info.name, info])), metadata };
}

function decode(header: Uint8Array): string {
  try {
    // The slice is for shared memory, which browsers' decoders refuse.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(header.slice());
  } catch {
    throw new SafetensorsError("Cannot read safetensors header: it is not UTF-8");
  }
}

function tensorInfo(scanner: HeaderScanner, name: string): TensorInfo {
  let dtype: string | undefined;
  let shape: readonly number[] | undefined;
  let offsets: readonly number[] | undefined;
  scanner.object((field) => {
    if (field === "dtype") dtype = scanner.string();
    else if (field === "shape") shape = scanner.integers();
    else if (field === "data_offsets") offsets = scanner.integers();
    else scanner.fail(`it has a field ${quoted(field)}; the fields are dtype, shape and data_offsets`);
  });
  if (dtype === undefined) return scanner.fail("it has no dtype");
  if (!isSafetensorsDtype(dtype)) {
    return scanner.fail(`its dtype ${quoted(dtype)} is not one of the format's`);
  }
  if (shape === undefined) return scanner.fail("it has no shape");
  if (offsets === undefined) return scanner.fail("it has no data_offsets");
  if (offsets.length !== 2) {
    return scanner.fail(`data_offsets has ${offsets.length} entries, the rule is [begin, end]`);
  }
  return { name, dtype, shape, begin: offsets[0], end: offsets[1] };
}

/** Every tensor starts where the one before ended and has the bytes it needs; the last ends where the data ends. */
function checkCover(infos: readonly TensorInfo[], dataBytes: number): void {
  let at = 0;
  for (const info of infos) {
    const fail = (why: string): never => {
      throw new SafetensorsError(`Cannot read tensor ${quoted(info.name)}: ${why}`);
    };
    if (info.end < info.begin) fail(`its data ends at byte ${info.end}, before it begins at ${info.begin}`);
    if (info.begin > at) fail(`its data begins at byte ${info.begin}, which leaves a hole after byte ${at}`);
    if (info.begin < at) {
      fail(`its data begins at byte ${info.begin}, but bytes before ${at} are another tensor's`);
    }
    const bytes = tensorBytes(info, fail);
    if (info.end - info.begin !== bytes) {
      fail(
        `${info.dtype} of shape [${info.shape.slice(0, 16)}] takes ${bytes} bytes, its offsets span ${
          info.end - info.begin
        }`,
      );
    }
    at = info.end;
  }
  if (at !== dataBytes) {
    throw new SafetensorsError(
      `Cannot read safetensors: the tensors end at data byte ${at}, the data at ${dataBytes}`,
    );
  }
}
