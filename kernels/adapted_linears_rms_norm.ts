/**
 * `adapted_linears_rms_norm`: linears with adapters, added to a residual stream, and the norm of that.
 *
 * @module
 */
import { follow, type Followed, type FollowedSize } from "./adapted/following.ts";
import { adaptedUniforms } from "./adapted_linears.ts";
import { totalText } from "./fourier/beside.ts";
import { anyKernel, type Binding, grid, nans, normals } from "./kernel.ts";
import { readsOnce, rmsNorm, rmsNormWgsl } from "./rms_norm.ts";

const uniforms = { ...adaptedUniforms, ...rmsNorm.uniforms };
const bindings: readonly Binding[] = [
  { name: "sums", access: "read" },
  { name: "y", access: "read_write" },
  { name: "normWeight", access: "read" },
  { name: "normed", access: "read_write" },
];

const sized = (dim: number): Pick<FollowedSize, "words" | "others"> => ({
  words: { dim, eps: 1e-5 },
  others: (random) => ({ normWeight: normals(dim, random), normed: nans(dim) }),
});

const made: Followed = follow({
  kernel: anyKernel(rmsNorm),
  y: "x",
  buffers: { normWeight: "weight", normed: "y" },
  // A thread that read its part of a row twice would add it up twice.
  takes: ({ out, dim }, limits) => out === dim && readsOnce(dim, limits),
  finish: ({ uniforms: { dim }, dtypes }) => (shape, limits) => ({
    wgsl: rmsNormWgsl({
      ...{ dim, dtype: dtypes.normWeight, limits, uniforms, bindings, weight: "normWeight", y: "normed" },
      types: (unit) => ({ sums: unit, y: unit }),
      read: (name, i, unit) => totalText(shape, unit, name, i),
    }),
    bindings,
    grid: grid(shape.rows, limits),
  }),
}, [
  { rows: 1, in: 24, outs: [256], adapters: [30], accumulate: 1, ...sized(256) },
  { rows: 1, in: 24, outs: [37], adapters: [9], accumulate: 0, ...sized(37) },
]);

/** See the module's documentation. */
export const adaptedLinearsRmsNorm = made.kernel;
/** `adapted_linears`, and then `rms_norm` of its y. */
export const adaptedLinearsRmsNormJoin = made.join;
