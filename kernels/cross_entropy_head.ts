import { crossEntropyCpu, crossEntropyReference } from "./cross_entropy/cpu.ts";
import { crossEntropyLaunch, type Uniforms, uniforms } from "./cross_entropy/launch.ts";
import { crossEntropyWasm } from "./cross_entropy/wasm.ts";
import type { WeightFormat } from "./formats/format.ts";
import { type OfFormats, ofFormats } from "./formats/of.ts";
import { defineKernel, type Kernel } from "./kernel.ts";

function ofFormat(format: WeightFormat, name: string): Kernel<string, Uniforms> {
  return defineKernel<string, Uniforms>({
    name,
    doc:
      "with logits = hidden W^T: losses[r] = log of the sum of exp(logits[r]) - logits[r, targets[r]], and " +
      "dhidden[r] = scale (softmax(logits[r]) - one at targets[r]) W. A target of vocab or more (0xffffffff: none) " +
      "gives zeros. A softcap that is not 0 takes softcap tanh(logit / softcap) in place of each logit. " +
      `Logits take 32 MiB at most, or one row. W (vocab, dim) is of ${format.doc}`,
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
    wasm: (sizes, types) => crossEntropyWasm({ format, types }, sizes, "dhidden"),
    tolerance: 1e-5,
  });
}

/** Output projection, cross-entropy and its gradient, without the logits of all rows at once. */
export const crossEntropyHead: OfFormats<"hidden" | "targets" | "losses" | "dhidden", Uniforms> = ofFormats(
  "cross_entropy_head",
  ofFormat,
);
