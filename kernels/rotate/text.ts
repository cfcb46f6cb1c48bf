/**
 * The WGSL of rotations of blocks of x, in place or beside x, and the same on a host.
 *
 * @module
 */
import {
  type Binding,
  declareBindings,
  grid,
  type Launch,
  type Limits,
  type TypedArray,
  uniformStruct,
  type UniformType,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import { type ReadSource, uniformsWith } from "../parts.ts";
import { floatOf, recordWords } from "../record.ts";

/** Where a linear's matrices are. */
export const sizes = {
  rows: "u32",
  in: "u32",
  linear: "u32",
  capacity: "u32",
  /** Numbers of the linear's module that stand before its matrices. */
  skipped: "u32",
} as const satisfies Readonly<Record<string, UniformType>>;

/** Values of {@linkcode sizes}. */
export type Sizes = Readonly<Record<keyof typeof sizes, number>>;

/** Numbers of a block at most: a workgroup holds it. */
const mostHeld = 4096;
const threads = 256;
/** Numbers of x that many workgroups have, which fill a GPU; of fewer numbers a workgroup takes less. */
const manyNumbers = 2 ** 17;

/** What a text is made of. */
interface Rotation {
  readonly uniforms: Readonly<Record<string, UniformType>>;
  readonly source: ReadSource;
  readonly bindings: readonly Binding[];
  /** The buffer that gets the result, and whether it is x. */
  readonly target: string;
  readonly inPlace: boolean;
  /** Numbers that a workgroup has, about: whole blocks, one at least. */
  readonly share: number;
}

/** Loads of a thread that are under way at once: it would wait for each. */
const [many, few] = [16, 4];

/** Adds products of rows of a matrix and numbers of x, so many at a time. */
function sumText(count: number): string {
  const quads = Array.from({ length: count / 4 }, (_, i) => 4 * i);
  const four = (text: (i: number) => string, i: number): string =>
    `vec4f(${[0, 1, 2, 3].map((j) => text(i + j)).join(", ")})`;
  return `for (; j + ${count - 1} < j_end; j += ${count}) {
        ${
    quads.map((i) => `let w${i} = ${four((k) => `values[from_matrix + ${k} * size]`, i)};`).join("\n        ")
  }
        ${quads.map((i) => `sum += dot(${four((k) => `kept[from_x + ${k}]`, i)}, w${i});`).join("\n        ")}
        from_x += ${count};
        from_matrix += ${count} * size;
      }`;
}

/** A workgroup has whole blocks of a row: their products need all numbers as they were. */
function wgslOf({ uniforms, source, bindings, target, inPlace, share }: Rotation): string {
  const types = { ...source.types("f32"), slots: "u32", records: "vec4u", values: "f32", [target]: "f32" };
  return /* wgsl */ `
${uniformStruct(uniformsWith(uniforms, source))}
${declareBindings(bindings, types)}

var<workgroup> kept: array<f32, ${mostHeld}>;
var<workgroup> sums: array<f32, ${threads}>;

@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  // A block may be larger than a share, and then has workgroups to spare.
  let shares = (uniforms.in + ${share / 2 - 1}) / ${share / 2};
  let row = id / shares % uniforms.rows;
  let number = id / shares / uniforms.rows;
  if (number >= ${inPlace ? "1u" : "min(uniforms.linears, 3u)"}) { return; }
  let slot = slots[row];
  var record = vec4u();
  if (slot < uniforms.capacity) { record = records[(uniforms.linear + number) * uniforms.capacity + slot]; }
  let size = record.z;
  let skipped = ${
    inPlace ? "uniforms.skipped" : "array(uniforms.skipped, uniforms.skipped1, uniforms.skipped2)[number]"
  };
  // Rows without an adapter are read all the same: so they are stored.
  let width = select(max(1u, ${share} / max(size, 1)) * size, ${share / 2}u, size == 0);
  let first = id % shares * width;
  if (first >= uniforms.in) { return; }
  let end = min(first + width, uniforms.in);
  let begin = ${inPlace ? "row" : "(number * uniforms.rows + row)"} * uniforms.in;
  for (var i = first + local; i < end; i += ${threads}) {
    ${source.read("value", `(row * uniforms.in + i)`, "f32")}
    kept[i - first] = value;
    ${inPlace ? "" : `if (size == 0) { ${target}[begin + i] = value; }`}
  }
  if (size == 0) { return; }
  workgroupBarrier();
  // Threads that share the sum of a number.
  let lanes = max(1u, ${threads} / width);
  let lane = select(0, local / width, lanes > 1);
  var sum = 0.0;
  for (var i = first + local - lane * width; i < end && lane < lanes; i += ${threads}) {
    let column = i % size;
    let part = (size + lanes - 1) / lanes;
    var j = min(lane * part, size);
    let j_end = min(j + part, size);
    var from_x = i - first - column + j;
    var from_matrix = record.y + skipped + (i / size % u32(bitcast<f32>(record.w))) * size * size + j * size + column;
    sum = 0;
    ${sumText(many)}
    ${sumText(few)}
    for (; j < j_end; j++) {
      sum += kept[from_x] * values[from_matrix];
      from_x++;
      from_matrix += size;
    }
    if (lanes == 1) { ${target}[begin + i] = sum; }
  }
  if (lanes == 1) { return; }
  sums[local] = sum;
  workgroupBarrier();
  if (first + local >= end) { return; }
  var total = 0.0;
  for (var l = 0u; l < lanes; l++) { total += sums[l * width + local]; }
  ${target}[begin + first + local] = total;
}
`;
}

/** The launch of x's rotations: in place, or of each of several linears into y. */
export function rotationLaunch(
  { uniforms, source, target, linears }: {
    readonly uniforms: Rotation["uniforms"];
    /** Where x comes from. */
    readonly source: ReadSource;
    /** The buffer beside x that gets the results; left out where x is changed in place. */
    readonly target?: string;
    readonly linears: number;
  },
  { rows, in: inSize }: Sizes,
  limits: Limits,
): Launch {
  const bindings: Binding[] = [
    ...source.bindings,
    { name: "slots", access: "read" },
    { name: "records", access: "read" },
    { name: "values", access: "read" },
    ...(target ? [{ name: target, access: "read_write" as const }] : []),
  ];
  const share = linears * rows * inSize < manyNumbers ? 64 : threads;
  const text = { uniforms, source, bindings, target: target ?? "x", inPlace: target === undefined, share };
  const groups = linears * rows * Math.ceil(inSize / (share / 2));
  return { dispatches: [{ wgsl: wgslOf(text), bindings, grid: grid(groups, limits) }] };
}

/** Rotates row `row` of x by the matrices of linear `linear` into `to`, from `begin` on; `to` may be x. */
export function rotateRow(
  { slots, records, values, x, to }: Readonly<
    Record<"slots" | "records" | "values" | "x" | "to", TypedArray>
  >,
  { row, linear, begin }: Readonly<Record<"row" | "linear" | "begin", number>>,
  { in: inSize, capacity, skipped }: Sizes,
): void {
  const slot = slots[row], record = recordWords * (linear * capacity + slot);
  const size = slot < capacity ? records[record + 2] : 0;
  if (size === 0) {
    if (to !== x) to.set(x.subarray(row * inSize, (row + 1) * inSize), begin);
    return;
  }
  const first = records[record + 1] + skipped, matrices = floatOf(records[record + 3]);
  const sums = new Float64Array(size);
  for (let block = 0; block * size < inSize; block++) {
    const from = row * inSize + block * size, matrix = first + (block % matrices) * size * size;
    for (let column = 0; column < size; column++) sums[column] = 0;
    for (let j = 0, at = matrix; j < size; j++) {
      const factor = x[from + j];
      for (let column = 0; column < size; column++, at++) sums[column] += factor * values[at];
    }
    const at = begin + block * size;
    for (let column = 0; column < size; column++) to[at + column] = sums[column];
  }
}
