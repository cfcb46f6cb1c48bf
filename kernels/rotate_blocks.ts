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

type Buffers = "slots" | "records" | "values" | "x";
type Uniforms = keyof typeof uniforms;
type Words = Readonly<Record<Uniforms, number>>;

const uniforms = {
  rows: "u32",
  in: "u32",
  linear: "u32",
  capacity: "u32",
  /** Numbers of a module that stand before its matrices. */
  skipped: "u32",
} as const;

/** A block is of any size, and its products need all of it as it was. */
const keep = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> slots: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> kept: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.in) { return; }
  if (slots[i / uniforms.in] >= uniforms.capacity) { return; }
  kept[i] = x[i];
}
`;

const multiply = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> slots: array<u32>;
@group(0) @binding(2) var<storage, read> records: array<vec4u>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read> kept: array<f32>;
@group(0) @binding(5) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.in) { return; }
  let slot = slots[i / uniforms.in];
  if (slot >= uniforms.capacity) { return; }
  let record = records[uniforms.linear * uniforms.capacity + slot];
  let size = record.z;
  if (size == 0) { return; }
  let block = (i % uniforms.in) / size;
  let column = (i % uniforms.in) % size;
  let matrix = record.y + uniforms.skipped + (block % u32(bitcast<f32>(record.w))) * size * size;
  let begin = i - column;
  var sum = 0.0;
  for (var j = 0u; j < size; j++) { sum += kept[begin + j] * values[matrix + j * size + column]; }
  x[i] = sum;
}
`;

function rotated({ slots, records, values, x }: Arrays<Buffers>, words: Words): void {
  const { rows, in: inSize, linear, capacity, skipped } = words;
  for (let row = 0; row < rows; row++) {
    if (slots[row] >= capacity) continue;
    const record = recordWords * (linear * capacity + slots[row]);
    const first = records[record + 1] + skipped, size = records[record + 2];
    const matrices = floatOf(records[record + 3]);
    for (let block = 0; block * size < inSize && size > 0; block++) {
      const begin = row * inSize + block * size, matrix = first + (block % matrices) * size * size;
      const sums = new Float64Array(size);
      for (let j = 0; j < size; j++) {
        const factor = x[begin + j];
        for (let column = 0; column < size; column++) {
          sums[column] += factor * values[matrix + j * size + column];
        }
      }
      x.set(sums, begin);
    }
  }
}

/** A matrix for each block of x, of each row's own adapter: what OFT and BOFT do before the product. */
export const rotateBlocks: Kernel<Buffers, Uniforms> = defineKernel({
  name: "rotate_blocks",
  doc:
    "each block of x[r] = itself times its matrix of adapter slots[r]; block b has matrix b mod the number of them; rows " +
    "without an adapter, and those whose record's count is 0, stay as they are",
  buffers: {
    slots: { access: "read", dtypes: ["uint32"], doc: "(rows); capacity or more: no adapter" },
    records: {
      access: "read",
      dtypes: ["uint32"],
      doc:
        "(linears, capacity, 4): see record.ts; the count is that of a block's columns, which divides `in`, and the factor " +
        "the number of matrices",
    },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "at a record's offset: `skipped` numbers, then (matrices, count, count), row-major",
    },
    x: { access: "read_write", dtypes: ["float32"], doc: "(rows, in), row-major, in place" },
  },
  uniforms,
  launch: ({ uniforms: { rows, in: inSize } }, limits) => {
    const threads = grid(Math.ceil(rows * inSize / 256), limits);
    return {
      scratch: { kept: 4 * rows * inSize },
      dispatches: [
        {
          wgsl: keep,
          bindings: [
            { name: "slots", access: "read" },
            { name: "x", access: "read" },
            { name: "kept", access: "read_write" },
          ],
          grid: threads,
        },
        {
          wgsl: multiply,
          bindings: [
            { name: "slots", access: "read" },
            { name: "records", access: "read" },
            { name: "values", access: "read" },
            { name: "kept", access: "read" },
            { name: "x", access: "read_write" },
          ],
          grid: threads,
        },
      ],
    };
  },
  reference: rotated,
  tolerance: 1e-6,
});
