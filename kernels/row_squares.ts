import { anyWeight, nameOf, randomWeight, variantOf, weightBytes } from "./formats/cases.ts";
import { dense } from "./formats/dense.ts";
import type { StoredWeight, WeightFormat } from "./formats/format.ts";
import { type OfFormats, ofFormats } from "./formats/of.ts";
import {
  type Bench,
  type Binding,
  type Case,
  declareBindings,
  defineKernel,
  grid,
  type Kernel,
  nans,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", dim: "u32" } as const;

const bindingsOf = ({ buffers }: WeightFormat): Binding[] => [
  ...Object.keys(buffers).map((name): Binding => ({ name, access: "read" })),
  { name: "squares", access: "read_write" },
];

/** One workgroup a row. */
function wgsl({ format, types }: StoredWeight, dim: number): string {
  const length = { count: dim, text: "uniforms.dim" };
  const text = format.quads({ role: "weight", length, padded: false }, types);
  const names = Object.keys(format.buffers);
  const elements = Object.fromEntries(names.map((name, i) => [name, text.types[i]]));
  return /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindingsOf(format), { ...elements, squares: "f32" })}
${text.functions}

var<workgroup> sums: array<f32, 128>;

@compute @workgroup_size(128)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let begin = weight_begin(row);
  var sum = 0.0;
  for (var quad = local; quad < (uniforms.dim + 3) / 4; quad += 128) {
    let numbers = weight_quad(begin, quad);
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

interface Sizes {
  readonly rows: number;
  readonly dim: number;
  /** Which of the format's element types the weight has. */
  readonly variant?: number;
}

const madeOf = (format: WeightFormat, { rows, dim, variant }: Sizes) => ({
  ...{ format, shape: { out: rows, in: dim }, types: variantOf(format, variant), scale: 1 },
});

function sized(format: WeightFormat, sizes: Sizes): Case<string, Uniforms> {
  const { rows, dim } = sizes, weight = madeOf(format, sizes);
  return {
    name: nameOf(`${rows} x ${dim}`, format, weight.types),
    uniforms: { rows, dim },
    dtypes: weight.types,
    make: (random) => ({ ...randomWeight(weight, random), squares: nans(rows) }),
  };
}

function bench(format: WeightFormat, sizes: Sizes): Bench<string, Uniforms> {
  const weight = madeOf(format, sizes);
  return {
    ...sized(format, sizes),
    make: (random) => ({ ...anyWeight(weight, random), squares: nans(sizes.rows) }),
    bytes: weightBytes(weight),
  };
}

const cases: readonly Sizes[] = [
  { rows: 1, dim: 1 },
  { rows: 3, dim: 127 },
  { rows: 5, dim: 129, variant: 1 },
  { rows: 2, dim: 1031, variant: 2 },
  { rows: 70, dim: 64 },
];

function ofFormat(format: WeightFormat, name: string): Kernel<string, Uniforms> {
  return defineKernel<string, Uniforms>({
    name,
    doc: `squares[r] = sum over i of W[r, i]^2, with W (rows, dim) of ${format.doc}`,
    buffers: {
      ...format.buffers,
      squares: { access: "read_write", dtypes: ["float32"], doc: "(rows)" },
    },
    uniforms,
    launch({ uniforms: { rows, dim }, dtypes: types }, limits) {
      format.check({ out: rows, in: dim });
      const bindings = bindingsOf(format);
      return { dispatches: [{ wgsl: wgsl({ format, types }, dim), bindings, grid: grid(rows, limits) }] };
    },
    reference({ squares, ...arrays }, { rows, dim }) {
      const weight = format.rows(arrays, { out: rows, in: dim });
      for (let r = 0; r < rows; r++) {
        let sum = 0;
        for (let i = 0; i < dim; i++) sum += weight[r * dim + i] ** 2;
        squares[r] = sum;
      }
    },
    tolerance: 1e-6,
    cases: cases.map((sizes) => sized(format, sizes)),
    benches: format === dense ? [bench(format, { rows: 4096, dim: 4096, variant: 1 })] : [],
  });
}

/** The squared norm of each row of a weight: what its norms with an update are made from. */
export const rowSquares: OfFormats<"squares", Uniforms> = ofFormats("row_squares", ofFormat);
