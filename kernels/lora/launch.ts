/**
 * How a GPU makes low-rank updates of rows, each by its own adapter: A x first, then B times it.
 *
 * @module
 */
import {
  type Binding,
  type Dispatch,
  grid,
  type Launch,
  type Limits,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";

/** Uniform words of `lora_linear`. */
export const uniforms = {
  rows: "u32",
  in: "u32",
  out0: "u32",
  out1: "u32",
  out2: "u32",
  linear: "u32",
  capacity: "u32",
} as const;

/** Values of {@linkcode uniforms}. */
export type Words = Readonly<Record<keyof typeof uniforms, number>>;

/** Ranks whose A x comes from the first dispatch. What is above, the second makes anew in each workgroup. */
export const listed = 256;

/** How a call is divided: more threads for a dot product where there are few rows. */
interface Division {
  /** Threads of a dot product of A and x. */
  readonly lanes: number;
  /** Workgroups that share the ranks of a row's adapter. */
  readonly blocks: number;
  /** Outputs of one workgroup of the second dispatch, all of one linear. */
  readonly chunk: number;
}

/** A thread waits for each load: with few rows a row's dot products need all the threads there are. */
function divisionOf(rows: number): Division {
  if (rows <= 8) return { lanes: 256, blocks: 32, chunk: 64 };
  if (rows <= 128) return { lanes: 256, blocks: 16, chunk: 256 };
  return { lanes: 64, blocks: 4, chunk: 256 };
}

/** The first dispatch: hidden = A x, for each row and linear. */
const hiddenWgsl = ({ lanes, blocks }: Division): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> values: array<f32>;
@group(0) @binding(5) var<storage, read_write> hidden: array<f32>;

var<workgroup> sums: array<f32, 256>;

const lanes = ${lanes}u;
const together = ${256 / lanes}u;

// A workgroup makes 'together' ranks of a row's adapter at a time, each by 'lanes' threads.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let block = id % ${blocks};
  let place = id / ${blocks};
  let linears = 1 + select(0u, 1u, uniforms.out1 > 0) + select(0u, 1u, uniforms.out2 > 0);
  let row = place / linears;
  if (row >= uniforms.rows) { return; }
  let slot = slots[row];
  if (slot >= uniforms.capacity) { return; }
  let record = records[(uniforms.linear + place % linears) * uniforms.capacity + slot];
  let rank = min(record.z, ${listed});
  let lane = local % lanes;
  let x_at = row * uniforms.in;
  for (var first = block * together; first < rank; first += ${blocks} * together) {
    let mine = first + local / lanes;
    var part = vec4f(0);
    if (mine < rank) {
      let a = record.y + mine * uniforms.in;
      var i = lane;
      // Eight loads of each at a time, then four: a thread alone would wait for each.
      for (; i + 7 * lanes < uniforms.in; i += 8 * lanes) {
        let near = vec4f(
          values[a + i],
          values[a + i + lanes],
          values[a + i + 2 * lanes],
          values[a + i + 3 * lanes],
        );
        let far = vec4f(
          values[a + i + 4 * lanes],
          values[a + i + 5 * lanes],
          values[a + i + 6 * lanes],
          values[a + i + 7 * lanes],
        );
        part += near *
          vec4f(x[x_at + i], x[x_at + i + lanes], x[x_at + i + 2 * lanes], x[x_at + i + 3 * lanes]);
        part += far * vec4f(
          x[x_at + i + 4 * lanes],
          x[x_at + i + 5 * lanes],
          x[x_at + i + 6 * lanes],
          x[x_at + i + 7 * lanes],
        );
      }
      for (; i + 3 * lanes < uniforms.in; i += 4 * lanes) {
        let weights = vec4f(values[a + i], values[a + i + lanes], values[a + i + 2 * lanes], values[a + i + 3 * lanes]);
        part += weights * vec4f(x[x_at + i], x[x_at + i + lanes], x[x_at + i + 2 * lanes], x[x_at + i + 3 * lanes]);
      }
      for (; i < uniforms.in; i += lanes) { part.x += values[a + i] * x[x_at + i]; }
    }
    workgroupBarrier();
    sums[local] = dot(part, vec4f(1));
    workgroupBarrier();
    for (var half = lanes / 2; half > 0; half >>= 1) {
      if (lane < half) { sums[local] += sums[local + half]; }
      workgroupBarrier();
    }
    if (lane == 0 && mine < rank) { hidden[place * ${listed} + mine] = sums[local]; }
  }
}
`;

/** The second dispatch: y += scale B hidden. */
const outputsWgsl = ({ chunk }: Division): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> values: array<f32>;
@group(0) @binding(5) var<storage, read> hidden: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

var<workgroup> sums: array<f32, ${Math.max(chunk, listed)}>;

fn chunks_of(out: u32) -> u32 { return (out + ${chunk - 1}) / ${chunk}; }

// One workgroup for ${chunk} outputs of a row.
@compute @workgroup_size(${chunk})
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let chunks = vec3u(chunks_of(uniforms.out0), chunks_of(uniforms.out1), chunks_of(uniforms.out2));
  let row = id / (chunks.x + chunks.y + chunks.z);
  if (row >= uniforms.rows) { return; }
  let slot = slots[row];
  if (slot >= uniforms.capacity) { return; }
  var part = id % (chunks.x + chunks.y + chunks.z);
  var number = 0u;
  var out = uniforms.out0;
  var y_at = row * (uniforms.out0 + uniforms.out1 + uniforms.out2);
  if (part >= chunks.x) {
    part -= chunks.x;
    number = 1;
    y_at += out;
    out = uniforms.out1;
    if (part >= chunks.y) {
      part -= chunks.y;
      number = 2;
      y_at += out;
      out = uniforms.out2;
    }
  }
  let record = records[(uniforms.linear + number) * uniforms.capacity + slot];
  let rank = record.z;
  if (rank == 0) { return; }
  let linears = 1 + select(0u, 1u, uniforms.out1 > 0) + select(0u, 1u, uniforms.out2 > 0);
  let hidden_at = (row * linears + number) * ${listed};
  let near = min(rank, ${listed});
  for (var r = local; r < near; r += ${chunk}) { sums[r] = hidden[hidden_at + r]; }
  workgroupBarrier();
  let output = part * ${chunk} + local;
  let b = record.y + rank * uniforms.in + output * rank;
  var parts = vec4f(0);
  if (output < out) {
    var r = 0u;
    for (; r + 7 < near; r += 8) {
      let first = vec4f(values[b + r], values[b + r + 1], values[b + r + 2], values[b + r + 3]);
      let second = vec4f(values[b + r + 4], values[b + r + 5], values[b + r + 6], values[b + r + 7]);
      parts += vec4f(sums[r], sums[r + 1], sums[r + 2], sums[r + 3]) * first;
      parts += vec4f(sums[r + 4], sums[r + 5], sums[r + 6], sums[r + 7]) * second;
    }
    for (; r + 3 < near; r += 4) {
      parts += vec4f(sums[r], sums[r + 1], sums[r + 2], sums[r + 3]) *
        vec4f(values[b + r], values[b + r + 1], values[b + r + 2], values[b + r + 3]);
    }
    for (; r < near; r++) { parts.x += sums[r] * values[b + r]; }
  }
  var sum = dot(parts, vec4f(1));
  // Ranks above ${listed}: few adapters have them, and each workgroup makes them itself, one at a time.
  for (var r = ${listed}u; r < rank; r++) {
    var dot_part = 0.0;
    let a = record.y + r * uniforms.in;
    for (var i = local; i < uniforms.in; i += ${chunk}) { dot_part += values[a + i] * x[row * uniforms.in + i]; }
    workgroupBarrier();
    sums[local] = dot_part;
    workgroupBarrier();
    for (var half = ${chunk / 2}u; half > 0; half >>= 1) {
      if (local < half) { sums[local] += sums[local + half]; }
      workgroupBarrier();
    }
    if (output < out) { sum += sums[0] * values[b + r]; }
  }
  if (output < out) { y[y_at + output] += bitcast<f32>(record.w) * sum; }
}
`;

