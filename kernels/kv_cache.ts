import {
  checkPacked,
  headThreads,
  type OfCaches,
  ofCaches,
  type PackedText,
  quadsOf,
  storeRows,
  storeText,
} from "./caches/format.ts";
import { float32 } from "./caches/float32.ts";
import {
  type Call,
  defineKernel,
  grid,
  type Kernel,
  type Launch,
  type Limits,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "qkv" | "index" | "keys" | "values";
type Uniforms = "rows" | "heads" | "kvHeads" | "headDim" | "cacheRows";

const uniforms = { rows: "u32", heads: "u32", kvHeads: "u32", headDim: "u32", cacheRows: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> qkv: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> keys: array<f32>;
@group(0) @binding(4) var<storage, read_write> values: array<f32>;

// One thread for an element of the key and the one of the value.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  let width = uniforms.kvHeads * uniforms.headDim;
  let row = i / width;
  if (row >= uniforms.rows) { return; }
  let cache_row = index[row];
  if (cache_row >= uniforms.cacheRows) { return; }
  let at = row * (uniforms.heads * uniforms.headDim + 2 * width) + uniforms.heads * uniforms.headDim + i % width;
  keys[cache_row * width + i % width] = qkv[at];
  values[cache_row * width + i % width] = qkv[at + width];
}
`;

/** One workgroup for a head of a row: what is stored of a head may depend on all of its numbers. */
const packedWgsl = (packed: PackedText, headDim: number): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> qkv: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> keys: array<u32>;
@group(0) @binding(4) var<storage, read_write> values: array<u32>;

${storeText(packed, headDim)}

@compute @workgroup_size(${headThreads})
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let row = id / (2 * uniforms.kvHeads);
  if (row >= uniforms.rows) { return; }
  let cache_row = index[row];
  if (cache_row >= uniforms.cacheRows) { return; }
  let number = id % (2 * uniforms.kvHeads);
  let at = (row * (uniforms.heads + 2 * uniforms.kvHeads) + uniforms.heads + number) * uniforms.headDim;
  for (var i = local; i < ${4 * quadsOf(headDim)}; i += ${headThreads}) {
    head[i] = select(0.0, qkv[at + min(i, uniforms.headDim - 1)], i < uniforms.headDim);
  }
  workgroupBarrier();
  let to = cache_row * uniforms.kvHeads + number % uniforms.kvHeads;
  if (number < uniforms.kvHeads) { keys_store(to, local); } else { values_store(to, local); }
}
`;

function launchOf(
  { uniforms: { rows, kvHeads, headDim } }: Call<Buffers, Uniforms>,
  limits: Limits,
  packed?: PackedText,
): Launch {
  if (packed) checkPacked(headDim);
  const groups = packed ? rows * 2 * kvHeads : Math.ceil(rows * kvHeads * headDim / 256);
  return {
    dispatches: [{
      wgsl: packed ? packedWgsl(packed, headDim) : wgsl,
      bindings: [
        { name: "qkv", access: "read" },
        { name: "index", access: "read" },
        { name: "keys", access: "read_write" },
        { name: "values", access: "read_write" },
      ],
      grid: grid(groups, limits),
    }],
  };
}

const floats: Kernel<Buffers, Uniforms> = defineKernel({
  name: "kv_cache",
  doc:
    "Writes the key heads of each row to keys[index[r]] and its value heads to values[index[r]]. An index of cacheRows or " +
    "more is skipped, other rows of the caches stay. No two rows name one place.",
  buffers: {
    qkv: {
      access: "read",
      dtypes: ["float32"],
      doc: "(rows, heads + 2 kvHeads, headDim), row-major: queries, then keys, then values",
    },
    index: { access: "read", dtypes: ["uint32"], doc: "(rows): the row's place in the caches" },
    keys: { access: "read_write", ...float32.buffer },
    values: { access: "read_write", ...float32.buffer },
  },
  uniforms,
  launch: (call, limits) => launchOf(call, limits),
  reference({ qkv, index, keys, values }, { rows, heads, kvHeads, headDim, cacheRows }) {
    const width = kvHeads * headDim;
    for (let r = 0; r < rows; r++) {
      if (index[r] >= cacheRows) continue;
      const at = r * (heads + 2 * kvHeads) * headDim + heads * headDim;
      for (let i = 0; i < width; i++) {
        keys[index[r] * width + i] = qkv[at + i];
        values[index[r] * width + i] = qkv[at + width + i];
      }
    }
  },
  tolerance: 0,
});

/** What lies between the projections and attention without rotary positions. */
export const kvCache: OfCaches<Buffers, Uniforms> = ofCaches(floats, (format, name) => ({
  ...floats,
  name,
  doc: `As \`kv_cache\`, to caches of ${format.doc}`,
  buffers: {
    ...floats.buffers,
    keys: { access: "read_write", ...format.buffer },
    values: { access: "read_write", ...format.buffer },
  },
  launch: (call, limits) => launchOf(call, limits, format.packed),
  reference: (arrays, uniforms) =>
    storeRows(
      format,
      arrays,
      uniforms,
      (caches) => floats.reference({ ...arrays, ...caches }, { ...uniforms, cacheRows: uniforms.rows }),
    ),
  // Of the numbers that are read back. A number that two devices round differently is off by one step.
  tolerance: format.error.relative,
}));
