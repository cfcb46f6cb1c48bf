/**
 * Columns of a matrix times trained numbers, maybe over norms: the kernels of both and of their gradients.
 *
 * @module
 */
import {
  type Binding,
  type BufferSpec,
  declareBindings,
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";

/** A kernel's name and documentation, and whether its factors are values over norms. */
interface Description {
  readonly name: string;
  readonly doc: string;
  readonly overNorms: boolean;
  /** What the values are, for people. */
  readonly values: string;
}

type Words = keyof typeof uniforms;
type Buffers = "values" | "y";
type BackwardBuffers = "t" | "values" | "gradient" | "dy";

const uniforms = { rows: "u32", out: "u32", offset: "u32" } as const;

/** Columns of one workgroup: neighbours in memory. */
const columns = 16;

const bindingsOf = (buffers: Readonly<Record<string, BufferSpec>>): Binding[] =>
  Object.entries(buffers).map(([name, { access }]) => ({ name, access }));

const head = (bindings: readonly Binding[]): string =>
  `${uniformStruct(uniforms)}\n${
    declareBindings(bindings, Object.fromEntries(bindings.map(({ name }) => [name, "f32"])))
  }`;

const over = (overNorms: boolean): string => overNorms ? " / norms[column]" : "";

const forwardText = (bindings: readonly Binding[], overNorms: boolean): string => /* wgsl */ `
${head(bindings)}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.out) { return; }
  let column = i % uniforms.out;
  y[i] *= values[uniforms.offset + column]${over(overNorms)};
}
`;

const backwardText = (bindings: readonly Binding[], overNorms: boolean): string => /* wgsl */ `
${head(bindings)}

var<workgroup> sums: array<f32, 256>;

// One workgroup for ${columns} columns; a thread takes every ${256 / columns}th row of one.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let column = (${workgroupIndex}) * ${columns} + local % ${columns};
  var sum = 0.0;
  if (column < uniforms.out) {
    let factor = values[uniforms.offset + column]${over(overNorms)};
    for (var row = local / ${columns}; row < uniforms.rows; row += ${256 / columns}) {
      let at = row * uniforms.out + column;
      sum += dy[at] * t[at];
      dy[at] *= factor;
    }
  }
  sums[local] = sum;
  workgroupBarrier();
  for (var half = 128u; half >= ${columns}; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  if (local < ${columns} && column < uniforms.out) {
    gradient[uniforms.offset + column] += sums[local]${over(overNorms)};
  }
}
`;

const norms = { norms: { access: "read", dtypes: ["float32"], doc: "(out)" } } as const;

/** y[r, o] *= values[offset + o], or values[offset + o] / norms[o]. */
export function scaledColumns<B extends string = Buffers>(description: Description): Kernel<B, Words> {
  const { name, doc, overNorms, values } = description;
  const buffers: Record<string, BufferSpec> = {
    values: { access: "read", dtypes: ["float32"], doc: `from element \`offset\` on: ${values} (out)` },
    ...(overNorms ? norms : {}),
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), row-major, in place" },
  };
  const bindings = bindingsOf(buffers), wgsl = forwardText(bindings, overNorms);
  return defineKernel<string, Words>({
    name,
    doc,
    buffers,
    uniforms,
    launch: ({ uniforms: { rows, out } }, limits) => ({
      dispatches: [{ wgsl, bindings, grid: grid(Math.ceil(rows * out / 256), limits) }],
    }),
    reference({ values, norms, y }, { rows, out, offset }) {
      for (let i = 0; i < rows * out; i++) {
        y[i] *= overNorms ? values[offset + i % out] / norms[i % out] : values[offset + i % out];
      }
    },
    tolerance: 1e-6,
  }) as unknown as Kernel<B, Words>;
}

/** The gradients of `scaledColumns`; norms are constants. */
export function scaledColumnsBackward<B extends string = BackwardBuffers>(
  description: Description,
): Kernel<B, Words> {
  const { name, doc, overNorms, values } = description;
  const buffers: Record<string, BufferSpec> = {
    t: { access: "read", dtypes: ["float32"], doc: "(rows, out), row-major" },
    values: { access: "read", dtypes: ["float32"], doc: `from element \`offset\` on: ${values} (out)` },
    ...(overNorms ? norms : {}),
    gradient: { access: "read_write", dtypes: ["float32"], doc: "laid out as values, added to" },
    dy: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), row-major, in place" },
  };
  const bindings = bindingsOf(buffers), wgsl = backwardText(bindings, overNorms);
  return defineKernel<string, Words>({
    name,
    doc,
    buffers,
    uniforms,
    launch: ({ uniforms: { out } }, limits) => ({
      dispatches: [{ wgsl, bindings, grid: grid(Math.ceil(out / columns), limits) }],
    }),
    reference({ t, values, norms, gradient, dy }, { rows, out, offset }) {
      const sums = new Float64Array(out);
      for (let r = 0; r < rows; r++) {
        for (let o = 0; o < out; o++) {
          sums[o] += dy[r * out + o] * t[r * out + o];
          dy[r * out + o] *= overNorms ? values[offset + o] / norms[o] : values[offset + o];
        }
      }
      sums.forEach((sum, o) => gradient[offset + o] += overNorms ? sum / norms[o] : sum);
    },
    tolerance: 1e-6,
  }) as unknown as Kernel<B, Words>;
}
