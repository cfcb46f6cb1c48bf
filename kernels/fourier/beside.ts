/**
 * A dense product of one row and what the row's adapter adds to it, side by side in one dispatch.
 *
 * One after the other, the adapters' few workgroups have the GPU to themselves and wait for memory most of their time. In a
 * step of Llama-3.2-1B on an H100 that is 12 us each, a third of the whole step. Both need x, and neither the other's
 * result, so here they run at once. Each puts its part into a plane of `sums`, which the dispatch that reads the result adds up.
 *
 * @module
 */
import { index } from "../fft/layout.ts";
import type { TransformPlan } from "../fft/plan.ts";
import { elementType } from "../fft/real.ts";
import { workMemory } from "../fft/wgsl.ts";
import {
  type Binding,
  declareBindings,
  type Dispatch,
  grid,
  type Launch,
  type Limits,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import { Kept } from "../kept.ts";
import { besideProduct, type Dense, productPairs } from "../linear/beside.ts";
import type { Parts, ReadSource } from "../parts.ts";
import { type FusedText, fusedText, type Target } from "./fused.ts";
import { binding, type Shape, types } from "./shape.ts";

/**
 * Whether it pays to run the two side by side: one row, whole quads of inputs, and transforms that fit one workgroup's
 * memory. With more rows the product asks more of its few threads. On an H100 four rows by (2048, 2048) still gain a
 * fourth; by (16384, 2048) they lose two fifths. Each number of rows would be a text of its own to compile, too.
 */
function runsBeside({ rows, input, segments }: Shape): boolean {
  const plans = [input, ...segments.map(({ plan }) => plan)];
  return rows === 1 && input.length % 4 === 0 && input.mode === "half" &&
    plans.every(({ residues, parts }) => residues === 1 && !parts);
}

/** What a row's adapter gives, in the second plane; zeros where it has none. */
function planeTarget({ rows, columns }: Shape, threads: number): Target {
  const at = (i: string): string => `sums[${rows * columns}u + y_at + ${i}]`;
  return {
    type: "f32",
    put: (plan: TransformPlan) => (place, value) =>
      elementType(plan) === "f32"
        ? `${at(index(place))} = scale * ${value};\n`
        : `{ let to = 2 * (${index(place)}); let pair = scale * ${value}; ${at("to")} = pair.x; ${
          at("to + 1")
        } = pair.y; }\n`,
    none: (elements) => `for (var i = local; i < ${elements}; i += ${threads}) { ${at("i")} = 0; }`,
  };
}

/** `work` holds a transform, or a line of every pair of columns. */
function memory({ plans, products, threads }: FusedText): string {
  return workMemory(plans, Math.max(products, productPairs(threads)));
}

function bothPlanes(shape: Shape, dense: Dense, limits: Limits): Dispatch {
  const { columns, uniforms } = shape;
  const threads = Math.max(shape.input.threads, ...shape.segments.map(({ plan }) => plan.threads));
  const signal = (i: string): string => `x_pair(${i})`;
  const text = fusedText(shape, limits, { signal, target: planeTarget(shape, threads) });
  const bindings: Binding[] = [
    ...["x", "weight", "slots", "records", "tables", "values", "twiddles"].map(binding),
    { name: "sums", access: "read_write" },
  ];
  const product = besideProduct({ columns, dense, threads, put: "sums[column] = value;" });
  const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindings, { ...types, x: "vec4f", weight: product.type, sums: "f32" })}
${memory(text)}
fn x_pair(i: u32) -> vec2f {
  let quad = x[i / 2];
  return select(quad.xy, quad.zw, i % 2 == 1);
}
${product.functions}
${text.functions}
@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  // The adapters' workgroups begin first: they take longest.
  if (index < ${text.groups}) {
    ${text.body}
    return;
  }
  let id = index - ${text.groups};
${product.text}
}
`;
  return { wgsl, bindings, grid: grid(text.groups + product.groups, limits) };
}

/** Text that reads `result`: the sum of both planes, plus the old value where the product accumulates. */
function planes({ rows, columns }: Shape, accumulate: boolean, result: string): ReadSource {
  return {
    bindings: [{ name: "sums", access: "read" }, { name: result, access: "read_write" }],
    types: (unit) => ({ sums: unit, [result]: unit }),
    read(name, i, unit) {
      const plane = rows * columns / (unit === "f32" ? 1 : 4);
      const all = `sums[${i}] + sums[${plane} + ${i}]${accumulate ? ` + ${result}[${i}]` : ""}`;
      return `let ${name} = ${all};\n  ${result}[${i}] = ${name};`;
    },
  };
}

const launches = new Kept<Launch>();

/**
 * y = x W^T + x dW^T, or y += it, as two planes; undefined for what does not run side by side.
 *
 * @param shape Its uniforms are those of `fourier_linears`.
 */
export function besideParts(
  shape: Shape,
  dense: Dense,
  { accumulate, limits }: { readonly accumulate: boolean; readonly limits: Limits },
): Parts | undefined {
  if (!runsBeside(shape)) return undefined;
  const { rows, segments, columns } = shape;
  const key = `${rows}:${dense.in}:${segments.map(({ plan }) => plan.length)}:${dense.dtype}`;
  const launch = launches.get(limits, key, () => ({
    dispatches: [bothPlanes(shape, dense, limits)],
    tables: { twiddles: shape.tables.table },
    scratch: { sums: 8 * rows * columns },
  }));
  return { count: rows * columns, launch, source: (result) => planes(shape, accumulate, result) };
}
