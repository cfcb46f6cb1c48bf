import { type Case, defineKernel, type Kernel } from "./kernel.ts";
import { crossEntropyHead } from "./cross_entropy_head.ts";
import { crossEntropyCpu, crossEntropyReference } from "./cross_entropy/cpu.ts";
import { crossEntropyLaunch, type Uniforms, uniforms } from "./cross_entropy/launch.ts";

type Buffers = "hidden" | "weight" | "targets" | "losses";

/** A case of the kernel with the gradient, without it. */
function withoutGradient({ name, uniforms, dtypes, make }: typeof crossEntropyHead.cases[number]): Case<
  Buffers,
  Uniforms
> {
  return {
    name,
    uniforms,
    dtypes,
    make(random) {
      const { hidden, weight, targets, losses } = make(random);
      return { hidden, weight, targets, losses };
    },
  };
}

const { hidden, weight, targets, losses } = crossEntropyHead.buffers;

/** Output projection and cross-entropy alone, to evaluate. */
export const crossEntropyLoss: Kernel<Buffers, Uniforms> = defineKernel({
  name: "cross_entropy_loss",
  doc: "losses as of cross_entropy_head, without the gradient; scale is not used",
  buffers: { hidden, weight, targets, losses },
  uniforms,
  launch: ({ uniforms: sizes, dtypes }, limits) =>
    crossEntropyLaunch(sizes, {
      uniforms,
      weight: { name: "weight", dtype: dtypes.weight },
      gradient: false,
    }, limits),
  reference: crossEntropyReference,
  cpu: crossEntropyCpu,
  tolerance: 1e-5,
  cases: crossEntropyHead.cases.map(withoutGradient),
  benches: crossEntropyHead.benches.map(({ bytes, flops, ...rest }) => ({
    ...withoutGradient(rest),
    bytes: bytes / 2,
    flops: flops! / 2,
  })),
});
