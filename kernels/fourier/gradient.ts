/**
 * How `fourier_gradient` runs: two transforms a row and the coefficients' sums, by parts of the rows.
 *
 * @module
 */
import { analysisDispatch, type Part, partDeclaration, partsOf } from "../fft/analysis_dispatch.ts";
import { planTransform, together, type TransformPlan } from "../fft/plan.ts";
import {
  analysis,
  elementType,
  foldFunction,
  halfBins,
  rowElements,
  spectrumFunctions,
} from "../fft/real.ts";
import { type TwiddleTables, twiddleTables } from "../fft/twiddles.ts";
import { expose, fftFunctions, workMemory } from "../fft/wgsl.ts";
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

/** Uniform words of the kernel. */
export const uniforms = {
  rows: "u32",
  in: "u32",
  out: "u32",
  count: "u32",
  scale: "f32",
  accumulate: "u32",
} as const;
/** A call's uniform words. */
export type Uniforms = Readonly<Record<keyof typeof uniforms, number>>;

/** Coefficients one invocation sums, at most: each takes three registers. */
const mostSums = 32;
/** Invocations that fill a large GPU: rows are dealt to that many, in parts that are summed apart. */
const manyInvocations = 2 ** 17;
/** Numbers the parts' sums may take in scratch. */
const mostPartials = 2 ** 21;
/** Rows of spectra in scratch that one workgroup sums. */
const rowsOfPairs = 16;
/** Scratch for the spectra of long rows. */
const scratchBytes = 64 * 2 ** 20;

const types: Readonly<Record<string, string>> = {
  frequencies: "vec2u",
  partial: "f32",
  gradient: "f32",
  bins_in: "vec2f",
  bins_out: "vec2f",
  twiddles: "vec2f",
};

const binding = (name: string): Binding => ({
  name,
  access: name === "partial" || name === "gradient" ? "read_write" : "read",
});

/** `body(b, e)` for each of an invocation's coefficients e = base + local + b * threads. */
const eachSum = (
  { sums, threads }: { readonly sums: number; readonly threads: number },
  body: (b: number, e: string) => string,
): string => Array.from({ length: sums }, (_, b) => body(b, `base + local + ${b * threads}u`)).join("\n");

/** Invocations of a fused workgroup, the coefficients each sums, and the parts the rows are dealt to. */
function shareOut(
  { input, output }: { readonly input: TransformPlan; readonly output: TransformPlan },
  { rows, count }: Uniforms,
): { readonly threads: number; readonly sums: number; readonly chunks: number; readonly parts: number } {
  const threads = Math.max(input.threads, output.threads);
  const sums = Math.min(mostSums, Math.ceil(count / threads));
  const chunks = Math.ceil(count / (sums * threads));
  const wanted = Math.max(1, Math.min(manyInvocations / threads, Math.floor(mostPartials / count)));
  // Equal shares: no part has two rows more than another.
  const parts = Math.ceil(rows / Math.ceil(rows / wanted));
  return { threads, sums, chunks, parts };
}

/** Rows short enough for workgroup memory: x is transformed, its bins kept in registers, then dy in the same place. */
function fused(
  plans: { input: TransformPlan; output: TransformPlan },
  { share, tables, limits }: { share: ReturnType<typeof shareOut>; tables: TwiddleTables; limits: Limits },
): Dispatch {
  const { threads, sums, chunks, parts } = share;
  const [input, output] = together([plans.input, plans.output]);
  const x = { signal: (i: string) => `x[x_at + ${i}]`, twiddles: tables.of(input.length), suffix: "_x" };
  const dy = { signal: (i: string) => `dy[dy_at + ${i}]`, twiddles: tables.of(output.length), suffix: "_dy" };
  const bindings = ["x", "dy", "frequencies", "partial", "twiddles"].map(binding);
  const transformX = analysis(input, { ...x, fresh: false });
  const transformDy = analysis(output, { ...dy, fresh: false });
  const spectra = (body: (b: number) => string): string =>
    eachSum(share, (b, e) => `{ let e = ${e}; if (e < uniforms.count) { ${body(b)} } }`);
  const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindings, { ...types, x: elementType(input), dy: elementType(output) })}
${workMemory([input, output])}
${fftFunctions}
var<private> x_at: u32;
var<private> dy_at: u32;
${foldFunction(input, x)}
${foldFunction(output, dy)}
${spectrumFunctions(input, x)}
${spectrumFunctions(output, dy)}
@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  let part = index / ${chunks}u;
  let base = index % ${chunks}u * ${sums * threads}u;
  if (part >= ${parts}u) { return; }
  let residue = 0u;
  ${Array.from({ length: sums }, (_, b) => `var sum${b} = 0.0;`).join(" ")}
  for (var row = part; row < uniforms.rows; row += ${parts}u) {
    x_at = row * ${rowElements(input)}u;
    dy_at = row * ${rowElements(output)}u;
    ${Array.from({ length: sums }, (_, b) => `var x${b} = vec2f();`).join(" ")}
    ${transformX.read}
    ${transformX.run}
    ${
    expose(input, { held: transformX.points }, ({ suffix }) =>
      spectra((b) =>
        `x${b} += spectrum_x${suffix}(frequencies[e].y);`
      ))
  }
    ${transformDy.read}
    ${transformDy.run}
    ${
    expose(output, { held: transformDy.points }, ({ suffix }) =>
      spectra((b) =>
        `let g = spectrum_dy${suffix}(frequencies[e].x); sum${b} += g.x * x${b}.x - g.y * x${b}.y;`
      ))
  }
  }
  ${spectra((b) => `partial[part * uniforms.count + e] = sum${b};`)}
}
`;
  return { wgsl, bindings, grid: grid(parts * chunks, limits) };
}

/** From spectra in scratch: each invocation sums one coefficient over some rows; `at` is the first sum's place. */
function pairs(
  u: Uniforms,
  { part, at, limits }: { part: Part; at: number; limits: Limits },
): Dispatch {
  const chunks = Math.ceil(u.count / 64);
  const bindings = ["frequencies", "bins_in", "bins_out", "partial"].map(binding);
  const bin = (name: string, length: number): string => /* wgsl */ `
