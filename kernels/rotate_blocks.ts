import {
  type Arrays,
  type Binding,
  declareBindings,
  defineKernel,
  grid,
  type Kernel,
  type Launch,
  type Limits,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { held, type ReadSource, uniformsWith } from "./parts.ts";
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

/** Numbers of a block at most: a workgroup holds it. */
const mostHeld = 4096;
const threads = 256;
/** A workgroup has blocks of so many numbers together at least: as many whole blocks as it has threads for. */
const leastNumbers = threads / 2;

/** One workgroup for whole blocks of a row: their products need all of them as they were. */
function wgslOf(source: ReadSource, bindings: readonly Binding[]): string {
  const types = { ...source.types("f32"), slots: "u32", records: "vec4u", values: "f32" };
  return /* wgsl */ `
${uniformStruct(uniformsWith(uniforms, source))}
${declareBindings(bindings, types)}

var<workgroup> kept: array<f32, ${mostHeld}>;

@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let parts = (uniforms.in + ${leastNumbers - 1}) / ${leastNumbers};
  let row = id / parts;
  if (row >= uniforms.rows) { return; }
  let slot = slots[row];
  var record = vec4u();
  if (slot < uniforms.capacity) { record = records[uniforms.linear * uniforms.capacity + slot]; }
  let size = record.z;
  // Rows without an adapter are read all the same: so they are stored.
  let width = select(max(1u, ${threads} / max(size, 1)) * size, ${leastNumbers}u, size == 0);
  let first = id % parts * width;
  let end = min(first + width, uniforms.in);
  for (var i = first + local; i < end; i += ${threads}) {
    ${source.read("value", `(row * uniforms.in + i)`, "f32")}
    kept[i - first] = value;
  }
  if (size == 0) { return; }
  workgroupBarrier();
  for (var i = first + local; i < end; i += ${threads}) {
    let column = i % size;
    var from_x = i - first - column;
    var from_matrix = record.y + uniforms.skipped + (i / size % u32(bitcast<f32>(record.w))) * size * size + column;
    var sum = 0.0;
    var j = 0u;
    // Four loads at a time: a thread alone would wait for each.
    for (; j + 3 < size; j += 4) {
      let weights = vec4f(
        values[from_matrix],
        values[from_matrix + size],
        values[from_matrix + 2 * size],
        values[from_matrix + 3 * size],
      );
      sum += dot(vec4f(kept[from_x], kept[from_x + 1], kept[from_x + 2], kept[from_x + 3]), weights);
      from_x += 4;
      from_matrix += 4 * size;
    }
    for (; j < size; j++) {
      sum += kept[from_x] * values[from_matrix];
      from_x++;
      from_matrix += size;
    }
    x[row * uniforms.in + i] = sum;
  }
}
`;
}

function launchFrom(source: ReadSource, { rows, in: inSize }: Words, limits: Limits): Launch {
  const bindings: Binding[] = [
    ...source.bindings,
    { name: "slots", access: "read" },
    { name: "records", access: "read" },
    { name: "values", access: "read" },
  ];
  const groups = rows * Math.ceil(inSize / leastNumbers);
  return { dispatches: [{ wgsl: wgslOf(source, bindings), bindings, grid: grid(groups, limits) }] };
}

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
        "(linears, capacity, 4): see record.ts; the count is that of a block's columns, up to 4096, which divides `in`, and " +
        "the factor the number of matrices",
    },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "at a record's offset: `skipped` numbers, then (matrices, count, count), row-major",
    },
    x: { access: "read_write", dtypes: ["float32"], doc: "(rows, in), row-major, in place" },
  },
  uniforms,
  launch: ({ uniforms }, limits) => launchFrom(held("x", "read_write"), uniforms, limits),
  consume: {
    buffer: "x",
    launch: ({ uniforms }, limits, parts) =>
      parts.count === uniforms.rows * uniforms.in
        ? launchFrom(parts.source("x"), uniforms, limits)
        : undefined,
  },
  reference: rotated,
  tolerance: 1e-6,
});
