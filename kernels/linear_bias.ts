import type { WeightFormat } from "./formats/format.ts";
import { type OfFormats, ofFormats } from "./formats/of.ts";
import { defineKernel, type Kernel } from "./kernel.ts";
import { linear } from "./linear.ts";
import { linearLaunch, linearWays } from "./linear/launch.ts";
import { uniforms } from "./linear/wgsl.ts";

type Uniforms = keyof typeof uniforms;
type Run = Kernel<string, Uniforms>["reference"];

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
    wasm: format.wasm && ((sizes, types, bytes) => format.wasm!(sizes, "bias", types, bytes)),
    backward: plain.backward,
    tolerance: plain.tolerance,
  });
}

/** The linear layer with bias. */
export const linearBias: OfFormats<"x" | "bias" | "y", Uniforms> = ofFormats("linear_bias", ofFormat);
