import { crossEntropyCpu, crossEntropyReference } from "./cross_entropy/cpu.ts";
import { crossEntropyLaunch, noTarget, uniforms as denseUniforms } from "./cross_entropy/launch.ts";
import { crossEntropyHead } from "./cross_entropy_head.ts";
import { type Case, defineKernel, type DType, type Kernel, nans, normals } from "./kernel.ts";
import { randomWeight } from "./quantized/cases.ts";
import { weightArrays } from "./quantized/cpu.ts";
import { type Bits, dequantize } from "./quantized/format.ts";
import { shapeOf, weightBuffers, weightOperand } from "./quantized/launch.ts";

/** Uniform words of the cross-entropy kernels with a quantised weight. */
export const uniforms = { ...denseUniforms, bits: "u32" } as const;

type Buffers = "hidden" | "words" | "scales" | "targets" | "losses" | "dhidden";
type Uniforms = keyof typeof uniforms;
type Sizes = Readonly<Record<Uniforms, number>>;

interface CaseSizes {
  readonly rows: number;
  readonly dim: number;
  readonly vocab: number;
  readonly bits: Bits;
}

/** Every fifth row has no target. */
function sized({ rows, dim, vocab, bits }: CaseSizes): Case<Buffers, Uniforms> {
  return {
    name: `${rows} rows of ${dim}, vocabulary of ${vocab}, ${bits} bits`,
    uniforms: { rows, dim, vocab, scale: 1 / rows, bits },
    make: (random) => ({
      hidden: normals(rows * dim, random, 2),
      ...randomWeight({ out: vocab, in: dim, bits }, random),
      targets: Uint32Array.from(
        { length: rows },
        (_, r) => r % 5 === 4 ? noTarget : Math.floor(random() * vocab),
      ),
      losses: nans(rows),
      dhidden: nans(rows * dim),
    }),
  };
}

/** The weight of a call's sizes. */
const headShape = ({ vocab, dim, bits }: Sizes) => shapeOf({ out: vocab, in: dim, bits });

/** The head's weight as the operand of a product. */
export const headWeight = (sizes: Sizes, scaleType: DType) =>
  weightOperand({ bits: headShape(sizes).bits, scaleType });

/** Output projection, cross-entropy and its gradient, the weight quantised. */
export const quantizedCrossEntropyHead: Kernel<Buffers, Uniforms> = defineKernel({
  name: "quantized_cross_entropy_head",
  doc: "cross_entropy_head with W of 8 or 4 bits in blocks of 32; out is vocab, in is dim",
  buffers: {
    hidden: crossEntropyHead.buffers.hidden,
    ...weightBuffers,
    targets: crossEntropyHead.buffers.targets,
    losses: crossEntropyHead.buffers.losses,
    dhidden: crossEntropyHead.buffers.dhidden,
  },
  uniforms,
  launch: ({ uniforms: sizes, dtypes }, limits) =>
    crossEntropyLaunch(sizes, { uniforms, weight: headWeight(sizes, dtypes.scales), gradient: true }, limits),
  reference({ words, scales, ...arrays }, sizes) {
    const weight = dequantize(weightArrays({ words, scales }), headShape(sizes));
    crossEntropyReference({ ...arrays, weight }, sizes);
  },
  cpu({ words, scales, ...arrays }, sizes) {
    crossEntropyCpu(
      { ...arrays, weight: dequantize(weightArrays({ words, scales }), headShape(sizes)) },
      sizes,
    );
  },
  tolerance: 1e-5,
  cases: [
    sized({ rows: 1, dim: 1, vocab: 2, bits: 8 }),
    sized({ rows: 7, dim: 37, vocab: 41, bits: 4 }),
    sized({ rows: 65, dim: 64, vocab: 257, bits: 8 }),
  ],
  benches: [],
});
