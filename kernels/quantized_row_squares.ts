import {
  type Case,
  declareBindings,
  defineKernel,
  type DType,
  grid,
  type Kernel,
  nans,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { storageType } from "./half.ts";
import { type QuantizedSizes, randomWeight } from "./quantized/cases.ts";
import { weightArrays } from "./quantized/cpu.ts";
import { type Bits, dequantize } from "./quantized/format.ts";
import { weightBuffers } from "./quantized/launch.ts";
import { numbersFunctions, quadBody, rowBegin, scaleFunction } from "./quantized/wgsl.ts";
import { rowSquares } from "./row_squares.ts";

type Buffers = "words" | "scales" | "squares";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", dim: "u32", bits: "u32" } as const;

const bindings = [
  { name: "words", access: "read" },
  { name: "scales", access: "read" },
  { name: "squares", access: "read_write" },
] as const;

/** Numbers past a row's end are zeros: whole quads are read. */
function wgsl(bits: Bits, scaleType: DType): string {
  const text = { words: "words", scales: "scales", scaleType, bits, length: "uniforms.dim" };
  return /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindings, { words: "u32", scales: storageType(scaleType), squares: "f32" })}
${scaleFunction(text, { pairs: false })}
${numbersFunctions(bits)}
fn quad_at(begin: u32, quad: u32) -> vec4f {
  ${quadBody(text)}
}

var<workgroup> sums: array<f32, 128>;

// One workgroup a row.
@compute @workgroup_size(128)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let begin = ${rowBegin(text, "row")};
  var sum = 0.0;
  for (var quad = local; quad < (uniforms.dim + 3) / 4; quad += 128) {
    let numbers = quad_at(begin, quad);
    sum += dot(numbers, numbers);
  }
  sums[local] = sum;
  workgroupBarrier();
  for (var half = 64u; half > 0; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  if (local == 0) { squares[row] = sums[0]; }
}
`;
}

function sized(
  { rows, dim, ...weight }:
    & { readonly rows: number; readonly dim: number }
    & Pick<QuantizedSizes, "bits" | "scaleType">,
): Case<Buffers, Uniforms> {
  return {
    name: `${rows} x ${dim}, ${weight.bits} bits${weight.scaleType ? `, ${weight.scaleType} scales` : ""}`,
    uniforms: { rows, dim, bits: weight.bits },
    dtypes: { scales: weight.scaleType ?? "bfloat16" },
    make: (random) => ({ ...randomWeight({ out: rows, in: dim, ...weight }, random), squares: nans(rows) }),
  };
}

/** The squared norm of each row of a quantised weight. */
export const quantizedRowSquares: Kernel<Buffers, Uniforms> = defineKernel({
  name: "quantized_row_squares",
  doc: "squares[r] = sum over i of W[r, i]^2, with W of 8 or 4 bits in blocks of 32",
  buffers: { ...weightBuffers, squares: rowSquares.buffers.squares },
  uniforms,
  launch: ({ uniforms: { rows, bits }, dtypes }, limits) => ({
    dispatches: [{ wgsl: wgsl(bits as Bits, dtypes.scales), bindings, grid: grid(rows, limits) }],
  }),
  reference({ squares, ...weight }, { rows, dim, bits }) {
    const shape = { out: rows, in: dim, bits: bits as Bits };
    rowSquares.reference({ weight: dequantize(weightArrays(weight), shape), squares }, { rows, dim });
  },
  tolerance: 1e-6,
  cases: [
    sized({ rows: 1, dim: 1, bits: 8 }),
    sized({ rows: 3, dim: 127, bits: 4 }),
    sized({ rows: 5, dim: 1031, bits: 8, scaleType: "float32" }),
    sized({ rows: 70, dim: 64, bits: 4 }),
  ],
  benches: [],
});