/** Outs of the linears that are there. */
export const outsOf = ({ out0, out1, out2 }: Words): readonly number[] =>
  [out0, out1, out2].filter((out) => out > 0);

/** Bytes of A x for each row and linear. */
export const hiddenBytes = (words: Words): number => 4 * words.rows * outsOf(words).length * listed;

const read = (name: string): Binding => ({ name, access: "read" });

/** The dispatch that adds B hidden to y, by `hidden` of the dispatch before. */
export function outputsDispatch(words: Words, limits: Limits): Dispatch {
  const division = divisionOf(words.rows);
  const chunks = outsOf(words).reduce((sum, out) => sum + Math.ceil(out / division.chunk), 0);
  return {
    wgsl: outputsWgsl(division),
    bindings: [
      ...["x", "slots", "records", "values", "hidden"].map(read),
      { name: "y", access: "read_write" },
    ],
    grid: grid(words.rows * chunks, limits),
  };
}

/** See the module's documentation. */
export function loraLaunch(words: Words, limits: Limits): Launch {
  const division = divisionOf(words.rows);
  return {
    scratch: { hidden: hiddenBytes(words) },
    dispatches: [{
      wgsl: hiddenWgsl(division),
      bindings: [...["x", "slots", "records", "values"].map(read), { name: "hidden", access: "read_write" }],
      grid: grid(words.rows * outsOf(words).length * division.blocks, limits),
    }, outputsDispatch(words, limits)],
  };
}
