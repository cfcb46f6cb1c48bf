import { rmsNormBackward } from "./rms_norm_backward.ts";
import {
  anyKernel,
  type Binding,
  type Call,
  declareBindings,
  defineKernel,
  type DType,
  grid,
  type Kernel,
  type Launch,
  type Limits,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { loader, storageType } from "./half.ts";
import { held, type ReadSource, uniformsWith } from "./parts.ts";

type Buffers = "x" | "weight" | "y";
type Uniforms = "rows" | "dim" | "eps";

const uniforms = { rows: "u32", dim: "u32", eps: "f32" } as const;

/** What the text depends on. */
interface RmsNormText {
  readonly dim: number;
  /** Element type of the weight. */
  readonly dtype: DType;
  readonly limits: Limits;
  /** Where the text has rows from. */
  readonly source: ReadSource;
  readonly bindings: readonly Binding[];
}

/** Elements that a thread reads at once. */
const unitSize = (dim: number, { slow }: ReadSource): 1 | 4 => slow || dim % 4 !== 0 ? 1 : 4;

/** What a thread reads at once: four neighbours where every row starts at a multiple of four, else one element. */
interface Unit {
  readonly size: 1 | 4;
  readonly type: "f32" | "vec4f";
  /** Element type of the weight's binding, and an expression for the weights of unit `i`. */
  readonly stored: string;
  readonly weight: string;
  /** The sum of a value's squares. */
  readonly squares: string;
}

function unitOf({ dim, dtype, source }: RmsNormText): Unit {
  const stored = storageType(dtype);
  if (unitSize(dim, source) === 1) {
    return { size: 1, type: "f32", stored, weight: "weight_at(i)", squares: "value * value" };
  }
  const wide = { size: 4, type: "vec4f", squares: "dot(value, value)" } as const;
  if (dtype === "float32") return { ...wide, stored: "vec4f", weight: "weight[i]" };
  return { ...wide, stored, weight: "vec4f(weight_pair(2 * i), weight_pair(2 * i + 1))" };
}

/** Most units of a row that a thread holds between the two passes. */
const mostHeld = 8;

/** Threads of a workgroup: one for each unit of a row where limits have room for them, at least 64. */
function threadsFor(units: number, { invocations }: Limits): number {
  return [64, 128, 256, 512].find((threads) => threads >= units || 2 * threads > invocations) ?? 1024;
}

/** Reads a row and its weights once, all before the first is used, and holds them. */
function heldText(
  { type, weight, squares }: Unit,
  { read }: ReadSource,
  { held, threads }: { readonly held: number; readonly threads: number },
): Record<"sum" | "store", string> {
  const each = (text: (n: number) => string): string =>
    Array.from({ length: held }, (_, n) => text(n)).join("\n");
  return {
    sum: `${
      each((n) =>
        `  var value${n} = ${type}();
  var weight${n} = ${type}();
  if (local + ${n * threads} < units) {
    let i = local + ${n * threads};
    ${read("value", "(begin + i)", type)}
    value${n} = value;
    weight${n} = ${weight};
  }`
      )
    }
${each((n) => `  { let value = value${n}; sum += ${squares}; }`)}`,
    store: each((n) =>
      `  if (local + ${n * threads} < units) { y[begin + local + ${
        n * threads
      }] = value${n} * factor * weight${n}; }`
    ),
  };
}

/** Reads a row twice, however long it is. */
function twiceText(
  { type, weight, squares }: Unit,
  { read }: ReadSource,
  threads: number,
): Record<"sum" | "store", string> {
  const walk = (body: string): string => `  for (var i = local; i < units; i += ${threads}) { ${body} }`;
  return {
    sum: walk(`${read("value", "(begin + i)", type)} sum += ${squares};`),
    store: walk(`${read("value", "(begin + i)", type)} y[begin + i] = value * factor * ${weight};`),
  };
}

/** Whether a thread holds its part of a row, and reads it once. */
function readsOnce(dim: number, source: ReadSource, limits: Limits): boolean {
  const units = dim / unitSize(dim, source);
  return Math.ceil(units / threadsFor(units, limits)) <= mostHeld;
}

/**
 * One workgroup a row. Its sum takes two steps: 16 threads add every sixteenth number, and each thread their sums.
 */
function rmsNormWgsl(text: RmsNormText): string {
  const { dim, dtype, limits, source, bindings } = text;
  const unit = unitOf(text), units = dim / unit.size;
  const threads = threadsFor(units, limits), held = Math.ceil(units / threads);
  const { sum, store } = readsOnce(dim, source, limits)
    ? heldText(unit, source, { held, threads })
    : twiceText(unit, source, threads);
  return /* wgsl */ `
${uniformStruct(uniformsWith(uniforms, source))}
${declareBindings(bindings, { ...source.types(unit.type), weight: unit.stored, y: unit.type })}
${unit.stored === "vec4f" ? "" : loader("weight", dtype)}
var<workgroup> squares: array<f32, ${threads}>;
var<workgroup> parts: array<f32, 16>;

@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let units = uniforms.dim / ${unit.size};
  let begin = row * units;
  var sum = 0.0;
${sum}
  squares[local] = sum;
  workgroupBarrier();
  if (local < 16) {
    var part = 0.0;
    for (var i = 0u; i < ${threads}; i += 16) { part += squares[local + i]; }
    parts[local] = part;
  }
  workgroupBarrier();
  var all = 0.0;
  for (var i = 0u; i < 16; i++) { all += parts[i]; }
  var factor = inverseSqrt(all / f32(uniforms.dim) + uniforms.eps);
  // By bits: compilers may take it that no float is infinite.
  if (bitcast<u32>(all) >= 0x7f800000u) { factor = bitcast<f32>(bitcast<u32>(all) | 0x7fc00000u); }
${store}
}
`;
}

function launchFrom(
  source: ReadSource,
  { uniforms: { rows, dim }, dtypes }: Call<Buffers, Uniforms>,
  limits: Limits,
): Launch {
  const bindings: Binding[] = [
    ...source.bindings,
    { name: "weight", access: "read" },
    { name: "y", access: "read_write" },
  ];
  const wgsl = rmsNormWgsl({ dim, dtype: dtypes.weight, limits, source, bindings });
  return { dispatches: [{ wgsl, bindings, grid: grid(rows, limits) }] };
}

/** Root-mean-square normalisation of each row. */
export const rmsNorm: Kernel<Buffers, Uniforms> = defineKernel({
  name: "rms_norm",
  doc:
    "y[r, i] = x[r, i] / sqrt(mean of x[r, :]^2 + eps) * weight[i]. A row whose sum of squares is beyond float32 is NaN: " +
    "dividing by it would give zeros, which look like an answer",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    weight: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(dim)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
  },
  uniforms,
  launch: (call, limits) => launchFrom(held("x"), call, limits),
  consume: {
    buffer: "x",
    // A thread that read its part of a row twice would add it up twice.
    launch: (call, limits, parts) => {
      const { rows, dim } = call.uniforms;
      const source = parts.source("x");
      return parts.count === rows * dim && readsOnce(dim, source, limits)
        ? launchFrom(source, call, limits)
        : undefined;
    },
  },
  reference({ x, weight, y }, { rows, dim, eps }) {
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let i = 0; i < dim; i++) sum += x[r * dim + i] ** 2;
      const factor = Number.isFinite(Math.fround(sum)) ? 1 / Math.sqrt(sum / dim + eps) : NaN;
      for (let i = 0; i < dim; i++) y[r * dim + i] = x[r * dim + i] * factor * weight[i];
    }
  },
  wasm: ({ rows, dim, eps }) => ({
    function: "rms_norm",
    args: ["x", dim, "weight", "y", dim, dim, eps],
    items: rows,
    work: 4 * rows * dim,
  }),
  backward: (uniforms) => ({
    steps: [{
      kernel: anyKernel(rmsNormBackward),
      values: { x: "x", weight: "weight" },
      gradients: { dy: "y" },
      targets: { dx: { of: "x", mode: "add" } },
      uniforms,
    }],
    overwritten: ["y"],
  }),
  tolerance: 1e-5,
});
