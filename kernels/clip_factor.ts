import { defineKernel, type Kernel, uniformStruct, workgroupBuiltins, workgroupIndex } from "./kernel.ts";

type Buffers = "sums" | "clip";
type Uniforms = "count" | "maxNorm";

const uniforms = { count: "u32", maxNorm: "f32" } as const;

// One thread: the sums are as many as the tensors that are clipped together.
const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> clip: array<f32>;

@compute @workgroup_size(1)
fn main(${workgroupBuiltins}) {
  if (${workgroupIndex} + local > 0) { return; }
  var sum = 0.0;
  for (var i = 0u; i < uniforms.count; i++) { sum += sums[i]; }
  let norm = sqrt(sum);
  let factor = uniforms.maxNorm / (norm + 1e-6);
  clip[0] = norm;
  clip[1] = select(factor, 1.0, factor > 1);
}
`;

/** How much gradients must shrink for their norm not to be above a limit: torch.nn.utils.clip_grad_norm_. */
export const clipFactor: Kernel<Buffers, Uniforms> = defineKernel({
  name: "clip_factor",
  doc: "clip[0] = norm = sqrt(sum of sums), clip[1] = min(1, maxNorm / (norm + 1e-6))",
  buffers: {
    sums: { access: "read", dtypes: ["float32"], doc: "(count): a sum of squares for each tensor" },
    clip: { access: "read_write", dtypes: ["float32"], doc: "(2): norm, factor" },
  },
  uniforms,
  launch: () => ({
    dispatches: [{
      wgsl,
      bindings: [{ name: "sums", access: "read" }, { name: "clip", access: "read_write" }],
      grid: [1, 1, 1],
    }],
  }),
  reference({ sums, clip }, { count, maxNorm }) {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += sums[i];
    const norm = Math.sqrt(sum);
    clip[0] = norm;
    clip[1] = Math.min(1, maxNorm / (norm + 1e-6));
  },
  tolerance: 1e-6,
});
