import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "x" | "sum";

const uniforms = { count: "u32" } as const;

/** Workgroups of the first stage; the second adds their sums with as many threads. */
const parts = 256;

const reduce = /* wgsl */ `
var<workgroup> sums: array<f32, 256>;
fn total(value: f32, local: u32) -> f32 {
  sums[local] = value;
  workgroupBarrier();
  for (var half = 128u; half > 0; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  return sums[0];
}`;

const partWgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;
${reduce}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let part = ${workgroupIndex};
  var sum = 0.0;
  for (var i = part * 256 + local; i < uniforms.count; i += ${256 * parts}) { sum += x[i] * x[i]; }
  let all = total(sum, local);
  if (local == 0) { partials[part] = all; }
}
`;

const totalWgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> sum: array<f32>;
${reduce}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  var value = 0.0;
  if (local < min(${parts}u, (uniforms.count + 255) / 256)) { value = partials[local]; }
  let all = total(value, local);
  if (local == 0) { sum[0] = all; }
}
`;

/** The square of a vector's norm, summed in an order that depends on its length alone. */
export const sumOfSquares: Kernel<Buffers, "count"> = defineKernel({
  name: "sum_of_squares",
  doc: "sum[0] = sum over i of x[i]^2",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(count)" },
    sum: { access: "read_write", dtypes: ["float32"], doc: "(1)" },
  },
  uniforms,
  launch: ({ uniforms: { count } }, limits) => ({
    dispatches: [
      {
        wgsl: partWgsl,
        bindings: [{ name: "x", access: "read" }, { name: "partials", access: "read_write" }],
        grid: grid(Math.min(parts, Math.ceil(count / 256)), limits),
      },
      {
        wgsl: totalWgsl,
        bindings: [{ name: "partials", access: "read" }, { name: "sum", access: "read_write" }],
        grid: [1, 1, 1],
      },
    ],
    scratch: { partials: 4 * parts },
  }),
  reference({ x, sum }, { count }) {
    let all = 0;
    for (let i = 0; i < count; i++) all += x[i] * x[i];
    sum[0] = all;
  },
  tolerance: 1e-6,
});
