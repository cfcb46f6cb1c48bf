import type { StoredWeight, WeightFormat } from "./formats/format.ts";
import { type OfFormats, ofFormats } from "./formats/of.ts";
import {
  type Binding,
  declareBindings,
  defineKernel,
  grid,
  type Kernel,
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
  });
}

/** The squared norm of each row of a weight: what its norms with an update are made from. */
export const rowSquares: OfFormats<"squares", Uniforms> = ofFormats("row_squares", ofFormat);
