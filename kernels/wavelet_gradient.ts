/**
 * `wavelet_gradient`: the gradient of a sparse wavelet spectrum's coefficients, without a dense weight gradient.
 *
 * dc_l = scale SUM_t (S_out^T dy_t)[u_l] (S_in^T x_t)[v_l]: two filters of a few taps for each row and coefficient. Parts of
 * the rows are summed apart and then in a fixed order, so equal calls give equal bits.
 *
 * @module
 */
import {
  type Arrays,
  defineKernel,
  grid,
  type Kernel,
  type Limits,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { coefficient, filtersAt } from "./wavelet/linears.ts";
import { coefficientFunction, filterFunctions } from "./wavelet/wgsl.ts";

type Buffers = "x" | "dy" | "tables" | "filters" | "gradient";
const uniforms = {
  rows: "u32",
  in: "u32",
  out: "u32",
  count: "u32",
  offset: "u32",
  scale: "f32",
  accumulate: "u32",
} as const;
type Words = Readonly<Record<keyof typeof uniforms, number>>;

/** Invocations that fill a large GPU. */
const manyInvocations = 2 ** 17;

const sums = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read> tables: array<u32>;
@group(0) @binding(4) var<storage, read> filters: array<vec2u>;
@group(0) @binding(5) var<storage, read_write> partial: array<f32>;
override parts: u32;
${filterFunctions}
${coefficientFunction("x")}
${coefficientFunction("dy")}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let index = (${workgroupIndex}) * 256 + local;
  let l = index % uniforms.count;
  let part = index / uniforms.count;
  if (part >= parts) { return; }
  let taps = filters_at(0);
  let own = filters[l];
  var sum = 0.0;
  for (var row = part; row < uniforms.rows; row += parts) {
    sum += coefficient_of_dy(taps, row * uniforms.out, uniforms.out, own.x) *
      coefficient_of_x(taps, row * uniforms.in, uniforms.in, own.y);
  }
  partial[index] = sum;
}
`;

const total = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>;
override parts: u32;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let l = (${workgroupIndex}) * 256 + local;
  if (l >= uniforms.count) { return; }
  var sum = 0.0;
  for (var part = 0u; part < parts; part++) { sum += partial[part * uniforms.count + l]; }
  let at = uniforms.offset + l;
  gradient[at] = select(0.0, gradient[at], uniforms.accumulate == 1) + uniforms.scale * sum;
}
`;

function reference(arrays: Arrays<Buffers>, u: Words): void {
  const { x, dy, tables, filters, gradient } = arrays;
  const { taps, shift, values } = filtersAt(tables as Uint32Array, 0);
  const filtered = (signal: ArrayLike<number>, at: number, length: number, filter: number): number => {
    let sum = 0;
    for (let t = 0; t < length; t++) {
      const j = t - 2 * Math.floor(filter / 2) + shift;
      if (j >= 0 && j < taps) sum += signal[at + t] * values[filter % 2 * taps + j];
    }
    return sum;
  };
  for (let l = 0; l < u.count; l++) {
    let sum = 0;
    for (let row = 0; row < u.rows; row++) {
      sum += filtered(dy, row * u.out, u.out, filters[2 * l]) *
        filtered(x, row * u.in, u.in, filters[2 * l + 1]);
    }
    gradient[u.offset + l] = (u.accumulate ? gradient[u.offset + l] : 0) + Math.fround(u.scale) * sum;
  }
}

function cpu(arrays: Arrays<Buffers>, u: Words): void {
  const x = arrays.x as Float32Array, dy = arrays.dy as Float32Array, { filters, gradient } = arrays;
  const known = filtersAt(arrays.tables as Uint32Array, 0);
  const found = new Float64Array(u.count);
  for (let row = 0; row < u.rows; row++) {
    const to = row * u.out, from = row * u.in;
    for (let l = 0; l < u.count; l++) {
      found[l] += coefficient(dy, to, u.out, filters[2 * l], known) *
        coefficient(x, from, u.in, filters[2 * l + 1], known);
    }
  }
  const scale = Math.fround(u.scale);
  for (let l = 0; l < u.count; l++) {
    gradient[u.offset + l] = (u.accumulate ? gradient[u.offset + l] : 0) + scale * found[l];
  }
}

const partsOf = ({ rows, count }: Words): number =>
  Math.max(1, Math.min(Math.ceil(manyInvocations / Math.max(count, 1)), Math.ceil(rows / 16)));

function launch(words: Words, limits: Limits) {
  const { count } = words, parts = partsOf(words);
  return {
    dispatches: [
      {
        wgsl: sums,
        bindings: [
          { name: "x", access: "read" as const },
          { name: "dy", access: "read" as const },
          { name: "tables", access: "read" as const },
          { name: "filters", access: "read" as const },
          { name: "partial", access: "read_write" as const },
        ],
        constants: { parts },
        grid: grid(Math.ceil(count * parts / 256), limits),
      },
      {
        wgsl: total,
        bindings: [
          { name: "partial", access: "read" as const },
          { name: "gradient", access: "read_write" as const },
        ],
        constants: { parts },
        grid: grid(Math.ceil(count / 256), limits),
      },
    ],
    scratch: { partial: 4 * parts * count },
  };
}

/** See the module's documentation. */
export const waveletGradient: Kernel<Buffers, keyof typeof uniforms> = defineKernel({
  name: "wavelet_gradient",
  doc:
    "gradient[offset + l] = or += scale SUM_rows (S_out^T dy)[u_l] (S_in^T x)[v_l] of one adapter's coefficients, for x " +
    "(rows, in) and dy (rows, out)",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, out), row-major" },
    tables: { access: "read", dtypes: ["uint32"], doc: "a table of `waveletTable`: its filters" },
    filters: {
      access: "read",
      dtypes: ["uint32"],
      doc: "(count, 2): u, v of each coefficient, by `waveletPlaces`",
    },
    gradient: { access: "read_write", dtypes: ["float32"], doc: "(count) from element `offset` on" },
  },
  uniforms,
  launch: ({ uniforms: words }, limits) => launch(words, limits),
  reference,
  cpu,
  tolerance: 1e-6,
});
