import { crossEntropyCpu, crossEntropyReference } from "./cross_entropy/cpu.ts";
import { crossEntropyLaunch, type Uniforms, uniforms } from "./cross_entropy/launch.ts";
import { crossEntropyWasm } from "./cross_entropy/wasm.ts";
import { crossEntropyHead } from "./cross_entropy_head.ts";
import type { WeightFormat } from "./formats/format.ts";
import { type OfFormats, ofFormats } from "./formats/of.ts";
import { defineKernel, type Kernel } from "./kernel.ts";

function ofFormat(format: WeightFormat, name: string): Kernel<string, Uniforms> {
  const head = crossEntropyHead.of(format), { dhidden: _, ...buffers } = head.buffers;
  return defineKernel<string, Uniforms>({
    name,
    doc: `losses as of ${head.name}, without the gradient; scale is not used`,
    buffers,
    uniforms,
    launch: ({ uniforms: sizes, dtypes: types }, limits) =>
      crossEntropyLaunch(sizes, { weight: { format, types }, gradient: false }, limits),
    reference: (arrays, sizes) => crossEntropyReference(format, arrays, sizes),
    cpu: (arrays, sizes) => crossEntropyCpu(format, arrays, sizes),
    wasm: (sizes, types) => crossEntropyWasm({ format, types }, sizes, 0),
    tolerance: head.tolerance,
  });
}

/** Output projection and cross-entropy alone, to evaluate. */
export const crossEntropyLoss: OfFormats<"hidden" | "targets" | "losses", Uniforms> = ofFormats(
  "cross_entropy_loss",
  ofFormat,
);
