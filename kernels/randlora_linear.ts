import {
  type Arrays,
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { floatOf, recordWords } from "./record.ts";

type Buffers = "x" | "slots" | "records" | "tables" | "values" | "y";
type Uniforms = "rows" | "in" | "out0" | "out1" | "out2" | "linear" | "capacity";
type Words = Readonly<Record<Uniforms, number>>;

const uniforms = {
  rows: "u32",
  in: "u32",
  out0: "u32",
  out1: "u32",
  out2: "u32",
  linear: "u32",
  capacity: "u32",
} as const;

/** Results of a workgroup; each is summed by 8 threads. */
const chunk = 32;

/** What stands between the factors has fewer numbers: ceil(min / r) r of them, with r at most min. */
const mostBetween = (inSize: number, out: number): number => 2 * Math.min(inSize, out);

/** What both halves of the work begin with: a workgroup's row, linear and adapter, the factors, and a sum by 8 threads. */
const begin = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> tables: array<u32>;
@group(0) @binding(5) var<storage, read> values: array<f32>;
@group(0) @binding(6) var<storage, read_write> between: array<f32>;

var<workgroup> sums: array<f32, 256>;

fn most_between(out: u32) -> u32 { return 2 * min(uniforms.in, out); }
fn chunks_of(results: u32) -> u32 { return (results + ${chunk - 1}) / ${chunk}; }

struct Place { found: bool, row: u32, part: u32, out: u32, y_at: u32, between_at: u32, record: vec4u }

// Which row and linear a workgroup serves, and which of its chunks; 'chunks' are those of each linear.
fn place(id: u32, chunks: vec3u) -> Place {
  var p: Place;
  p.row = id / (chunks.x + chunks.y + chunks.z);
  if (p.row >= uniforms.rows) { return p; }
  let slot = slots[p.row];
  if (slot >= uniforms.capacity) { return p; }
  p.part = id % (chunks.x + chunks.y + chunks.z);
  let most = vec3u(most_between(uniforms.out0), most_between(uniforms.out1), most_between(uniforms.out2));
  var linear = uniforms.linear;
  p.out = uniforms.out0;
  p.y_at = p.row * (uniforms.out0 + uniforms.out1 + uniforms.out2);
  p.between_at = p.row * (most.x + most.y + most.z);
  if (p.part >= chunks.x) {
    p.part -= chunks.x;
    linear += 1;
    p.y_at += p.out;
    p.between_at += most.x;
    p.out = uniforms.out1;
    if (p.part >= chunks.y) {
      p.part -= chunks.y;
      linear += 1;
      p.y_at += p.out;
      p.between_at += most.y;
      p.out = uniforms.out2;
    }
  }
  p.record = records[linear * uniforms.capacity + slot];
  p.found = p.record.z > 0;
  return p;
}

struct Factors { rank: u32, bases: u32, short: u32, a: u32, wide: u32, b: u32, big: u32, lambda: u32, gamma: u32 }

fn factors_of(p: Place) -> Factors {
  let at = p.record.x;
  var f: Factors;
  f.rank = tables[at];
  f.short = min(uniforms.in, p.out);
  f.bases = (f.short + f.rank - 1) / f.rank;
  f.wide = tables[at + 1];
  f.big = tables[at + 2] * f.rank;
  f.a = at + 4;
  f.b = f.a + f.rank * f.wide;
  f.lambda = p.record.y;
  f.gamma = f.lambda + f.rank * f.bases;
  return f;
}

// The number of the small factor (bases rank, short), without lambda, and of the big one (long, bases rank).
fn small(f: Factors, k: u32, column: u32) -> f32 {
  return bitcast<f32>(tables[f.a + (k / f.bases) * f.wide + column]) * values[f.gamma + (k % f.bases) * f.short + column];
}
fn large(f: Factors, row: u32, k: u32) -> f32 { return bitcast<f32>(tables[f.b + row * f.big + k]); }

// Threads next to each other read numbers next to each other.
fn result_of(local: u32, along: bool) -> u32 { return select(local % ${chunk}, local / 8, along); }
fn lane_of(local: u32, along: bool) -> u32 { return select(local / ${chunk}, local % 8, along); }

fn summed(local: u32, result: u32, lane: u32, part: f32) -> f32 {
  sums[result * 8 + lane] = part;
  workgroupBarrier();
  var sum = 0.0;
  if (local < ${chunk}) { for (var i = 0u; i < 8; i++) { sum += sums[local * 8 + i]; } }
  return sum;
}
`;

/** between = lambda (the factor beside x) x. */
const down = /* wgsl */ `
${begin}
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let p = place(${workgroupIndex}, vec3u(
    chunks_of(most_between(uniforms.out0)), chunks_of(most_between(uniforms.out1)), chunks_of(most_between(uniforms.out2))));
  if (!p.found) { return; }
  let f = factors_of(p);
  let count = f.bases * f.rank;
  if (p.part * ${chunk} >= count) { return; }
  let tall = uniforms.in <= p.out;
  let result = result_of(local, tall);
  let k = p.part * ${chunk} + result;
  let lane = lane_of(local, tall);
  var part = 0.0;
  if (k < count) {
    for (var q = lane; q < uniforms.in; q += 8) {
      var weight = 0.0;
      if (tall) { weight = small(f, k, q); } else { weight = large(f, q, k); }
      part += weight * x[p.row * uniforms.in + q];
    }
  }
  let sum = summed(local, result, lane, part);
  let own = p.part * ${chunk} + local;
  if (local < ${chunk} && own < count) { between[p.between_at + own] = values[f.lambda + own] * sum; }
}
`;

/** y += scale (the other factor) between. */
const up = /* wgsl */ `
${begin}
@group(0) @binding(7) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let p = place(${workgroupIndex}, vec3u(
    chunks_of(uniforms.out0), chunks_of(uniforms.out1), chunks_of(uniforms.out2)));
  if (!p.found) { return; }
  let f = factors_of(p);
  let count = f.bases * f.rank;
  let tall = uniforms.in <= p.out;
  let result = result_of(local, tall);
  let o = p.part * ${chunk} + result;
  let lane = lane_of(local, tall);
  var part = 0.0;
  if (o < p.out) {
    for (var k = lane; k < count; k += 8) {
      var weight = 0.0;
      if (tall) { weight = large(f, o, k); } else { weight = small(f, k, o); }
      part += weight * between[p.between_at + k];
    }
  }
  let sum = summed(local, result, lane, part);
  let own = p.part * ${chunk} + local;
  if (local < ${chunk} && own < p.out) { y[p.y_at + own] += bitcast<f32>(p.record.w) * sum; }
}
`;

/** The factors of an adapter's linear, as the kernel's tables and values have them. */
interface Factors {
  readonly count: number;
  readonly lambda: (k: number) => number;
  readonly small: (k: number, column: number) => number;
  readonly large: (row: number, k: number) => number;
}

function factorsOf(
  { tables, values }: Pick<Arrays<Buffers>, "tables" | "values">,
  { table, offset, short }: { readonly table: number; readonly offset: number; readonly short: number },
): Factors {
  const [rank, wide, pieces] = tables.subarray(table, table + 3);
  const bases = Math.ceil(short / rank), count = bases * rank, gamma = offset + count;
  const b = table + 4 + rank * wide;
  return {
    count,
    lambda: (k) => values[offset + k],
    small: (k, column) =>
      floatOf(tables[table + 4 + Math.floor(k / bases) * wide + column]) *
      values[gamma + k % bases * short + column],
    large: (row, k) => floatOf(tables[b + row * pieces * rank + k]),
  };
}

function added({ x, slots, records, tables, values, y }: Arrays<Buffers>, words: Words): void {
  const { rows, in: inSize, out0, out1, out2, linear, capacity } = words;
  for (let row = 0; row < rows; row++) {
    if (slots[row] >= capacity) continue;
    let yAt = row * (out0 + out1 + out2);
    for (const [i, out] of [out0, out1, out2].entries()) {
      const at = recordWords * ((linear + i) * capacity + slots[row]), begin = yAt;
      yAt += out;
      if (out === 0 || records[at + 2] === 0) continue;
      const tall = inSize <= out, scale = floatOf(records[at + 3]);
      const { count, lambda, small, large } = factorsOf({ tables, values }, {
        table: records[at],
        offset: records[at + 1],
        short: Math.min(inSize, out),
      });
      const between = Float64Array.from({ length: count }, (_, k) => {
        let sum = 0;
        for (let q = 0; q < inSize; q++) sum += (tall ? small(k, q) : large(q, k)) * x[row * inSize + q];
        return lambda(k) * sum;
      });
      for (let o = 0; o < out; o++) {
        let sum = 0;
        for (let k = 0; k < count; k++) sum += (tall ? large(o, k) : small(k, o)) * between[k];
        y[begin + o] += scale * sum;
      }
    }
  }
}

/** RandLoRA of up to three linears that share x, each row with its own adapter. */
export const randloraLinear: Kernel<Buffers, Uniforms> = defineKernel({
  name: "randlora_linear",
  doc:
    "y[r] += scale dW x[r] for each of the linears `linear`, `linear + 1` and `linear + 2` whose out is not 0, in its columns " +
    "of y, with RandLoRA's dW of slot slots[r]: Big Small of bases that adapters share, (max, n r) and (n r, min) of the " +
    "linear's sizes, transposed where in is above out; a slot of capacity or more (0xffffffff: none) and count 0 add " +
    "nothing",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    slots: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    records: {
      access: "read",
      dtypes: ["uint32"],
      doc: "(linears, capacity, 4): offset into tables, offset into values, count, bits of a float32 scale",
    },
    tables: {
      access: "read",
      dtypes: ["uint32"],
      doc:
        "at a record's offset: r, at most min; columns of A, N, rows of B; then the bits of float32 A (r, columns) and " +
        "B (rows, N, r): Big[o, k] = B[o, k div r, k mod r]",
    },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc:
        "at a record's offset: lambda (r n), then gamma (n, min), with n = ceil(min / r): Small[k, q] = lambda[k] " +
        "A[k div n, q] gamma[k mod n, q]",
    },
    y: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "(rows, out0 + out1 + out2), row-major, added to; out1 and out2 may be 0",
    },
  },
  uniforms,
  launch({ uniforms: { rows, in: inSize, out0, out1, out2 } }, limits) {
    const outs = [out0, out1, out2];
    const workgroups = (results: (out: number) => number) =>
      grid(rows * outs.reduce((sum, out) => sum + Math.ceil(results(out) / chunk), 0), limits);
    const most = outs.reduce((sum, out) => sum + mostBetween(inSize, out), 0);
    const bindings = [
      { name: "x", access: "read" },
      { name: "slots", access: "read" },
      { name: "records", access: "read" },
      { name: "tables", access: "read" },
      { name: "values", access: "read" },
      { name: "between", access: "read_write" },
    ] as const;
    return {
      scratch: { between: 4 * rows * most },
      dispatches: [
        { wgsl: down, bindings, grid: workgroups((out) => mostBetween(inSize, out)) },
        {
          wgsl: up,
          bindings: [...bindings, { name: "y", access: "read_write" }],
          grid: workgroups((out) => out),
        },
      ],
    };
  },
  reference: added,
  tolerance: 1e-5,
});
