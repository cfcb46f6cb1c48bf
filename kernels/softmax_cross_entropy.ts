import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "logits" | "targets" | "losses" | "dlogits";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", classes: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;
@group(0) @binding(4) var<storage, read_write> dlogits: array<f32>;
var<workgroup> numbers: array<f32, 64>;

// One workgroup a row.
@compute @workgroup_size(64)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let begin = row * uniforms.classes;
  var own = logits[begin];
  for (var i = local; i < uniforms.classes; i += 64) { own = max(own, logits[begin + i]); }
  numbers[local] = own;
  workgroupBarrier();
  for (var half = 32u; half > 0; half >>= 1) {
    if (local < half) { numbers[local] = max(numbers[local], numbers[local + half]); }
    workgroupBarrier();
  }
  let top = numbers[0];
  workgroupBarrier();
  var sum = 0.0;
  for (var i = local; i < uniforms.classes; i += 64) { sum += exp(logits[begin + i] - top); }
  numbers[local] = sum;
  workgroupBarrier();
  for (var half = 32u; half > 0; half >>= 1) {
    if (local < half) { numbers[local] += numbers[local + half]; }
    workgroupBarrier();
  }
  let total = numbers[0];
  let right = targets[row];
  let learnt = right < uniforms.classes;
  for (var i = local; i < uniforms.classes; i += 64) {
    let slope = exp(logits[begin + i] - top) / total - select(0.0, 1.0, i == right);
    dlogits[begin + i] = select(0.0, slope, learnt);
  }
  if (local == 0) {
    losses[row] = 0;
    if (learnt) { losses[row] = log(total) + top - logits[begin + right]; }
  }
}
`;

/** The loss of classifiers and of heads that are trained, and its gradient: both are made of logits. */
export const softmaxCrossEntropy: Kernel<Buffers, Uniforms> = defineKernel({
  name: "softmax_cross_entropy",
  doc:
    "losses[r] = log sum over c of exp(logits[r, c]) - logits[r, targets[r]], and the gradient of their sum: " +
    "dlogits[r, c] = softmax of logits[r, :] at c, less 1 where c is targets[r]; both are 0 for a target of `classes` or more",
  buffers: {
    logits: { access: "read", dtypes: ["float32"], doc: "(rows, classes), row-major" },
    targets: { access: "read", dtypes: ["uint32"], doc: "(rows): the class; `classes` or more: none" },
    losses: { access: "read_write", dtypes: ["float32"], doc: "(rows), natural logarithms" },
    dlogits: { access: "read_write", dtypes: ["float32"], doc: "(rows, classes), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "logits", access: "read" },
        { name: "targets", access: "read" },
        { name: "losses", access: "read_write" },
        { name: "dlogits", access: "read_write" },
      ],
      grid: grid(rows, limits),
    }],
  }),
  reference({ logits, targets, losses, dlogits }, { rows, classes }) {
    for (let r = 0; r < rows; r++) {
      const own = logits.subarray(r * classes, (r + 1) * classes);
      let top = -Infinity, total = 0;
      for (const logit of own) top = Math.max(top, logit);
      for (const logit of own) total += Math.exp(logit - top);
      if (targets[r] >= classes) {
        losses[r] = 0;
        dlogits.fill(0, r * classes, (r + 1) * classes);
        continue;
      }
      losses[r] = Math.log(total) + top - own[targets[r]];
      for (let c = 0; c < classes; c++) {
        dlogits[r * classes + c] = Math.exp(own[c] - top) / total - Number(c === targets[r]);
      }
    }
  },
  tolerance: 1e-5,
});
