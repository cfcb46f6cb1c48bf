import { crossEntropyLaunch } from "./cross_entropy/launch.ts";
import { defineKernel, type Kernel } from "./kernel.ts";
import { headWeight, quantizedCrossEntropyHead, uniforms } from "./quantized_cross_entropy_head.ts";

type Buffers = "hidden" | "words" | "scales" | "targets" | "losses";
type Uniforms = keyof typeof uniforms;

const { dhidden: _, ...buffers } = quantizedCrossEntropyHead.buffers;

/** Output projection and cross-entropy alone, the weight quantised. */
export const quantizedCrossEntropyLoss: Kernel<Buffers, Uniforms> = defineKernel({
  name: "quantized_cross_entropy_loss",
  doc: "losses as of quantized_cross_entropy_head, without the gradient; scale is not used",
  buffers,
  uniforms,
  launch: ({ uniforms: sizes, dtypes }, limits) =>
    crossEntropyLaunch(
      sizes,
      { uniforms, weight: headWeight(sizes, dtypes.scales), gradient: false },
      limits,
    ),
  reference: quantizedCrossEntropyHead.reference as Kernel<Buffers, Uniforms>["reference"],
  cpu: quantizedCrossEntropyHead.cpu as Kernel<Buffers, Uniforms>["cpu"],
  tolerance: 1e-5,
  cases: quantizedCrossEntropyHead.cases.map(({ make, ...rest }) => ({
    ...rest,
    make(random) {
      const { dhidden: _, ...arrays } = make(random);
      return arrays;
    },
  })),
  benches: [],
});
