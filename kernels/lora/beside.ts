/**
 * A dense product of one row, and A x of the row's low-rank adapter, side by side in one dispatch. The dispatch that reads the
 * result adds B times A x.
 *
 * Alone, the few workgroups of A x would wait for memory most of their time, while nothing else runs.
 *
 * @module
 */
import type { Binding, Dispatch, Limits } from "../kernel.ts";
import { Kept } from "../kept.ts";
import { type Beside, besideDispatch, besideThreads as threads, type Dense } from "../linear/beside.ts";
import type { Parts, PartsBank, ReadSource } from "../parts.ts";
import { outsOf, type UnitPlace, unitText } from "../side_by_side.ts";
import { mostRank, uniforms, type Words } from "./launch.ts";

/** Workgroups that share a linear's ranks. */
const blocks = 64;

/**
 * What a linear has in `hidden`, words of 32 bits: a head of where its B begins and of its rank, 0 without an adapter; then,
 * after the heads of three linears, scale A x.
 */
const headWords = 4;
const headsWords = 3 * headWords;

interface Options {
  readonly accumulate: boolean;
  readonly limits: Limits;
}

/** The product into y, and scale A x into hidden. */
function bothDispatch(words: Words, dense: Dense, { accumulate, limits }: Options): Dispatch {
  const groups = outsOf(words).length * blocks;
  const text = /* wgsl */ `
    let slot = slots[0];
    let number = index / ${blocks};
    let block = index % ${blocks};
    var record = vec4u();
    if (slot < uniforms.capacity) { record = records[(uniforms.linear + number) * uniforms.capacity + slot]; }
    let rank = record.z;
    if (block == 0 && local == 0) {
      hidden[${headWords} * number] = record.y + rank * uniforms.in;
      hidden[${headWords} * number + 1] = rank;
    }
    for (var r = block; r < rank; r += ${blocks}) {
      let a = record.y + r * uniforms.in;
      var part = 0.0;
      for (var quad = local; quad < uniforms.in / 4; quad += ${threads}) {
        let at = a + 4 * quad;
        part += dot(x[quad], vec4f(values[at], values[at + 1], values[at + 2], values[at + 3]));
      }
      workgroupBarrier();
      work[local].x = part;
      workgroupBarrier();
      for (var half = ${threads / 2}u; half > 0; half >>= 1) {
        if (local < half) { work[local].x += work[local + half].x; }
        workgroupBarrier();
      }
      if (local == 0) {
        hidden[${headsWords} + number * ${mostRank} + r] = bitcast<u32>(bitcast<f32>(record.w) * work[0].x);
      }
    }`;
  const beside: Beside = {
    groups,
    bindings: [
      ...["slots", "records", "values"].map((name): Binding => ({ name, access: "read" })),
      { name: "hidden", access: "read_write" },
      { name: "y", access: "read_write" },
    ],
    types: { slots: "u32", records: "vec4u", values: "f32", hidden: "u32", y: "f32" },
    text,
  };
  const columns = words.out0 + words.out1 + words.out2;
  const put = `y[column] ${accumulate ? "+=" : "="} value;`;
  return besideDispatch(uniforms, beside, { columns, dense, put, limits });
}

/** Ranks that a thread loads at a time, of many and of those that are left: it would wait for each. */
const [many, few] = [32, 8];

/** Statements that add B times A x to an output. */
function addText({ target, unit, number, out, output }: UnitPlace): string {
  if (unit !== "f32") throw new TypeError("Cannot read a low-rank update by fours: its source is slow");
  const each = (count: number, text: (r: number) => string): string =>
    Array.from({ length: count }, (_, r) => text(r)).join("\n      ");
  const last = (r: number): string => `min(${r}u, lora_left - 1)`;
  const load = (r: number, rank: string): string => `let lora_b${r} = factors[lora_at + ${rank} * ${out}];`;
  const hidden = (rank: string): string => `bitcast<f32>(hidden[lora_z + ${rank}])`;
  return `
    var lora_at = hidden[${headWords} * ${number}] + ${output};
    var lora_z = ${headsWords} + ${number} * ${mostRank};
    var lora_left = hidden[${headWords} * ${number} + 1];
    var lora_sum = 0.0;
    while (lora_left >= ${many}) {
      ${each(many, (r) => load(r, `${r}`))}
      ${each(many, (r) => `lora_sum += ${hidden(`${r}`)} * lora_b${r};`)}
      lora_at += ${many} * ${out};
      lora_z += ${many};
      lora_left -= ${many};
    }
    // Past the last rank is the last one again, which counts nothing.
    while (lora_left > 0) {
      ${each(few, (r) => load(r, last(r)))}
      ${each(few, (r) => `lora_sum += select(0.0, ${hidden(last(r))}, ${r} < lora_left) * lora_b${r};`)}
      lora_at += ${few} * ${out};
      lora_z += ${few};
      lora_left -= min(${few}, lora_left);
    }
    ${target} += lora_sum;`;
}

/** The adapter's numbers after its factors. */
const bank: PartsBank = {
  values: "factors",
  after: ({ number, out }) =>
    `hidden[${headWords} * ${number}] + hidden[${headWords} * ${number} + 1] * ${out}`,
  count: ({ number }) => `hidden[${headWords} * ${number} + 1]`,
};

/** Text that reads y: what the dispatch stored, plus B times A x. */
function sumOf(outs: readonly number[], result: string): ReadSource {
  return {
    slow: true,
    bindings: [
      { name: "hidden", access: "read" },
      { name: "factors", access: "read" },
      { name: result, access: "read_write" },
    ],
    types: (unit) => ({ hidden: "u32", factors: "f32", [result]: unit }),
    read: (name, i, unit) => `
  var ${name} = ${result}[${i}];
  ${unitText(outs, { name, i, unit }, addText)}
  ${result}[${i}] = ${name};`,
  };
}

const dispatches = new Kept<readonly Dispatch[]>();

/** y = x W^T + scale B (A x), or y += it; undefined for what does not run side by side. */
export function besideProductParts(words: Words, dense: Dense, options: Options): Parts | undefined {
  const { rows, in: inSize, out0, out1, out2 } = words, outs = outsOf(words);
  if (rows !== 1 || inSize % 4 !== 0) return undefined;
  const key = `${inSize}:${out0}:${out1}:${out2}:${dense.dtype}:${options.accumulate}`;
  return {
    count: out0 + out1 + out2,
    launch: {
      dispatches: dispatches.get(options.limits, key, () => [bothDispatch(words, dense, options)]),
      scratch: { hidden: 4 * (headsWords + outs.length * mostRank) },
    },
    reads: { factors: "values" },
    bank,
    source: (result) => sumOf(outs, result),
  };
}
