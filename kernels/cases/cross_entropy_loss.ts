import type { WeightFormat } from "../formats/format.ts";
import { crossEntropyHeadCases } from "./cross_entropy_head.ts";
import { crossEntropyLoss } from "../cross_entropy_loss.ts";
import { casesFor, type KernelCases } from "./case.ts";
import type { CaseBy } from "./weights.ts";

/** A case of the kernel with the gradient, without it. */
function withoutGradient(
  { make, ...rest }: CaseBy<typeof crossEntropyLoss>,
): CaseBy<typeof crossEntropyLoss> {
  return {
    ...rest,
    make(random) {
      const { dhidden: _, ...arrays } = make(random);
      return arrays;
    },
  };
}

/** Cases by a weight of a format. */
export function crossEntropyLossCases(format: WeightFormat): KernelCases {
  const { cases, benches } = crossEntropyHeadCases(format);
  return casesFor(crossEntropyLoss.of(format), {
    cases: cases.map(withoutGradient),
    benches: benches.map(({ bytes, flops, ...rest }) => ({
      ...withoutGradient(rest),
      bytes: bytes / 2,
      flops: flops! / 2,
    })),
  });
}
