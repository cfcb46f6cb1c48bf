import {
  anyWeight,
  casesOf,
  nameOf,
  randomWeight,
  variantOf,
  weightBytes,
  type WeightCase,
} from "./formats/cases.ts";
import { dense } from "./formats/dense.ts";
import type { WeightFormat } from "./formats/format.ts";
import { type OfFormats, ofFormats } from "./formats/of.ts";
import { anyKernel, type Bench, type Case, defineKernel, type Kernel, nans, normals } from "./kernel.ts";
import { linearLaunch, linearWays } from "./linear/launch.ts";
import { multiply } from "./linear/weight_cpu.ts";
import { uniforms } from "./linear/wgsl.ts";
import { linearTransposed } from "./linear_transposed.ts";

type Uniforms = keyof typeof uniforms;

interface Sizes extends WeightCase {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
  readonly accumulate?: number;
}

const madeOf = (format: WeightFormat, { in: inSize, out, variant }: Sizes) => ({
  ...{ format, shape: { in: inSize, out }, types: variantOf(format, variant), scale: 1 / Math.sqrt(inSize) },
});

function sized(format: WeightFormat, sizes: Sizes): Case<string, Uniforms> {
  const { rows, in: inSize, out, accumulate = 0 } = sizes, weight = madeOf(format, sizes);
  return {
    name: nameOf(`${rows} x ${inSize} by ${out}`, format, weight.types, accumulate !== 0 && "accumulated"),
    uniforms: { rows, in: inSize, out, accumulate },
    dtypes: weight.types,
    make: (random) => ({
      x: normals(rows * inSize, random),
      ...randomWeight(weight, random),
      y: accumulate ? normals(rows * out, random) : nans(rows * out),
    }),
  };
}

function bench(format: WeightFormat, sizes: Sizes): Bench<string, Uniforms> {
  const { rows, in: inSize, out } = sizes, weight = madeOf(format, sizes);
  return {
    ...sized(format, sizes),
    make: (random) => ({
      x: normals(rows * inSize, random),
      ...anyWeight(weight, random),
      y: nans(rows * out),
    }),
    bytes: weightBytes(weight) + 4 * rows * (inSize + out),
    flops: 2 * rows * inSize * out,
  };
}

const cases: readonly Sizes[] = [
  { rows: 1, in: 1, out: 1 },
  { rows: 1, in: 31, out: 7, variant: 1 },
  { rows: 1, in: 516, out: 9, accumulate: 1, floats: true },
  { rows: 1, in: 768, out: 9, accumulate: 1 },
  { rows: 2, in: 257, out: 5, variant: 2 },
  { rows: 2, in: 1064, out: 13, variant: 1, accumulate: 1, floats: true },
  { rows: 2, in: 2337, out: 9 },
  { rows: 3, in: 64, out: 33, variant: 1, accumulate: 1 },
  { rows: 7, in: 576, out: 66 },
  { rows: 8, in: 128, out: 64, floats: true },
  { rows: 9, in: 132, out: 30, variant: 2, accumulate: 1 },
  { rows: 33, in: 16, out: 64, floats: true },
  { rows: 65, in: 37, out: 63, variant: 1 },
  { rows: 64, in: 36, out: 65, variant: 2, accumulate: 1, floats: true },
  { rows: 66, in: 1024, out: 36, accumulate: 1 },
  { rows: 129, in: 20, out: 6400, floats: true },
  { rows: 128, in: 19, out: 12673, accumulate: 1, floats: true },
];

/** Sizes that are timed of floats, and of what takes fewer bytes. */
const denseBenches: readonly Sizes[] = [
  { rows: 1, in: 4096, out: 4096 },
  { rows: 8, in: 4096, out: 4096, variant: 1 },
  { rows: 32, in: 4096, out: 4096, variant: 1 },
  { rows: 512, in: 4096, out: 4096 },
  { rows: 4096, in: 4096, out: 4096 },
];
const packedBenches: readonly Sizes[] = [
  { rows: 1, in: 8192, out: 28672 },
  { rows: 1, in: 4096, out: 4096 },
  { rows: 8, in: 4096, out: 14336 },
  { rows: 512, in: 4096, out: 4096 },
];

function ofFormat(format: WeightFormat, name: string): Kernel<string, Uniforms> {
  return defineKernel<string, Uniforms>({
    name,
    doc: `y = x W^T, or y += x W^T where accumulate is not 0, with W of ${format.doc}`,
    buffers: {
      x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
      ...format.buffers,
      y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), row-major" },
    },
    uniforms,
    launch: ({ uniforms, dtypes: types }, limits, way) =>
      linearLaunch(uniforms, { weight: { format, types }, bias: false }, { limits, way }),
    ways: ({ uniforms, dtypes: types }, limits) => linearWays(uniforms, { format, types }, limits),
    reference({ x, y, ...arrays }, { rows, in: inSize, out, accumulate }) {
      const weight = format.rows(arrays, { in: inSize, out });
      for (let r = 0; r < rows; r++) {
        for (let o = 0; o < out; o++) {
          let sum = accumulate ? y[r * out + o] : 0;
          for (let k = 0; k < inSize; k++) sum += x[r * inSize + k] * weight[o * inSize + k];
          y[r * out + o] = sum;
        }
      }
    },
    cpu: ({ x, y, ...weight }, sizes) => multiply(format, { x, y, ...weight }, sizes),
    wasm: format.wasm && ((sizes) => format.wasm!(sizes, 0)),
    backward: ({ rows, in: inSize, out, accumulate }) => ({
      steps: [{
        kernel: anyKernel(linearTransposed.of(format)),
        values: Object.fromEntries(Object.keys(format.buffers).map((name) => [name, name])),
        gradients: { dy: "y" },
        targets: { dx: { of: "x", mode: "accumulate" } },
        uniforms: { rows, in: inSize, out, accumulate: 1 },
      }],
      overwritten: accumulate ? [] : ["y"],
    }),
    tolerance: 1e-5,
    cases: casesOf(format, cases).map((sizes) => sized(format, sizes)),
    benches: (format === dense ? denseBenches : packedBenches).map((sizes) => bench(format, sizes)),
  });
}

/** The linear layer without bias. */
export const linear: OfFormats<"x" | "y", Uniforms> = ofFormats("linear", ofFormat);
