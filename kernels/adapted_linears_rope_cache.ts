/**
 * `adapted_linears_rope_cache`: q, k and v with adapters, turned and put into the caches.
 *
 * @module
 */
import { follow, type Followed } from "./adapted/following.ts";
import { adaptedUniforms } from "./adapted_linears.ts";
import { totalText } from "./fourier/beside.ts";
import { anyKernel, type Binding, grid, normals } from "./kernel.ts";
import { turns } from "./rope.ts";
import { ropeCache, ropeCacheGroups, ropeCacheWgsl } from "./rope_cache.ts";

const uniforms = { ...adaptedUniforms, ...ropeCache.uniforms };
const bindings: readonly Binding[] = [
  { name: "sums", access: "read" },
  { name: "y", access: "read_write" },
  { name: "table", access: "read" },
  { name: "positions", access: "read" },
  { name: "index", access: "read" },
  { name: "keyCache", access: "read_write" },
  { name: "valueCache", access: "read_write" },
];

const made: Followed = follow({
  kernel: anyKernel(ropeCache),
  y: "qkv",
  buffers: {
    table: "table",
    positions: "positions",
    index: "index",
    keyCache: "keys",
    valueCache: "values",
  },
  takes: ({ out, heads, kvHeads, headDim }) => out === (heads + 2 * kvHeads) * headDim && headDim % 2 === 0,
  finish: ({ uniforms: { heads, kvHeads, headDim } }) => (shape, limits) => ({
    wgsl: ropeCacheWgsl({
      ...{ uniforms, bindings, qkv: "y", keys: "keyCache", values: "valueCache" },
      types: { sums: "f32", y: "f32", keyCache: "f32", valueCache: "f32" },
      read: (name, i) => totalText(shape, "f32", name, i),
    }),
    bindings,
    grid: grid(ropeCacheGroups({ rows: shape.rows, heads, kvHeads, headDim }), limits),
  }),
}, [{
  ...{ rows: 1, in: 24, outs: [32, 16, 16], adapters: [30] },
  words: { heads: 4, kvHeads: 2, headDim: 8, cacheRows: 5 },
  others: (random) => ({
    table: turns(9, 8),
    positions: Uint32Array.of(7),
    index: Uint32Array.of(4),
    keyCache: normals(80, random),
    valueCache: normals(80, random),
  }),
}]);

/** See the module's documentation. */
export const adaptedLinearsRopeCache = made.kernel;
/** `adapted_linears`, and then `rope_cache` of its y. */
export const adaptedLinearsRopeCacheJoin = made.join;
