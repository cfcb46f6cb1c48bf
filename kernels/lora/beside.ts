/**
 * A dense product of one row, and B A x of the row's low-rank adapter, side by side in one dispatch. The dispatch that reads the
 * result adds the two.
 *
 * Alone, the few workgroups of an adapter would wait for memory most of their time, while nothing else runs.
 *
 * @module
 */
import type { Binding, Dispatch, Limits } from "../kernel.ts";
import { Kept } from "../kept.ts";
import { type Beside, besideDispatch, besideThreads as threads, type Dense } from "../linear/beside.ts";
import type { Parts, PartsBank, ReadSource } from "../parts.ts";
import { outsOf, type UnitPlace, unitText } from "../side_by_side.ts";
import { uniforms, type Words } from "./launch.ts";

/**
 * Workgroups that share a linear's ranks. Each adds up its own ranks' part of B times A x in a plane: all of B is read beside the
 * product, and the reader has few planes to add, however many ranks there are.
 */
const blocks = 16;
/** Ranks that a workgroup takes at a time, and outputs that a thread makes of them: it would wait for each load. */
const ranks = [0, 1, 2, 3] as const;
const outputs = [0, 1, 2, 3] as const;

/**
 * What a linear has in `planes`, words of 32 bits: a head of where its B begins and of its rank, 0 without an adapter; then,
 * after the heads of three linears, planes as wide as y.
 */
const headWords = 2;
const headsWords = 3 * headWords;

interface Options {
  readonly accumulate: boolean;
  readonly limits: Limits;
}

/** The sum of every thread's four numbers, scaled, in the variable `made`: two steps, each of sixteen threads' numbers. */
const sumText = /* wgsl */ `
      workgroupBarrier();
      sums[local] = part;
      workgroupBarrier();
      if (local < 16) {
        var some = vec4f();
        for (var i = local; i < ${threads}; i += 16) { some += sums[i]; }
        few[local] = some;
      }
      workgroupBarrier();
      var made = vec4f();
      for (var i = 0u; i < 16; i++) { made += few[i]; }
      made *= bitcast<f32>(record.w);`;

const declarations = /* wgsl */ `
var<workgroup> sums: array<vec4f, ${threads}>;
var<workgroup> few: array<vec4f, 16>;
fn add_to(at: u32, value: f32, first: bool) {
  var sum = value;
  if (!first) { sum += bitcast<f32>(planes[at]); }
  planes[at] = bitcast<u32>(sum);
}`;

/** The body of a workgroup of an adapter: A x of its ranks, then B times it for all outputs. */
function adapterText(outs: readonly number[]): string {
  const columns = outs.reduce((sum, out) => sum + out, 0);
  const begin = (i: number): number => outs.slice(0, i).reduce((sum, out) => sum + out, 0);
  const pick = (values: readonly number[]): string =>
    `array(${values.map((value) => `${value}u`).join(", ")})[number]`;
  // Past the last rank the first is read again, and counts nothing.
  const rank = (k: number): string => `select(first, first + ${k * blocks}, first + ${k * blocks} < rank)`;
  const quad = (from: string): string => `vec4f(${ranks.map((i) => `values[${from} + ${i}]`).join(", ")})`;
  const lines = (items: readonly number[], text: (i: number) => string): string =>
    items.map(text).join("\n        ");
  return /* wgsl */ `
    let slot = slots[0];
    let number = index / ${blocks};
    let block = index % ${blocks};
    let out = ${pick(outs)};
    var record = vec4u();
    if (slot < uniforms.capacity) { record = records[(uniforms.linear + number) * uniforms.capacity + slot]; }
    let rank = record.z;
    let b = record.y + rank * uniforms.in;
    if (block == 0 && local == 0) {
      planes[${headWords} * number] = b;
      planes[${headWords} * number + 1] = rank;
    }
    let plane = ${headsWords} + block * ${columns} + ${pick(outs.map((_, i) => begin(i)))};
    let last_quad = uniforms.in / 4 - 1;
    for (var first = block; first < rank; first += ${ranks.length * blocks}) {
      ${ranks.map((k) => `let rank${k} = ${rank(k)};`).join(" ")}
      ${ranks.map((k) => `let a${k} = record.y + rank${k} * uniforms.in;`).join(" ")}
      var part = vec4f();
      for (var quad = local; quad <= last_quad; quad += ${2 * threads}) {
        let other = min(quad + ${threads}, last_quad);
        ${lines(ranks, (k) => `let row${k} = ${quad(`a${k} + 4 * quad`)};`)}
        ${lines(ranks, (k) => `let next${k} = ${quad(`a${k} + 4 * other`)};`)}
        let own_x = x[quad];
        let next_x = select(vec4f(), x[other], quad + ${threads} <= last_quad);
        ${lines(ranks, (k) => `part[${k}] += dot(own_x, row${k}) + dot(next_x, next${k});`)}
      }
${sumText}
      ${ranks.slice(1).map((k) => `if (first + ${k * blocks} >= rank) { made[${k}] = 0; }`).join("\n      ")}
      ${ranks.map((k) => `let b${k} = b + rank${k} * out;`).join(" ")}
      for (var o = local; o < out; o += ${outputs.length * threads}) {
        ${lines(outputs, (i) => `let o${i} = min(o + ${i * threads}, out - 1);`)}
        ${
    lines(outputs, (i) => `let weights${i} = vec4f(${ranks.map((k) => `values[b${k} + o${i}]`).join(", ")});`)
  }
        ${
    lines(outputs, (i) =>
      `if (o + ${i * threads} < out) { add_to(plane + o${i}, dot(made, weights${i}), first == block); }`)
  }
      }
    }`;
}

