import {
  type Arrays,
  type Case,
  defineKernel,
  grid,
  type Kernel,
  normals,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { recordWords } from "./record.ts";

type Buffers = "slots" | "records" | "values" | "y";
type Uniforms = keyof typeof uniforms;
type Words = Readonly<Record<Uniforms, number>>;

const uniforms = {
  rows: "u32",
  in: "u32",
  out0: "u32",
  out1: "u32",
  out2: "u32",
  layer: "u32",
  capacity: "u32",
  /** Whether factors A (count, in) and B (out, count) stand before the scales. */
  factors: "u32",
} as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> slots: array<u32>;
@group(0) @binding(2) var<storage, read> records: array<vec4u>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  let width = uniforms.out0 + uniforms.out1 + uniforms.out2;
  if (i >= uniforms.rows * width) { return; }
  let slot = slots[i / width];
  if (slot >= uniforms.capacity) { return; }
  var output = i % width;
  var layer = uniforms.layer;
  var out = uniforms.out0;
  if (output >= out) {
    output -= out;
    layer += 1;
    out = uniforms.out1;
    if (output >= out) {
      output -= out;
      layer += 1;
      out = uniforms.out2;
    }
  }
  let record = records[layer * uniforms.capacity + slot];
  if (record.z == 0) { return; }
  let before = select(0, record.z * (uniforms.in + out), uniforms.factors != 0);
  y[i] *= values[record.y + before + output];
}
`;

function scaled({ slots, records, values, y }: Arrays<Buffers>, words: Words): void {
  const { rows, in: inSize, out0, out1, out2, layer, capacity, factors } = words;
  const outs = [out0, out1, out2];
  for (let row = 0; row < rows; row++) {
    if (slots[row] >= capacity) continue;
    let at = row * (out0 + out1 + out2);
    outs.forEach((out, i) => {
      const record = recordWords * ((layer + i) * capacity + slots[row]);
      const count = out > 0 ? records[record + 2] : 0;
      const begin = records[record + 1] + (factors ? count * (inSize + out) : 0);
      if (count > 0) { for (let o = 0; o < out; o++) y[at + o] *= values[begin + o]; }
      at += out;
    });
  }
}

/** Two adapters of each linear; the second leaves the last linear as it is. */
function sized(
  { in: inSize, outs, slots, factors }: {
    readonly in: number;
    readonly outs: readonly number[];
    readonly slots: readonly number[];
    readonly factors: 0 | 1;
  },
): Case<Buffers, Uniforms> {
  const capacity = 2, layer = 1, count = 3, rows = slots.length;
  const [out0, out1 = 0, out2 = 0] = outs, width = out0 + out1 + out2;
  const records = new Uint32Array(recordWords * capacity * (layer + 3));
  let size = 5;
  outs.forEach((out, i) => {
    for (let slot = 0; slot < capacity; slot++) {
      const at = recordWords * ((layer + i) * capacity + slot);
      records.set([0, size, slot === 1 && i === outs.length - 1 ? 0 : count, 0], at);
      size += count * (inSize + out) + out;
    }
  });
  return {
    name: `${rows} x ${outs.join(", ")}${factors ? ", after factors" : ""}`,
    uniforms: { rows, in: inSize, out0, out1, out2, layer, capacity, factors },
    make: (random) => ({
      slots: Uint32Array.from(slots),
      records,
      values: normals(size, random),
      y: normals(rows * width, random),
    }),
  };
}

/** A factor for each output, of each row's own adapter: what DoRA and IA3 do after the product. */
export const scaleOutputs: Kernel<Buffers, Uniforms> = defineKernel({
  name: "scale_outputs",
  doc:
    "y[r, o] *= the factor of adapter slots[r] for output o, for up to three linears side by side; rows without an " +
    "adapter, and linears whose record's count is 0, stay as they are",
  buffers: {
    slots: { access: "read", dtypes: ["uint32"], doc: "(rows); capacity or more: no adapter" },
    records: { access: "read", dtypes: ["uint32"], doc: "(linears, capacity, 4): see record.ts" },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc:
        "at a record's offset: (out) factors, after A (count, in) and B (out, count) where `factors` is not 0",
    },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out0 + out1 + out2), row-major, in place" },
  },
  uniforms,
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
  reference: scaled,
  tolerance: 1e-6,
  cases: [
    sized({ in: 1, outs: [1], slots: [0], factors: 0 }),
    sized({ in: 5, outs: [37, 8], slots: [0, 1, 0xffffffff, 2, 1], factors: 1 }),
    sized({ in: 16, outs: [256, 64, 65], slots: [1, 0, 0xffffffff], factors: 1 }),
    sized({ in: 16, outs: [30, 257], slots: [1, 0], factors: 0 }),
  ],
  benches: [],
});
