/**
 * A dense product of one row, and A x of the row's low-rank adapter, side by side in one dispatch. B times A x comes after.
 *
 * Alone, the few workgroups of A x would wait for memory most of their time, while nothing else runs.
 *
 * @module
 */
import {
  type Binding,
  declareBindings,
  type Dispatch,
  grid,
  type Limits,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import { Kept } from "../kept.ts";
import { besideProduct, type Dense, productPairs } from "../linear/beside.ts";
import { held, type Parts } from "../parts.ts";
import { hiddenBytes, listed, outputsDispatch, outsOf, uniforms, type Words } from "./launch.ts";

const threads = 256;
/** Workgroups for each linear's ranks; each makes every sixteenth. */
const blocks = 16;

interface Options {
  readonly accumulate: boolean;
  readonly limits: Limits;
}

/** The product into y, and A x into hidden. */
function bothDispatch(words: Words, dense: Dense, { accumulate, limits }: Options): Dispatch {
  const columns = words.out0 + words.out1 + words.out2, groups = outsOf(words).length * blocks;
  const product = besideProduct({
    columns,
    dense,
    threads,
    put: `y[column] ${accumulate ? "+=" : "="} value;`,
  });
  const bindings: Binding[] = [
    ...["x", "weight", "slots", "records", "values"].map((name): Binding => ({ name, access: "read" })),
    { name: "hidden", access: "read_write" },
    { name: "y", access: "read_write" },
  ];
  const types = {
    x: "vec4f",
    weight: product.type,
    slots: "u32",
    records: "vec4u",
    values: "f32",
    hidden: "f32",
    y: "f32",
  };
  const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindings, types)}
var<workgroup> work: array<vec2f, ${Math.max(threads, productPairs(threads))}>;
${product.functions}
@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  // The adapter's workgroups begin first: they take longest.
  if (index < ${groups}) {
    let slot = slots[0];
    if (slot >= uniforms.capacity) { return; }
    let number = index / ${blocks};
    let record = records[(uniforms.linear + number) * uniforms.capacity + slot];
    let rank = min(record.z, ${listed});
    for (var r = index % ${blocks}; r < rank; r += ${blocks}) {
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
      if (local == 0) { hidden[number * ${listed} + r] = work[0].x; }
    }
    return;
  }
  let id = index - ${groups};
${product.text}
}
`;
  return { wgsl, bindings, grid: grid(groups + product.groups, limits) };
}

const dispatches = new Kept<readonly Dispatch[]>();

/** y = x W^T + scale B (A x), or y += it; undefined for what does not run side by side. */
export function besideProductParts(words: Words, dense: Dense, options: Options): Parts | undefined {
  const { rows, in: inSize, out0, out1, out2 } = words, columns = out0 + out1 + out2;
  if (rows !== 1 || inSize % 4 !== 0) return undefined;
  const key = `${inSize}:${out0}:${out1}:${out2}:${dense.dtype}:${options.accumulate}`;
  return {
    count: columns,
    launch: {
      dispatches: dispatches.get(options.limits, key, () => [
        bothDispatch(words, dense, options),
        outputsDispatch(words, options.limits),
      ]),
      scratch: { hidden: hiddenBytes(words) },
    },
    source: held,
    stored: true,
  };
}
