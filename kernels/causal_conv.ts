import { causalConvBackward } from "./causal_conv_backward.ts";
import { loader, storageType } from "./half.ts";
import {
  anyKernel,
  declareBindings,
  defineKernel,
  type DType,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "x" | "weight" | "bias" | "first" | "y";
type Uniforms = "rows" | "dim" | "width";

const uniforms = { rows: "u32", dim: "u32", width: "u32" } as const;

const bindings = [
  { name: "x", access: "read" },
  { name: "weight", access: "read" },
  { name: "bias", access: "read" },
  { name: "first", access: "read" },
  { name: "y", access: "read_write" },
] as const;

const wgsl = ({ weight, bias }: Readonly<Record<"weight" | "bias", DType>>): string => /* wgsl */ `
${uniformStruct(uniforms)}
${
  declareBindings(bindings, {
    ...{ x: "f32", weight: storageType(weight), bias: storageType(bias), first: "u32", y: "f32" },
  })
}
${loader("weight", weight)}
${loader("bias", bias)}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  let row = i / uniforms.dim;
  if (row >= uniforms.rows) { return; }
  let channel = i % uniforms.dim;
  var sum = bias_at(channel);
  for (var back = 0u; back < min(uniforms.width, row - first[row] + 1); back++) {
    sum += weight_at(channel * uniforms.width + uniforms.width - 1 - back) * x[i - back * uniforms.dim];
  }
  y[i] = sum;
}
`;

/** The causal convolution of each column of packed sequences, with weights of its own: short convolutions. */
export const causalConv: Kernel<Buffers, Uniforms> = defineKernel({
  name: "causal_conv",
  doc:
    "y[r, c] = bias[c] + sum over j < width of weight[c, j] x[r - (width - 1) + j, c], where rows before first[r] count " +
    "as 0",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    weight: {
      access: "read",
      dtypes: ["float32", "float16", "bfloat16"],
      doc: "(dim, width), row-major: the row's own column is the last",
    },
    bias: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(dim)" },
    first: { access: "read", dtypes: ["uint32"], doc: "(rows): the row where this row's sequence starts" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows, dim }, dtypes }, limits) => ({
    dispatches: [{ wgsl: wgsl(dtypes), bindings, grid: grid(Math.ceil(rows * dim / 256), limits) }],
  }),
  reference({ x, weight, bias, first, y }, { rows, dim, width }) {
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < dim; c++) {
        let sum = bias[c];
        for (let back = 0; back < width && r - back >= first[r]; back++) {
          sum += weight[c * width + width - 1 - back] * x[(r - back) * dim + c];
        }
        y[r * dim + c] = sum;
      }
    }
  },
  backward: (uniforms) => ({
    steps: [{
      kernel: anyKernel(causalConvBackward),
      values: { weight: "weight", last: "last" },
      gradients: { dy: "y" },
      targets: { dx: { of: "x", mode: "write" } },
      uniforms,
    }],
    overwritten: ["y"],
  }),
  tolerance: 1e-6,
});
