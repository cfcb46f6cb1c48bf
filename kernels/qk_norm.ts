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

type Buffers = "x" | "qWeight" | "kWeight";
type Uniforms = keyof typeof uniforms;

const uniforms = {
  rows: "u32",
  stride: "u32",
  qHeads: "u32",
  qDim: "u32",
  kHeads: "u32",
  kDim: "u32",
  eps: "f32",
} as const;

/** One workgroup a head. */
const wgsl = (q: DType, k: DType): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> qWeight: array<${storageType(q)}>;
@group(0) @binding(3) var<storage, read> kWeight: array<${storageType(k)}>;
${loader("qWeight", q)}
${loader("kWeight", k)}
var<workgroup> sums: array<f32, 64>;

@compute @workgroup_size(64)
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let heads = uniforms.qHeads + uniforms.kHeads;
  let row = id / heads;
  if (row >= uniforms.rows) { return; }
  let head = id % heads;
  let is_key = head >= uniforms.qHeads;
  let dim = select(uniforms.qDim, uniforms.kDim, is_key);
  let of_queries = min(head, uniforms.qHeads) * uniforms.qDim;
  let of_keys = (max(head, uniforms.qHeads) - uniforms.qHeads) * uniforms.kDim;
  let begin = row * uniforms.stride + of_queries + of_keys;
  var sum = 0.0;
  for (var i = local; i < dim; i += 64) {
    let value = x[begin + i];
    sum += value * value;
  }
  sums[local] = sum;
  workgroupBarrier();
  for (var half = 32u; half > 0; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  let all = sums[0];
  var factor = inverseSqrt(all / f32(dim) + uniforms.eps);
  // By bits: compilers may take it that no float is infinite.
  if (bitcast<u32>(all) >= 0x7f800000u) { factor = bitcast<f32>(bitcast<u32>(all) | 0x7fc00000u); }
  for (var i = local; i < dim; i += 64) {
    if (is_key) { x[begin + i] *= factor * kWeight_at(i); } else { x[begin + i] *= factor * qWeight_at(i); }
  }
}
`;

/** Root-mean-square normalisation of queries and keys, each head by itself or all as one, where they lie. */
export const qkNorm: Kernel<Buffers, Uniforms> = defineKernel({
  name: "qk_norm",
  doc:
    "Each row of x begins with qHeads heads of qDim elements, then kHeads of kDim. Each head h becomes h / sqrt(mean of " +
    "h^2 + eps) times its weight, in place; what follows stays. A head whose sum of squares is beyond float32 is NaN",
  buffers: {
    x: { access: "read_write", dtypes: ["float32"], doc: "(rows, stride), row-major, in place" },
    qWeight: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(qDim)" },
    kWeight: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(kDim)" },
  },
  uniforms,
  launch({ uniforms: { rows, qHeads, kHeads }, dtypes }, limits) {
    return {
      dispatches: [{
        wgsl: wgsl(dtypes.qWeight, dtypes.kWeight),
        bindings: [
          { name: "x", access: "read_write" },
          { name: "qWeight", access: "read" },
          { name: "kWeight", access: "read" },
        ],
        grid: grid(rows * (qHeads + kHeads), limits),
      }],
    };
  },
  reference({ x, qWeight, kWeight }, { rows, stride, qHeads, qDim, kHeads, kDim, eps }) {
    for (let r = 0; r < rows; r++) {
      for (let head = 0; head < qHeads + kHeads; head++) {
        const key = head - qHeads, dim = key < 0 ? qDim : kDim, weight = key < 0 ? qWeight : kWeight;
        const begin = r * stride + (key < 0 ? head * qDim : qHeads * qDim + key * kDim);
        let sum = 0;
        for (let i = 0; i < dim; i++) sum += x[begin + i] ** 2;
        const factor = Number.isFinite(Math.fround(sum)) ? 1 / Math.sqrt(sum / dim + eps) : NaN;
        for (let i = 0; i < dim; i++) x[begin + i] *= factor * weight[i];
      }
    }
  },
  wasm: ({ rows, stride, qHeads, qDim, kHeads, kDim, eps }) => ({
    function: "qk_norm",
    args: ["x", stride, "qWeight", "kWeight", qHeads, qDim, kHeads, kDim, eps],
    items: rows,
    work: 4 * rows * (qHeads * qDim + kHeads * kDim),
  }),
  tolerance: 1e-5,
});
