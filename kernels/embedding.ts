import {
  defineKernel,
  type DType,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { loader, storageType } from "./half.ts";

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
});
