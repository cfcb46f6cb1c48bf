import {
  type Arrays,
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import type { Parts, ReadSource } from "./parts.ts";
import {
  adaptedOutputs,
  loadUnit,
  outsOf,
  placeOf,
  sideBySide,
  type UnitPlace,
  unitText,
} from "./side_by_side.ts";

type Buffers = "slots" | "records" | "values" | "y";
type Uniforms = keyof typeof uniforms;
type Words = Readonly<Record<Uniforms, number>>;

const uniforms = {
  ...sideBySide,
  /** Whether factors A (count, in) and B (out, count) stand before the scales. */
  factors: "u32",
} as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
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
  if (record.z == 0) { return; }
  let before = select(0, record.z * (uniforms.in + place.out), uniforms.factors != 0);
  y[i] *= values[record.y + before + place.output];
}
`;

function scaled({ values, y, ...found }: Arrays<Buffers>, words: Words): void {
  for (const { at, out, first, count } of adaptedOutputs(found, words)) {
    const begin = first + (words.factors ? count * (words.in + out) : 0);
    for (let o = 0; o < out; o++) y[at + o] *= values[begin + o];
  }
}

/** Statements that scale a unit of y by the row's factors, of the bank that made the parts or of one of its own. */
function scaleText({ factors }: Words, parts: Parts): (place: UnitPlace) => string {
  const { bank } = parts;
  if (bank) {
    return ({ target, unit, number, out, output }) =>
      `if (${bank.count({ number })} > 0) {
      let scale_at = ${bank.after({ number, out })} + ${output};
      ${target} *= ${loadUnit(bank.values, "scale_at", unit)};
    }`;
  }
  return ({ target, unit, row, number, out, output }) =>
    `let scale_slot = scale_slots[${row}];
    if (scale_slot < uniforms.scale_capacity) {
      let scale_record = scale_records[(uniforms.scale_linear + ${number}) * uniforms.scale_capacity + scale_slot];
      if (scale_record.z > 0) {
        let scale_at = scale_record.y + ${output}${
      factors ? ` + scale_record.z * (uniforms.scale_in + ${out})` : ""
    };
        ${target} *= ${loadUnit("scale_values", "scale_at", unit)};
      }
    }`;
}

/** Text that reads y by the parts' own source, and scales what was read. */
function scaledSource(words: Words, parts: Parts, result: string): ReadSource {
  const before = parts.source(result), text = scaleText(words, parts), own = parts.bank === undefined;
  return {
    ...before,
    bindings: [
      ...before.bindings,
      ...(own ? ["scale_slots", "scale_records", "scale_values"] : []).map((name) => ({
        name,
        access: "read" as const,
      })),
    ],
    types: (unit) => ({
      ...before.types(unit),
      ...{ scale_slots: "u32", scale_records: "vec4u", scale_values: "f32" },
    }),
    words: [...before.words ?? [], ...(own ? ["scale_in", "scale_linear", "scale_capacity"] : [])],
    read: (name, i, unit) => `
  ${before.read(`${name}_unscaled`, i, unit)}
  var ${name} = ${name}_unscaled;
  ${unitText(outsOf(words), { name, i, unit }, text)}
  ${result}[${i}] = ${name};`,
  };
}

function scaledParts(words: Words, parts: Parts): Parts {
  // What follows a module's factors is in the bank of the product with them.
  if (words.factors && parts.bank) {
    return { ...parts, reads: {}, source: (result) => scaledSource(words, parts, result) };
  }
  const known = { ...parts, bank: undefined };
  return {
    ...known,
    reads: { scale_slots: "slots", scale_records: "records", scale_values: "values" },
    words: {
      ...parts.words,
      ...{ scale_in: words.in, scale_linear: words.linear, scale_capacity: words.capacity },
    },
    source: (result) => scaledSource(words, known, result),
  };
}

const countOf = ({ rows, out0, out1, out2 }: Words): number => rows * (out0 + out1 + out2);

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
  relay: {
    from: "y",
    to: "y",
    count: ({ uniforms }) => countOf(uniforms),
    parts: ({ uniforms: words }, parts) => scaledParts(words, parts),
  },
  reference: scaled,
  tolerance: 1e-6,
});
