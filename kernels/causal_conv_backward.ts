import { loader, storageType } from "./half.ts";
import {
  declareBindings,
  defineKernel,
  type DType,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "dy" | "weight" | "last" | "dx";
type Uniforms = "rows" | "dim" | "width";

const uniforms = { rows: "u32", dim: "u32", width: "u32" } as const;

const bindings = [
  { name: "dy", access: "read" },
  { name: "weight", access: "read" },
  { name: "last", access: "read" },
  { name: "dx", access: "read_write" },
] as const;

const wgsl = (dtype: DType): string => /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindings, { dy: "f32", weight: storageType(dtype), last: "u32", dx: "f32" })}
${loader("weight", dtype)}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  let row = i / uniforms.dim;
  if (row >= uniforms.rows) { return; }
  let channel = i % uniforms.dim;
  var sum = 0.0;
  for (var j = 0u; j < min(uniforms.width, last[row] - row); j++) {
    sum += weight_at(channel * uniforms.width + uniforms.width - 1 - j) * dy[i + j * uniforms.dim];
  }
  dx[i] = sum;
}
`;

/** The gradient of `causal_conv` by its input. */
export const causalConvBackward: Kernel<Buffers, Uniforms> = defineKernel({
  name: "causal_conv_backward",
  doc:
    "dx[r, c] = sum over j < width of weight[c, width - 1 - j] dy[r + j, c], where rows from last[r] on count as 0",
  buffers: {
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    weight: {
      access: "read",
      dtypes: ["float32", "float16", "bfloat16"],
      doc: "(dim, width), row-major: the row's own column is the last",
    },
    last: { access: "read", dtypes: ["uint32"], doc: "(rows): the row after this row's sequence" },
    dx: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows, dim }, dtypes }, limits) => ({
    dispatches: [{ wgsl: wgsl(dtypes.weight), bindings, grid: grid(Math.ceil(rows * dim / 256), limits) }],
  }),
  reference({ dy, weight, last, dx }, { rows, dim, width }) {
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < dim; c++) {
        let sum = 0;
        for (let j = 0; j < width && r + j < last[r]; j++) {
          sum += weight[c * width + width - 1 - j] * dy[(r + j) * dim + c];
        }
        dx[r * dim + c] = sum;
      }
    }
  },
  tolerance: 1e-6,
});
