import {
  type Case,
  defineKernel,
  type DType,
  grid,
  type Kernel,
  nans,
  normals,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { loader, narrow, storageType } from "./half.ts";

type Buffers = "ids" | "weight" | "y";
type Uniforms = "rows" | "dim" | "vocab";

const uniforms = { rows: "u32", dim: "u32", vocab: "u32" } as const;

const wgsl = (dtype: DType): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> weight: array<${storageType(dtype)}>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
${loader("weight", dtype)}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  let id = ids[i / uniforms.dim];
  var value = 0.0;
  if (id < uniforms.vocab) { value = weight_at(id * uniforms.dim + i % uniforms.dim); }
  y[i] = value;
}
`;

function sized(rows: number, dim: number, vocab: number, dtype: DType = "float32"): Case<Buffers, Uniforms> {
  return {
    name: `${rows} rows of ${dim} from ${vocab}, ${dtype}`,
    uniforms: { rows, dim, vocab },
    dtypes: { weight: dtype },
    make(random) {
      const weight = normals(vocab * dim, random);
      // One id past the end shows that it gives zeros.
      const ids = Uint32Array.from({ length: rows }, () => Math.floor(random() * (vocab + 1)));
      return { ids, weight: narrow(weight, dtype), y: nans(rows * dim) };
    },
  };
}

/** Rows of a table by index: token embeddings, or any row gather. */
export const embedding: Kernel<Buffers, Uniforms> = defineKernel({
  name: "embedding",
  doc: "y[r, :] = weight[ids[r], :]; an id of vocab or more gives zeros",
  buffers: {
    ids: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    weight: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(vocab, dim), row-major" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows, dim }, dtypes }, limits) => ({
    dispatches: [{
      wgsl: wgsl(dtypes.weight),
      bindings: [
        { name: "ids", access: "read" },
        { name: "weight", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(Math.ceil(rows * dim / 256), limits),
    }],
  }),
  reference({ ids, weight, y }, { rows, dim, vocab }) {
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < dim; c++) y[r * dim + c] = ids[r] < vocab ? weight[ids[r] * dim + c] : 0;
    }
  },
  wasm: ({ rows, dim, vocab }) => ({
    function: "embedding",
    args: ["ids", "weight", "y", dim, rows, dim, vocab],
  }),
  tolerance: 0,
  cases: [
    sized(1, 1, 1),
    sized(7, 256, 13),
    sized(3, 257, 5),
    sized(5, 33, 9, "float16"),
    sized(4, 31, 6, "bfloat16"),
    sized(9, 64, 17, "bfloat16"),
  ],
  benches: [{ ...sized(256, 4096, 8192), bytes: 2 * 256 * 4096 * 4 }],
});
