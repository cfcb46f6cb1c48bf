/**
 * A cache format: how keys and values of past tokens are stored, and how kernels write and read them.
 *
 * Kernels of a paged cache take a format as a value: `attention.of(format)`. The buffers of keys and of values have one
 * format. A head of a cache row, `headDim` numbers, is stored by itself, so that rows are written in any order.
 *
 * @module
 */
import type { BufferSpec, Kernel, TypedArray } from "../kernel.ts";

/** Sizes of a buffer of keys, or of values. */
export interface CacheSizes {
  readonly cacheRows: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** WGSL of a packed format: numbers stand in words by quads, four neighbours of a head, zeros past its end. */
export interface PackedText {
  /** WGSL type of a quad's words. */
  readonly quadType: string;
  /** WGSL expression, vec4f: the numbers in a quad's words. */
  readonly quad: (words: string) => string;
  /** WGSL expressions of the quads in a vec4u. */
  readonly wideQuads: readonly ((words: string) => string)[];
  /** Whether a head's numbers share a factor, `<name>_scale(at)`. */
  readonly scaled: boolean;
  /**
   * WGSL functions of the buffer `name` that read head `at`, which is cache row * kvHeads + head; `type` is `quadType`, or
   * vec4u where `readsWide` says so: `fn <name>_scale(at: u32) -> f32`, where numbers share a factor.
   */
  readonly reads: (name: string, sizes: CacheSizes, type: string) => string;
  /** Whether the buffer may be read as vec4u. */
  readonly readsWide: (sizes: CacheSizes) => boolean;
  /**
   * WGSL function `fn <name>_store(at: u32, local: u32)`, called by each of `threads` threads: stores the numbers of the
   * workgroup's `head: array<f32>`, which has zeros past the head's end, to the buffer `name`, an array of u32. It may call
   * `largest_bits() -> u32`: the float32 bits of the largest absolute value of `head`, 0x7f800000 or more where a number is
   * not finite.
   */
  readonly store: (name: string, sizes: { readonly headDim: number; readonly threads: number }) => string;
}

/** One head of a cache row. */
export interface CachePlace {
  readonly row: number;
  readonly head: number;
}

/** How keys and values are stored, by vLLM's names. */
export type KvCacheDtype = "float32" | "float16" | "int8";

/** See the module's documentation. */
export interface CacheFormat {
  /** As kernels' names end with. */
  readonly name: KvCacheDtype;
  /** What is stored, in a few words. */
  readonly doc: string;
  /** Of the buffer of keys, and of that of values. */
  readonly buffer: Pick<BufferSpec, "dtypes" | "doc">;
  /** Elements of such a buffer that a cache row takes. */
  rowElements(sizes: Pick<CacheSizes, "kvHeads" | "headDim">): number;
  /** Stores a head's numbers on a host. */
  write(cache: TypedArray, place: CachePlace, numbers: ArrayLike<number>, sizes: CacheSizes): void;
  /** Reads a head's numbers on a host to `into`, from element `at` on. */
  read(
    cache: TypedArray,
    place: CachePlace,
    to: { readonly into: Float32Array; readonly at: number },
    sizes: CacheSizes,
  ): void;
  /**
   * How far a number that is read may be from the one that was stored: `relative` times the number itself, or times the largest
   * of its head, and `smallest` more.
   */
  readonly error: { readonly relative: number; readonly to: "itself" | "head"; readonly smallest: number };
  /** How packed numbers are read and written in WGSL; left out of numbers that stand as they are. */
  readonly packed?: PackedText;
  /** Bits of a number, as functions of the WASM module are told. */
  readonly bits: number;
}

/** Threads of a workgroup that stores one head. */
export const headThreads = 64;

/** Numbers of a head that packed caches take: no more than attention does. */
const mostPacked = 256;

/** Throws `RangeError` for heads that no packed cache takes. */
export function checkPacked(headDim: number): void {
  if (headDim >= 1 && headDim <= mostPacked) return;
  throw new RangeError(
    `Cannot store heads of ${headDim} in a packed cache: the size must be 1 to ${mostPacked}`,
  );
}

/** Quads of a head. */
export const quadsOf = (headDim: number): number => Math.ceil(headDim / 4);

/** WGSL of a workgroup's `head`, and of `keys_store` and `values_store`, which store it in a packed cache. */
export function storeText({ store }: PackedText, headDim: number): string {
  const quads = quadsOf(headDim), sizes = { headDim, threads: headThreads };
  return `var<workgroup> head: array<f32, ${4 * quads}>;

// Bits are ordered as sizes are, with NaN above all; a GPU's \`max\` of floats may leave NaN out.
fn largest_bits() -> u32 {
  var larger = vec4u();
  for (var i = 0u; i < ${4 * quads}; i += 4) {
    let numbers = vec4f(head[i], head[i + 1], head[i + 2], head[i + 3]);
    larger = max(larger, bitcast<vec4u>(numbers) & vec4u(0x7fffffff));
  }
  return max(max(larger.x, larger.y), max(larger.z, larger.w));
}

${store("keys", sizes)}
${store("values", sizes)}`;
}

/** All numbers of a cache, (cacheRows, kvHeads, headDim). */
export function unpacked(format: CacheFormat, cache: TypedArray, sizes: CacheSizes): Float32Array {
  const { cacheRows, kvHeads, headDim } = sizes;
  const into = new Float32Array(cacheRows * kvHeads * headDim);
  for (let n = 0; n < cacheRows * kvHeads; n++) {
    const place = { row: Math.floor(n / kvHeads), head: n % kvHeads };
    format.read(cache, place, { into, at: n * headDim }, sizes);
  }
  return into;
}

/** Numbers (cacheRows, kvHeads, headDim) as a cache holds them. */
export function packed(format: CacheFormat, numbers: Float32Array, sizes: CacheSizes): TypedArray {
  const { cacheRows, kvHeads, headDim } = sizes;
  const count = cacheRows * format.rowElements(sizes);
  const cache = format.packed ? new Uint32Array(count) : new Float32Array(count);
  for (let n = 0; n < cacheRows * kvHeads; n++) {
    const place = { row: Math.floor(n / kvHeads), head: n % kvHeads };
    format.write(cache, place, numbers.subarray(n * headDim, (n + 1) * headDim), sizes);
  }
  return cache;
}

/**
 * Stores what a kernel writes to caches of float32 in caches of a format: `write` gets float32 caches with a cache row for each
 * row, and the index of that cache row, or one past the end where the row is to be skipped.
 */
export function storeRows(
  format: CacheFormat,
  { index, ...caches }: Readonly<Record<"index" | "keys" | "values", TypedArray>>,
  { rows, ...sizes }: CacheSizes & { readonly rows: number },
  write: (floats: Readonly<Record<"index" | "keys" | "values", TypedArray>>) => void,
): void {
  const { kvHeads, headDim, cacheRows } = sizes, width = kvHeads * headDim;
  const floats = { keys: new Float32Array(rows * width), values: new Float32Array(rows * width) };
  write({ ...floats, index: Uint32Array.from({ length: rows }, (_, r) => index[r] < cacheRows ? r : rows) });
  for (let r = 0; r < rows; r++) {
    if (index[r] >= cacheRows) continue;
    for (let head = 0; head < kvHeads; head++) {
      const at = r * width + head * headDim, place = { row: index[r], head };
      format.write(caches.keys, place, floats.keys.subarray(at, at + headDim), sizes);
      format.write(caches.values, place, floats.values.subarray(at, at + headDim), sizes);
    }
  }
}

/** A kernel over a cache of float32, which gives the same over a cache of another format. */
export interface OfCaches<B extends string, U extends string> extends Kernel<B, U> {
  /** The kernel over caches of a format, made once. */
  of(format: CacheFormat): Kernel<B, U>;
}

/** Makes the kernels of packed formats, under the name given, beside the kernel of float32. */
export function ofCaches<B extends string, U extends string>(
  floats: Kernel<B, U>,
  make: (format: CacheFormat & { readonly packed: PackedText }, name: string) => Kernel<B, U>,
): OfCaches<B, U> {
  const made = new WeakMap<CacheFormat, Kernel<B, U>>();
  function of(format: CacheFormat): Kernel<B, U> {
    const { packed } = format;
    if (!packed) return floatKernel;
    const known = made.get(format) ?? make({ ...format, packed }, `${floats.name}_${format.name}`);
    made.set(format, known);
    return known;
  }
  const floatKernel: OfCaches<B, U> = { ...floats, of };
  return floatKernel;
}
