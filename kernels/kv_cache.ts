import {
  defineKernel,
  grid,
  type Kernel,
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

/** What lies between the projections and attention without rotary positions. */
export const kvCache: Kernel<Buffers, Uniforms> = defineKernel({
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
    keys: { access: "read_write", dtypes: ["float32"], doc: "(cacheRows, kvHeads, headDim), row-major" },
    values: { access: "read_write", dtypes: ["float32"], doc: "(cacheRows, kvHeads, headDim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows, kvHeads, headDim } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "qkv", access: "read" },
        { name: "index", access: "read" },
        { name: "keys", access: "read_write" },
        { name: "values", access: "read_write" },
      ],
      grid: grid(Math.ceil(rows * kvHeads * headDim / 256), limits),
    }],
  }),
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
