import {
  type Arrays,
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { turnedProductParts } from "./rotate/beside.ts";
import { adaptedOutputs, placeOf, type SideBySide, sideBySide } from "./side_by_side.ts";

type Buffers = "slots" | "records" | "values" | "y";
type Uniforms = keyof SideBySide;

const wgsl = /* wgsl */ `
${uniformStruct(sideBySide)}
@group(0) @binding(1) var<storage, read> slots: array<u32>;
@group(0) @binding(2) var<storage, read> records: array<vec4u>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
${placeOf}
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  let width = uniforms.out0 + uniforms.out1 + uniforms.out2;
  if (i >= uniforms.rows * width) { return; }
  let slot = slots[i / width];
  if (slot >= uniforms.capacity) { return; }
  let place = place_of(i % width);
  let record = records[place.linear * uniforms.capacity + slot];
  let half = record.z / 2;
  // The invocation of a pair's first output writes both.
  if (record.z == 0 || place.output % record.z >= half) { return; }
  let own = record.y + place.output;
  let across = own + place.out;
  let first = y[i];
  let second = y[i + half];
  y[i] = first * values[own] - second * values[across];
  y[i + half] = second * values[own + half] + first * values[across + half];
}
`;

function rotated({ values, y, ...found }: Arrays<Buffers>, words: SideBySide): void {
  for (const { at, out, first: own, count: group } of adaptedOutputs(found, words)) {
    const half = group / 2, across = own + out;
    for (let o = 0; o < out; o++) {
      if (o % group >= half) continue;
      const first = y[at + o], second = y[at + o + half];
      y[at + o] = first * values[own + o] - second * values[across + o];
      y[at + o + half] = second * values[own + o + half] + first * values[across + o + half];
    }
  }
}

/** Pairs of outputs turned and scaled, by each row's own adapter: what RoAd does after the product. */
export const rotatePairs: Kernel<Buffers, Uniforms> = defineKernel({
  name: "rotate_pairs",
  doc:
    "y[r, o] = y[r, o] c[o] - y[r, o + h] s[o] and y[r, o + h] = y[r, o + h] c[o + h] + y[r, o] s[o + h], for outputs o of " +
    "the first half, of h outputs, of each group, with c and s of adapter slots[r]; for up to three linears side by side; rows " +
    "without an adapter, and linears whose record's count is 0, stay as they are",
  buffers: {
    slots: { access: "read", dtypes: ["uint32"], doc: "(rows); capacity or more: no adapter" },
    records: {
      access: "read",
      dtypes: ["uint32"],
      doc:
        "(linears, capacity, 4): see record.ts; the count is a group's outputs, even, and divides the linear's",
    },
    values: { access: "read", dtypes: ["float32"], doc: "at a record's offset: c (out), then s (out)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out0 + out1 + out2), row-major, in place" },
  },
  uniforms: sideBySide,
  launch: ({ uniforms: { rows, out0, out1, out2 } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "slots", access: "read" },
        { name: "records", access: "read" },
        { name: "values", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(Math.ceil(rows * (out0 + out1 + out2) / 256), limits),
    }],
  }),
  produce: {
    after: "linear",
    same: [["y", "y"]],
    takes: ["x", "weight"],
    result: "y",
    parts(before, { uniforms: words }, limits) {
      const { rows, in: inSize, out, accumulate } = before.uniforms;
      const columns = words.out0 + words.out1 + words.out2;
      if (rows !== words.rows || inSize !== words.in || out !== columns || accumulate !== 0) return undefined;
      return turnedProductParts(words, { in: inSize, dtype: before.dtypes.weight }, limits);
    },
  },
  reference: rotated,
  tolerance: 1e-6,
});
