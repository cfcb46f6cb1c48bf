import {
  type Case,
  defineKernel,
  grid,
  type Kernel,
  normals,
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

interface Sizes extends Readonly<Record<Uniforms, number>> {
  /** Rows that point past the cache. */
  readonly skipped?: number;
}

/** The rows go to different places, in reverse. */
function sized({ skipped = 0, ...sizes }: Sizes): Case<Buffers, Uniforms> {
  const { rows, heads, kvHeads, headDim, cacheRows } = sizes;
  return {
    name: `${rows} rows, ${heads}/${kvHeads} heads of ${headDim} into ${cacheRows}, ${skipped} skipped`,
    uniforms: sizes,
    make: (random) => ({
      qkv: normals(rows * (heads + 2 * kvHeads) * headDim, random),
      index: Uint32Array.from({ length: rows }, (_, r) => r < skipped ? cacheRows + r : cacheRows - 1 - r),
      keys: normals(cacheRows * kvHeads * headDim, random),
      values: normals(cacheRows * kvHeads * headDim, random),
    }),
  };
}

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
  cases: [
    sized({ rows: 1, heads: 1, kvHeads: 1, headDim: 1, cacheRows: 1 }),
    sized({ rows: 3, heads: 5, kvHeads: 1, headDim: 7, cacheRows: 7, skipped: 1 }),
    sized({ rows: 7, heads: 3, kvHeads: 3, headDim: 64, cacheRows: 11, skipped: 2 }),
  ],
  benches: [
    {
      ...sized({ rows: 64, heads: 12, kvHeads: 12, headDim: 64, cacheRows: 4096 }),
      bytes: 4 * 64 * 4 * 12 * 64,
    },
  ],
});
