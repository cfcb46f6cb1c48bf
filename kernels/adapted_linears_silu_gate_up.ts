/**
 * `adapted_linears_silu_gate_up`: gates and what they gate with adapters, and the one by the other.
 *
 * @module
 */
import { follow, type Followed } from "./adapted/following.ts";
import { adaptedUniforms } from "./adapted_linears.ts";
import { totalText } from "./fourier/beside.ts";
import { anyKernel, type Binding, grid, nans } from "./kernel.ts";
import { siluGateUp, siluGateUpWgsl } from "./silu_gate_up.ts";

const uniforms = { ...adaptedUniforms, ...siluGateUp.uniforms };
const bindings: readonly Binding[] = [
  { name: "sums", access: "read" },
  { name: "y", access: "read_write" },
  { name: "gated", access: "read_write" },
];

const made: Followed = follow({
  kernel: anyKernel(siluGateUp),
  y: "gateUp",
  buffers: { gated: "y" },
  takes: ({ out, dim }) => out === 2 * dim,
  finish: ({ uniforms: { dim } }) => (shape, limits) => ({
    wgsl: siluGateUpWgsl({
      ...{ uniforms, bindings, y: "gated" },
      types: { sums: "f32", y: "f32", gated: "f32" },
      read: (name, i) => totalText(shape, "f32", name, i),
    }),
    bindings,
    grid: grid(Math.ceil(shape.rows * dim / 256), limits),
  }),
}, [{
  ...{ rows: 1, in: 24, outs: [64, 64], adapters: [30] },
  words: { dim: 64 },
  others: () => ({ gated: nans(64) }),
}]);

/** See the module's documentation. */
export const adaptedLinearsSiluGateUp = made.kernel;
/** `adapted_linears`, and then `silu_gate_up` of its y. */
export const adaptedLinearsSiluGateUpJoin = made.join;