/** The product into y, and B times A x into planes. */
function bothDispatch(words: Words, dense: Dense, { accumulate, limits }: Options): Dispatch {
  const outs = outsOf(words), columns = outs.reduce((sum, out) => sum + out, 0);
  const beside: Beside = {
    groups: outs.length * blocks,
    bindings: [
      ...["slots", "records", "values"].map((name): Binding => ({ name, access: "read" })),
      { name: "planes", access: "read_write" },
      { name: "y", access: "read_write" },
    ],
    types: { slots: "u32", records: "vec4u", values: "f32", planes: "u32", y: "f32" },
    declarations,
    text: adapterText(outs),
  };
  const put = `y[column] ${accumulate ? "+=" : "="} value;`;
  return besideDispatch(uniforms, beside, { columns, dense, put, limits });
}

/** Planes that a thread loads at a time: it would wait for each. */
const loaded = 8;

/** Statements that add an output's planes, of which there are as many as ranks, up to one a workgroup. */
function addText({ target, number }: UnitPlace, i: string, columns: number): string {
  const each = (text: (plane: number) => string): string =>
    Array.from({ length: loaded }, (_, plane) => text(plane)).join("\n      ");
  return `
    let lora_planes = min(${blocks}u, planes[${headWords} * ${number} + 1]);
    for (var lora_plane = 0u; lora_plane < lora_planes; lora_plane += ${loaded}) {
      ${
    each((k) =>
      `let lora_${k} = planes[${headsWords} + min(lora_plane + ${k}, ${blocks - 1}u) * ${columns} + ${i}];`
    )
  }
      ${each((k) => `${target} += select(0.0, bitcast<f32>(lora_${k}), lora_plane + ${k} < lora_planes);`)}
    }`;
}

/** The adapter's numbers after its factors. */
const bank: PartsBank = {
  values: "factors",
  after: ({ number, out }) =>
    `planes[${headWords} * ${number}] + planes[${headWords} * ${number} + 1] * ${out}`,
  count: ({ number }) => `planes[${headWords} * ${number} + 1]`,
};

/** Text that reads y: what the dispatch stored, plus B times A x. */
function sumOf(outs: readonly number[], result: string): ReadSource {
  const columns = outs.reduce((sum, out) => sum + out, 0);
  return {
    slow: true,
    bindings: [
      { name: "planes", access: "read" },
      { name: "factors", access: "read" },
      { name: result, access: "read_write" },
    ],
    types: (unit) => ({ planes: "u32", factors: "f32", [result]: unit }),
    read: (name, i, unit) => `
  var ${name} = ${result}[${i}];
  ${unitText(outs, { name, i, unit }, (place) => addText(place, `(${i})`, columns))}
  ${result}[${i}] = ${name};`,
  };
}

const dispatches = new Kept<readonly Dispatch[]>();

/** y = x W^T + scale B (A x), or y += it; undefined for what does not run side by side. */
export function besideProductParts(words: Words, dense: Dense, options: Options): Parts | undefined {
  const { rows, in: inSize, out0, out1, out2 } = words, outs = outsOf(words);
  const columns = out0 + out1 + out2;
  if (rows !== 1 || inSize % 4 !== 0) return undefined;
  const key = `${inSize}:${out0}:${out1}:${out2}:${dense.dtype}:${options.accumulate}`;
  return {
    count: columns,
    launch: {
      dispatches: dispatches.get(options.limits, key, () => [bothDispatch(words, dense, options)]),
      scratch: { planes: 4 * (headsWords + blocks * columns) },
    },
    reads: { factors: "values" },
    bank,
    source: (result) => sumOf(outs, result),
  };
}
