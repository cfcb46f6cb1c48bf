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
import { type Bench, type Case, defineKernel, type Kernel, nans, normals } from "./kernel.ts";
import { transposedLaunch } from "./linear/launch.ts";
import { transposedProduct } from "./linear/transposed_cpu.ts";
import { uniforms } from "./linear/wgsl.ts";

type Uniforms = keyof typeof uniforms;

interface Sizes extends WeightCase {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
  readonly accumulate?: number;
}

const madeOf = (format: WeightFormat, { in: inSize, out, variant }: Sizes) => ({
  ...{ format, shape: { in: inSize, out }, types: variantOf(format, variant), scale: 1 / Math.sqrt(out) },
});

function sized(format: WeightFormat, sizes: Sizes): Case<string, Uniforms> {
  const { rows, in: inSize, out, accumulate = 0 } = sizes, weight = madeOf(format, sizes);
  return {
    name: nameOf(`${rows} x ${out} by ${inSize}`, format, weight.types, accumulate !== 0 && "accumulated"),
    uniforms: { rows, in: inSize, out, accumulate },
    dtypes: weight.types,
    make: (random) => ({
      dy: normals(rows * out, random),
      ...randomWeight(weight, random),
      dx: accumulate ? normals(rows * inSize, random) : nans(rows * inSize),
    }),
  };
}

function bench(format: WeightFormat, sizes: Sizes): Bench<string, Uniforms> {
  const { rows, in: inSize, out } = sizes, weight = madeOf(format, sizes);
  return {
    ...sized(format, sizes),
    make: (random) => ({
      dy: normals(rows * out, random),
      ...anyWeight(weight, random),
      dx: nans(rows * inSize),
    }),
    bytes: weightBytes(weight) + 4 * rows * (inSize + out),
    flops: 2 * rows * inSize * out,
  };
}

const cases: readonly Sizes[] = [
  { rows: 1, in: 1, out: 1 },
  { rows: 129, in: 8200, out: 19, variant: 1, floats: true },
  { rows: 3, in: 31, out: 7, variant: 1 },
  { rows: 64, in: 64, out: 16, accumulate: 1 },
  { rows: 65, in: 65, out: 37, variant: 2, floats: true },
  { rows: 33, in: 68, out: 515, accumulate: 1 },
  { rows: 5, in: 130, out: 1031, variant: 1, accumulate: 1, floats: true },
  { rows: 66, in: 124, out: 256, variant: 2, floats: true },
];

/** Sizes that are timed of floats, and of what takes fewer bytes. */
const denseBenches: readonly Sizes[] = [
  { rows: 512, in: 4096, out: 4096, variant: 1 },
  { rows: 512, in: 4096, out: 14336, variant: 2 },
  { rows: 4096, in: 4096, out: 4096 },
];
const packedBenches: readonly Sizes[] = [{ rows: 512, in: 4096, out: 4096 }];

function ofFormat(format: WeightFormat, name: string): Kernel<string, Uniforms> {
  return defineKernel<string, Uniforms>({
    name,
    doc: "dx = dy W, or dx += dy W where accumulate is not 0: the gradient of x in y = x W^T, " +
      `with W of ${format.doc}`,
    buffers: {
      dy: { access: "read", dtypes: ["float32"], doc: "(rows, out), row-major" },
      ...format.buffers,
      dx: { access: "read_write", dtypes: ["float32"], doc: "(rows, in), row-major" },
    },
    uniforms,
    launch: ({ uniforms, dtypes: types }, limits) => transposedLaunch(uniforms, { format, types }, limits),
    reference({ dy, dx, ...arrays }, { rows, in: inSize, out, accumulate }) {
      const weight = format.rows(arrays, { in: inSize, out });
      for (let r = 0; r < rows; r++) {
        for (let i = 0; i < inSize; i++) {
          let sum = accumulate ? dx[r * inSize + i] : 0;
          for (let o = 0; o < out; o++) sum += dy[r * out + o] * weight[o * inSize + i];
          dx[r * inSize + i] = sum;
        }
      }
    },
    cpu({ dy, dx, ...weight }, { rows, in: inSize, out, accumulate }) {
      const floats = format.rows(weight, { in: inSize, out });
      transposedProduct(
        { x: dy as Float32Array, weight: floats, y: dx as Float32Array },
        { rows, inner: out, columns: inSize, accumulate: accumulate !== 0 },
      );
    },
    tolerance: 1e-5,
    cases: casesOf(format, cases).map((sizes) => sized(format, sizes)),
    benches: (format === dense ? denseBenches : packedBenches).map((sizes) => bench(format, sizes)),
  });
}

/** The linear layer's gradient by its input. */
export const linearTransposed: OfFormats<"dy" | "dx", Uniforms> = ofFormats("linear_transposed", ofFormat);
