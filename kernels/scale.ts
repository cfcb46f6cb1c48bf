/**
 * `scale`: y *= a number that is on the device.
 *
 * @module
 */
import {
  defineKernel,
  grid,
  type Kernel,
  normals,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

const uniforms = { count: "u32" } as const;
type Buffers = "factor" | "y";

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> factor: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256u + local;
  if (i < uniforms.count) { y[i] *= factor[0]; }
}
`;

/** See the module's documentation. */
export const scale: Kernel<Buffers, "count"> = defineKernel({
  name: "scale",
  doc: "y[i] *= factor[0]",
  buffers: {
    factor: { access: "read", dtypes: ["float32"], doc: "(1)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(count)" },
  },
  uniforms,
  launch: ({ uniforms: { count } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [{ name: "factor", access: "read" }, { name: "y", access: "read_write" }],
      grid: grid(Math.ceil(count / 256), limits),
    }],
  }),
  reference({ factor, y }, { count }) {
    for (let i = 0; i < count; i++) y[i] *= factor[0];
  },
  tolerance: 1e-6,
  cases: [1, 255, 256, 257].map((count) => ({
    name: `${count}`,
    uniforms: { count },
    make: (random) => ({ factor: Float32Array.of(0.3), y: normals(count, random) }),
  })),
  benches: [{
    name: "2^24",
    uniforms: { count: 2 ** 24 },
    make: (random) => ({ factor: Float32Array.of(1), y: normals(2 ** 24, random) }),
    bytes: 8 * 2 ** 24,
  }],
});
