import {
  type Arrays,
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { adaptedOutputs, type SideBySide, sideBySide } from "./side_by_side.ts";

type Buffers = "slots" | "records" | "values" | "y";
type Uniforms = keyof SideBySide;

const wgsl = /* wgsl */ `
${uniformStruct(sideBySide)}
@group(0) @binding(1) var<storage, read> slots: array<u32>;
@group(0) @binding(2) var<storage, read> records: array<vec4u>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

var<workgroup> sums: array<vec2f, 256>;

// One workgroup for a row's outputs of one linear, block by block.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let row = id / 3;
  if (row >= uniforms.rows) { return; }
  let slot = slots[row];
  if (slot >= uniforms.capacity) { return; }
  let part = id % 3;
  let outs = vec3u(uniforms.out0, uniforms.out1, uniforms.out2);
  let out = outs[part];
  if (out == 0) { return; }
  let record = records[(uniforms.linear + part) * uniforms.capacity + slot];
  if (record.z == 0) { return; }
  let own = record.y + record.z * (uniforms.in + out);
  let size = out / u32(values[own]);
  let minus = own + 1;
  let plus = minus + out;
  let at = row * (outs.x + outs.y + outs.z) + select(0, outs.x, part > 0) + select(0, outs.y, part > 1);
  for (var begin = 0u; begin < out; begin += size) {
    var sum = vec2f(0);
    for (var i = begin + local; i < begin + size; i += 256) {
      sum += vec2f(values[minus + i], values[plus + i]) * y[at + i];
    }
    sums[local] = sum;
    workgroupBarrier();
    for (var half = 128u; half > 0; half >>= 1) {
      if (local < half) { sums[local] += sums[local + half]; }
      workgroupBarrier();
    }
    let dots = sums[0];
    workgroupBarrier();
    for (var i = begin + local; i < begin + size; i += 256) {
      y[at + i] += dots.y * values[plus + i] - dots.x * values[minus + i];
    }
  }
}
`;

function reflected({ values, y, ...found }: Arrays<Buffers>, words: SideBySide): void {
  for (const { at, out, first, count } of adaptedOutputs(found, words)) {
    const own = first + count * (words.in + out), size = out / values[own];
    const minus = own + 1, plus = minus + out;
    for (let begin = 0; begin < out; begin += size) {
      let less = 0, more = 0;
      for (let i = begin; i < begin + size; i++) {
        less += values[minus + i] * y[at + i];
        more += values[plus + i] * y[at + i];
      }
      for (let i = begin; i < begin + size; i++) {
        y[at + i] += more * values[plus + i] - less * values[minus + i];
      }
    }
  }
}

/** Reflections of blocks of outputs, of each row's own adapter: what ETHER does to rows of W. */
export const reflectOutputs: Kernel<Buffers, Uniforms> = defineKernel({
  name: "reflect_outputs",
  doc:
    "each block of y[r] = itself + q (q . itself) - p (p . itself), with its p and q of adapter slots[r], for up to three " +
    "linears side by side; rows without an adapter, and linears whose record's count is 0, stay as they are",
  buffers: {
    slots: { access: "read", dtypes: ["uint32"], doc: "(rows); capacity or more: no adapter" },
    records: { access: "read", dtypes: ["uint32"], doc: "(linears, capacity, 4): see record.ts" },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc:
        "at a record's offset: A (count, in), B (out, count), the number of blocks, which divides out, p (out), q (out)",
    },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out0 + out1 + out2), row-major, in place" },
  },
  uniforms: sideBySide,
  launch: ({ uniforms: { rows } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "slots", access: "read" },
        { name: "records", access: "read" },
        { name: "values", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(3 * rows, limits),
    }],
  }),
  reference: reflected,
  tolerance: 2e-6,
});
