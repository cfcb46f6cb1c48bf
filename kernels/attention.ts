import { type OfCaches, ofCaches, type PackedText, quadsOf, unpacked } from "./caches/format.ts";
import { float32 } from "./caches/float32.ts";
import {
  type Call,
  defineKernel,
  grid,
  type Kernel,
  type Launch,
  type Limits,
  type TypedArray,
} from "./kernel.ts";
import { attentionCpu, packedCpu, placesOf, span } from "./attention/cpu.ts";
import { attentionWgsl, uniforms } from "./attention/wgsl.ts";
import { softcapped } from "./softcap.ts";

type Buffers = "q" | "keys" | "values" | "blockTable" | "first" | "lastKey" | "y";
type Uniforms = keyof typeof uniforms;

/** Rows that the WASM module takes together, where there are as many: they read each key and value once. */
const rowsTogether = 4;

/** Keys of packed caches that the WASM module widens at once, as in `kernels/assembly/caches.ts`. */
const tileKeys = 32;

/** How a GPU attends to caches of float32, or packed ones. */
function launchOf({ uniforms }: Call<Buffers, Uniforms>, limits: Limits, packed?: PackedText): Launch {
  const { rows, heads, kvHeads, headDim, qStride, cacheRows, blockSize, softcap } = uniforms;
  if (headDim < 1 || headDim > 256) {
    throw new RangeError(`Cannot attend with heads of ${headDim}: the size must be 1 to 256`);
  }
  if (kvHeads < 1 || heads % kvHeads !== 0) {
    throw new RangeError(`Cannot share ${kvHeads} key heads among ${heads} heads: they must divide them`);
  }
  if (cacheRows < 1) throw new RangeError("Cannot attend to a cache of 0 rows");
  if (blockSize < 1) throw new RangeError("Cannot attend to a cache in blocks of 0 rows");
  return {
    dispatches: [{
      wgsl: attentionWgsl({ cacheRows, kvHeads, headDim }, {
        wide: headDim % 4 === 0 && qStride % 4 === 0,
        capped: softcap > 0,
        packed,
      }),
      bindings: [
        { name: "q", access: "read" },
        { name: "keys", access: "read" },
        { name: "values", access: "read" },
        { name: "blockTable", access: "read" },
        { name: "first", access: "read" },
        { name: "lastKey", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(rows * heads, limits),
    }],
  };
}

const floats: Kernel<Buffers, Uniforms> = defineKernel({
  name: "attention",
  doc:
    "y[r, h] = softmax over keys j of (scale q[r, h] . keys[at(j), g]) times values[at(j), g], where j runs from 0 " +
    "to lastKey[r] inclusive, at(j) is cache row blockTable[first[r] + j / blockSize] blockSize + j % blockSize and " +
    "g = h / (heads / kvHeads), both quotients rounded down. There are at most cacheRows keys, and none past the " +
    "table's end; no key gives zeros. Of a window that is not 0, j runs over the last `window` of these. A " +
    "softcap that is not 0 takes softcap tanh(score / softcap) in place of each score. Every block of the table is " +
    "in the caches",
  buffers: {
    q: {
      access: "read",
      dtypes: ["float32"],
      doc: "(rows, qStride): each row begins with (heads, headDim), row-major",
    },
    keys: { access: "read", ...float32.buffer },
    values: { access: "read", ...float32.buffer },
    blockTable: {
      access: "read",
      dtypes: ["uint32"],
      doc:
        "(tableSize): blocks of sequences, in the order of their positions; block b is cache rows b blockSize on",
    },
    first: {
      access: "read",
      dtypes: ["uint32"],
      doc: "(rows): entry of blockTable where the blocks of the row's sequence begin",
    },
    lastKey: { access: "read", dtypes: ["uint32"], doc: "(rows): position of the last key of the row" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, heads, headDim), row-major" },
  },
  uniforms,
  launch: (call, limits) => launchOf(call, limits),
  reference({ q, keys, values, blockTable, first, lastKey, y }, uniforms) {
    const { rows, heads, kvHeads, headDim, qStride, scale, softcap } = uniforms;
    for (let r = 0; r < rows; r++) {
      const places = placesOf(
        { blockTable, first: first[r], span: span(first[r], lastKey[r], uniforms) },
        uniforms,
      );
      for (let h = 0; h < heads; h++) {
        const query = r * qStride + h * headDim;
        const group = Math.floor(h / (heads / kvHeads));
        const scores: number[] = [];
        for (const place of places) {
          let dot = 0;
          for (let i = 0; i < headDim; i++) {
            dot += q[query + i] * keys[(place * kvHeads + group) * headDim + i];
          }
          scores.push(softcap > 0 ? softcapped(dot * scale, softcap) : dot * scale);
        }
        const max = scores.reduce((a, b) => Math.max(a, b), -Infinity);
        const weights = scores.map((score) => Math.exp(score - max));
        const sum = weights.reduce((a, b) => a + b, 0);
        for (let i = 0; i < headDim; i++) {
          let value = 0;
          places.forEach((place, j) => {
            value += weights[j] * values[(place * kvHeads + group) * headDim + i];
          });
          y[(r * heads + h) * headDim + i] = places.length > 0 ? value / sum : 0;
        }
      }
    }
  },
  cpu: attentionCpu,
  wasm(uniforms) {
    const { rows, heads, kvHeads, headDim, qStride, cacheRows, blockSize, tableSize } = uniforms;
    const { window, scale, softcap } = uniforms;
    const mostBlocks = Math.min(tableSize, Math.ceil(cacheRows / blockSize));
    const isOfRows = rows >= rowsTogether;
    return {
      function: isOfRows ? "attention_rows" : "attention",
      args: [
        ...["q", qStride, "keys", "values", "blockTable", "first", "lastKey", "y", heads * headDim],
        ...["scores", "runs", heads, kvHeads, headDim, cacheRows, blockSize, tableSize],
        ...[window, scale, softcap, ...isOfRows ? [rows] : []],
      ],
      items: isOfRows ? Math.ceil(rows / rowsTogether) * heads : rows * heads,
      // How many keys a row has is known when it runs.
      work: 2 * rows * heads * headDim * Math.min(cacheRows, 128),
      each: {
        scores: 4 * (isOfRows ? rowsTogether * (cacheRows + 1) : cacheRows + 3),
        runs: 8 * (mostBlocks + 1),
      },
    };
  },
  tolerance: 1e-5,
});

/** Causal softmax attention over a paged cache that many sequences share, with grouped heads. */
export const attention: OfCaches<Buffers, Uniforms> = ofCaches(floats, (format, name) => ({
  ...floats,
  name,
  doc: `As \`attention\`, over caches of ${format.doc}`,
  buffers: {
    ...floats.buffers,
    keys: { access: "read", ...format.buffer },
    values: { access: "read", ...format.buffer },
  },
  launch: (call, limits) => launchOf(call, limits, format.packed),
  reference({ keys, values, ...arrays }, uniforms) {
    const wide = (cache: TypedArray): Float32Array => unpacked(format, cache, uniforms);
    floats.reference({ ...arrays, keys: wide(keys), values: wide(values) }, uniforms);
  },
  cpu: (arrays, uniforms) => packedCpu(format, arrays, uniforms),
  wasm(uniforms) {
    const { rows, heads, kvHeads, headDim, qStride, cacheRows, blockSize, tableSize } = uniforms;
    const { window, scale, softcap } = uniforms;
    return {
      function: "packed_cache_attention",
      args: [
        ...["q", qStride, "keys", "values", "blockTable", "first", "lastKey", "y", heads * headDim],
        ...["scores", "tile", heads, kvHeads, headDim, cacheRows, blockSize, tableSize],
        ...[window, scale, softcap, format.bits],
      ],
      items: rows * heads,
      work: 2 * rows * heads * headDim * Math.min(cacheRows, 128),
      each: {
        scores: rowsTogether * heads * (4 * (tileKeys + 4) + 16 * quadsOf(headDim)),
        tile: 16 * tileKeys * kvHeads * quadsOf(headDim),
      },
    };
  },
}));
