/**
 * How a GPU makes sparse updates of many rows. Neighbouring rows of one adapter share what is read of the adapter, up to eight
 * of them: a step's rows stand in the order of their adapters.
 *
 * Columns of x are read at random. So x is turned first, to have a column's numbers of eight rows side by side.
 *
 * @module
 */
import type { BankWords } from "../bank_rows.ts";
import {
  type Binding,
  grid,
  type Launch,
  type Limits,
  uniformStruct,
  type UniformType,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import { placeOf } from "../side_by_side.ts";

/** Rows of a workgroup; two quads of x for each column. */
const tile = 8;
/** Threads that share the sums of an output, and outputs of a workgroup. */
const lanes = 8;
const outputs = 32;
/** Inputs of a workgroup that turns x. */
const turned = 32;

type Uniforms = Readonly<Record<string, UniformType>>;

/** columns (tiles, in, 8) of x (rows, in). */
const turnWgsl = (uniforms: Uniforms): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> columns: array<f32>;

@compute @workgroup_size(${turned * tile})
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let pieces = (uniforms.in + ${turned - 1}) / ${turned};
  let input = id % pieces * ${turned} + local % ${turned};
  let tile = id / pieces;
  let row = tile * ${tile} + local / ${turned};
  if (input >= uniforms.in || row >= uniforms.rows) { return; }
  columns[(tile * uniforms.in + input) * ${tile} + local / ${turned}] = x[row * uniforms.in + input];
}
`;

/** Numbers of an output that a thread reads at a time: it would wait for each. */
const atOnce = Array.from({ length: 4 }, (_, i) => i);

const addWgsl = (uniforms: Uniforms): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> columns: array<vec4f>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> tables: array<u32>;
@group(0) @binding(5) var<storage, read> values: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
${placeOf}
// Of each thread a line of sums, padded to avoid bank conflicts.
var<workgroup> sums: array<f32, ${lanes * outputs * (tile + 1)}>;

@compute @workgroup_size(${lanes * outputs})
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let width = uniforms.out0 + uniforms.out1 + uniforms.out2;
  let pieces = (width + ${outputs - 1}) / ${outputs};
  let tile = id / pieces;
  let column = id % pieces * ${outputs} + local / ${lanes};
  let place = place_of(min(column, width - 1));
  let first = tile * ${tile};
  let end = min(first + ${tile}, uniforms.rows);
  var next = first;
  while (next < end) {
    let row = next;
    let slot = slots[row];
    next++;
    while (next < end && slots[next] == slot) { next++; }
    if (slot >= uniforms.capacity) { continue; }
    let record = records[place.linear * uniforms.capacity + slot];
    var low = vec4f();
    var high = vec4f();
    if (column < width && record.z > 0) {
      let listed = record.x + place.out + 1;
      let last = tables[record.x + place.output + 1];
      var e = tables[record.x + place.output] + local % ${lanes};
      for (; e + ${(atOnce.length - 1) * lanes} < last; e += ${atOnce.length * lanes}) {
        ${
  atOnce.map((i) =>
    `let at${i} = 2 * (tile * uniforms.in + tables[listed + e + ${
      i * lanes
    }]); let value${i} = values[record.y + e + ${i * lanes}];`
  ).join("\n        ")
}
        ${
  atOnce.map((i) => `let low${i} = columns[at${i}]; let high${i} = columns[at${i} + 1];`).join("\n        ")
}
        ${atOnce.map((i) => `low += value${i} * low${i}; high += value${i} * high${i};`).join("\n        ")}
      }
      for (; e < last; e += ${lanes}) {
        let at = 2 * (tile * uniforms.in + tables[listed + e]);
        low += values[record.y + e] * columns[at];
        high += values[record.y + e] * columns[at + 1];
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < 4; k++) {
      sums[local * ${tile + 1} + k] = low[k];
      sums[local * ${tile + 1} + 4 + k] = high[k];
    }
    workgroupBarrier();
    // A thread of an output adds up one row.
    let own = first + local % ${lanes};
    if (column < width && record.z > 0 && own >= row && own < next) {
      var total = 0.0;
      for (var lane = 0u; lane < ${lanes}; lane++) {
        total += sums[(local / ${lanes} * ${lanes} + lane) * ${tile + 1} + local % ${lanes}];
      }
      y[own * width + column] += bitcast<f32>(record.w) * total;
    }
  }
}
`;

const read = (name: string): Binding => ({ name, access: "read" });

/** See the module's documentation. */
export function rowsLaunch(
  uniforms: Uniforms,
  { rows, in: inSize, out0, out1, out2 }: BankWords,
  limits: Limits,
): Launch {
  const tiles = Math.ceil(rows / tile), pieces = Math.ceil((out0 + out1 + out2) / outputs);
  return {
    scratch: { columns: 4 * tiles * inSize * tile },
    dispatches: [{
      wgsl: turnWgsl(uniforms),
      bindings: [read("x"), { name: "columns", access: "read_write" }],
      grid: grid(tiles * Math.ceil(inSize / turned), limits),
    }, {
      wgsl: addWgsl(uniforms),
      bindings: [
        ...["columns", "slots", "records", "tables", "values"].map(read),
        { name: "y", access: "read_write" },
      ],
      grid: grid(tiles * pieces, limits),
    }],
  };
}
