import { casesOf, nameOf, randomWeight, variantOf, type WeightCase } from "./formats/cases.ts";
import type { WeightFormat } from "./formats/format.ts";
import { type OfFormats, ofFormats } from "./formats/of.ts";
import { type Case, defineKernel, type Kernel, nans, normals } from "./kernel.ts";
import { linear } from "./linear.ts";
import { linearLaunch, linearWays } from "./linear/launch.ts";
import { uniforms } from "./linear/wgsl.ts";

type Uniforms = keyof typeof uniforms;
type Run = Kernel<string, Uniforms>["reference"];

interface Sizes extends WeightCase {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
  readonly accumulate?: number;
}

function sized(format: WeightFormat, sizes: Sizes): Case<string, Uniforms> {
  const { rows, in: inSize, out, accumulate = 0, variant } = sizes;
  const shape = { in: inSize, out }, types = variantOf(format, variant), scale = 1 / Math.sqrt(inSize);
  return {
    name: nameOf(`${rows} x ${inSize} by ${out}`, format, types, accumulate !== 0 && "accumulated"),
    uniforms: { rows, in: inSize, out, accumulate },
    dtypes: types,
    make: (random) => ({
      x: normals(rows * inSize, random),
      ...randomWeight({ format, shape, types, scale }, random),
      bias: normals(out, random),
      y: accumulate ? normals(rows * out, random) : nans(rows * out),
    }),
  };
}

const cases: readonly Sizes[] = [
  { rows: 1, in: 1, out: 1 },
  { rows: 5, in: 64, out: 31, variant: 2 },
  { rows: 3, in: 67, out: 13, variant: 1, accumulate: 1 },
  { rows: 65, in: 33, out: 65, accumulate: 1 },
  { rows: 127, in: 32, out: 129, variant: 1, floats: true },
  { rows: 34, in: 272, out: 68, variant: 1, accumulate: 1, floats: true },
];

/** Starts y with the bias, or adds it to what y holds; the product is then accumulated. */
const biasThen = (multiply: Run): Run => ({ bias, ...arrays }, uniforms) => {
  const { rows, out, accumulate } = uniforms, { y } = arrays;
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < out; o++) y[r * out + o] = bias[o] + (accumulate ? y[r * out + o] : 0);
  }
  multiply(arrays, { ...uniforms, accumulate: 1 });
};

function ofFormat(format: WeightFormat, name: string): Kernel<string, Uniforms> {
  const plain = linear.of(format);
  return defineKernel<string, Uniforms>({
    name,
    doc: `y = x W^T + bias, or y += x W^T + bias where accumulate is not 0, with W of ${format.doc}`,
    buffers: {
      x: plain.buffers.x,
      ...format.buffers,
      bias: { access: "read", dtypes: ["float32"], doc: "(out)" },
      y: plain.buffers.y,
    },
    uniforms,
    launch: ({ uniforms, dtypes: types }, limits, way) =>
      linearLaunch(uniforms, { weight: { format, types }, bias: true }, { limits, way }),
    ways: ({ uniforms, dtypes: types }, limits) => linearWays(uniforms, { format, types }, limits),
    reference: biasThen(plain.reference),
    cpu: biasThen(plain.cpu!),
    wasm: format.wasm && ((sizes) => format.wasm!(sizes, "bias")),
    backward: plain.backward,
    tolerance: plain.tolerance,
    cases: casesOf(format, cases).map((sizes) => sized(format, sizes)),
    benches: [],
  });
}

/** The linear layer with bias. */
export const linearBias: OfFormats<"x" | "bias" | "y", Uniforms> = ofFormats("linear_bias", ofFormat);
