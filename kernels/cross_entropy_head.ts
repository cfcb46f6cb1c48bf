import { crossEntropyCpu, crossEntropyReference } from "./cross_entropy/cpu.ts";
import { crossEntropyLaunch, noTarget, type Uniforms, uniforms } from "./cross_entropy/launch.ts";
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

interface Sizes extends WeightCase {
  readonly rows: number;
  readonly dim: number;
  readonly vocab: number;
}

const madeOf = (format: WeightFormat, { dim, vocab, variant }: Sizes) => ({
  ...{ format, shape: { in: dim, out: vocab }, types: variantOf(format, variant), scale: 2 / Math.sqrt(dim) },
});

/** Every fifth row has no target. */
function sized(format: WeightFormat, sizes: Sizes): Case<string, Uniforms> {
  const { rows, dim, vocab } = sizes, weight = madeOf(format, sizes);
  return {
    name: nameOf(`${rows} rows of ${dim}, vocabulary of ${vocab}`, format, weight.types),
    uniforms: { rows, dim, vocab, scale: 1 / rows },
    dtypes: weight.types,
    make: (random) => ({
      hidden: normals(rows * dim, random),
      ...randomWeight(weight, random),
      targets: Uint32Array.from(
        { length: rows },
        (_, r) => r % 5 === 4 ? noTarget : Math.floor(random() * vocab),
      ),
      losses: nans(rows),
      dhidden: nans(rows * dim),
    }),
  };
}

function bench(format: WeightFormat, sizes: Sizes): Bench<string, Uniforms> {
  const { rows, dim, vocab } = sizes, made = sized(format, sizes), weight = madeOf(format, sizes);
  return {
    ...made,
    make: (random) => ({ ...made.make(random), ...anyWeight(weight, random) }),
    bytes: 2 * weightBytes(weight) + 8 * rows * dim,
    flops: 4 * rows * dim * vocab,
  };
}

const cases: readonly Sizes[] = [
  { rows: 1, dim: 1, vocab: 2 },
  // Two chunks of 4096 rows, and one of one.
  { rows: 8193, dim: 5, vocab: 7, floats: true },
  { rows: 7, dim: 31, vocab: 37, variant: 1 },
  { rows: 65, dim: 64, vocab: 101, variant: 2 },
  { rows: 5, dim: 68, vocab: 1031, floats: true },
];

const denseBenches: readonly Sizes[] = [
  { rows: 512, dim: 576, vocab: 49152, variant: 2 },
  { rows: 512, dim: 4096, vocab: 128256, variant: 2 },
];

function ofFormat(format: WeightFormat, name: string): Kernel<string, Uniforms> {
  return defineKernel<string, Uniforms>({
    name,
    doc:
      "with logits = hidden W^T: losses[r] = log of the sum of exp(logits[r]) - logits[r, targets[r]], and " +
      "dhidden[r] = scale (softmax(logits[r]) - one at targets[r]) W. A target of vocab or more (0xffffffff: none) " +
      `gives zeros. Logits take 32 MiB at most, or one row. W (vocab, dim) is of ${format.doc}`,
    buffers: {
      hidden: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
      ...format.buffers,
      targets: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
      losses: { access: "read_write", dtypes: ["float32"], doc: "(rows), not scaled" },
      dhidden: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    },
    uniforms,
    launch: ({ uniforms: sizes, dtypes: types }, limits) =>
      crossEntropyLaunch(sizes, { weight: { format, types }, gradient: true }, limits),
    reference: (arrays, sizes) => crossEntropyReference(format, arrays, sizes),
    cpu: (arrays, sizes) => crossEntropyCpu(format, arrays, sizes),
    tolerance: 1e-5,
    cases: casesOf(format, cases).map((sizes) => sized(format, sizes)),
    benches: format === dense ? denseBenches.map((sizes) => bench(format, sizes)) : [],
  });
}

/** Output projection, cross-entropy and its gradient, without the logits of all rows at once. */
export const crossEntropyHead: OfFormats<"hidden" | "targets" | "losses" | "dhidden", Uniforms> = ofFormats(
  "cross_entropy_head",
  ofFormat,
);