fn ${name}_at(row: u32, k: u32) -> vec2f {
  let mirrored = k > ${Math.floor(length / 2)}u;
  let value = ${name}[row * ${halfBins(length)}u + select(k, ${length}u - k, mirrored)];
  return vec2f(value.x, select(value.y, -value.y, mirrored));
}`;
  const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindings, types)}
${partDeclaration(part)}
override at: u32;
${bin("bins_in", u.in)}
${bin("bins_out", u.out)}
@compute @workgroup_size(64)
fn main(${workgroupBuiltins}) {
  let share = (${workgroupIndex}) / ${chunks}u;
  let e = (${workgroupIndex}) % ${chunks}u * 64u + local;
  let begin = share * ${rowsOfPairs}u;
  if (e >= uniforms.count || begin >= part_rows()) { return; }
  let frequency = frequencies[e];
  var sum = 0.0;
  for (var row = begin; row < min(begin + ${rowsOfPairs}u, part_rows()); row++) {
    let x = bins_in_at(row, frequency.y);
    let g = bins_out_at(row, frequency.x);
    sum += g.x * x.x - g.y * x.y;
  }
  partial[(at + share) * uniforms.count + e] = sum;
}
`;
  return {
    wgsl,
    bindings,
    constants: { first: part.first, at },
    grid: grid(chunks * Math.ceil(part.rows / rowsOfPairs), limits),
  };
}

/**
 * Sums the parts in a fixed order: 16 invocations a coefficient, each every 16th part, and then their 16 sums.
 * Neighbouring invocations read neighbouring coefficients.
 */
function reduce(u: Uniforms, parts: number, limits: Limits): Dispatch {
  const bindings = [{ name: "partial", access: "read" as const }, binding("gradient")];
  const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindings, types)}
override parts: u32;
var<workgroup> sums: array<f32, 256>;
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let e = (${workgroupIndex}) * 16u + local % 16u;
  var sum = 0.0;
  if (e < uniforms.count) {
    for (var p = local / 16u; p < parts; p += 16u) { sum += partial[p * uniforms.count + e]; }
  }
  sums[local] = sum;
  workgroupBarrier();
  if (local >= 16u || e >= uniforms.count) { return; }
  for (var i = 1u; i < 16u; i++) { sum += sums[16u * i + local]; }
  sum *= uniforms.scale;
  if (uniforms.accumulate == 1) { gradient[e] += sum; } else { gradient[e] = sum; }
}
`;
  return { wgsl, bindings, constants: { parts }, grid: grid(Math.ceil(u.count / 16), limits) };
}

/** Launches a call. */
export function launchGradient(u: Uniforms, limits: Limits): Launch {
  const input = planTransform(u.in, limits);
  const output = planTransform(u.out, limits);
  const tables = twiddleTables(u.in, u.out);
  if (input.residues === 1 && output.residues === 1) {
    const share = shareOut({ input, output }, u);
    const { parts } = share;
    return {
      dispatches: [fused({ input, output }, { share, tables, limits }), reduce(u, parts, limits)],
      tables: { twiddles: tables.table },
      scratch: { partial: 4 * parts * u.count },
    };
  }
  const rowBytes = 8 * (halfBins(u.in) + halfBins(u.out));
  const parts = partsOf(u.rows, { rowBytes, scratchBytes });
  let sums = 0;
  const dispatches = parts.flatMap((part) => {
    const at = sums;
    sums += Math.ceil(part.rows / rowsOfPairs);
    const shared = { uniforms, slots: false, part };
    return [
      analysisDispatch(input, { ...shared, source: "x", bins: "bins_in", twiddles: tables.of(u.in) }, limits),
      analysisDispatch(
        output,
        { ...shared, source: "dy", bins: "bins_out", twiddles: tables.of(u.out) },
        limits,
      ),
      pairs(u, { part, at, limits }),
    ];
  });
  dispatches.push(reduce(u, sums, limits));
  return {
    dispatches,
    tables: { twiddles: tables.table },
    scratch: {
      partial: 4 * sums * u.count,
      bins_in: 8 * parts[0].rows * halfBins(u.in),
      bins_out: 8 * parts[0].rows * halfBins(u.out),
    },
  };
}
