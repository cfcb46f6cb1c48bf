import { dense } from "./formats/dense.ts";
import type { WeightFormat } from "./formats/format.ts";
import { type OfFormats, ofFormats } from "./formats/of.ts";
import { anyKernel, defineKernel, type Kernel } from "./kernel.ts";
import { linearLaunch, linearWays } from "./linear/launch.ts";
import { productsTogether } from "./linear/together.ts";
import { multiply } from "./linear/weight_cpu.ts";
import { uniforms } from "./linear/wgsl.ts";
import { linearTransposed } from "./linear_transposed.ts";

type Uniforms = keyof typeof uniforms;

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
    ...(format === dense ? { together: productsTogether } : {}),
    cpu: ({ x, y, ...weight }, sizes) => multiply(format, { x, y, ...weight }, sizes),
    wasm: format.wasm && ((sizes, types, bytes) => format.wasm!(sizes, 0, types, bytes)),
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
  });
}

/** The linear layer without bias. */
export const linear: OfFormats<"x" | "y", Uniforms> = ofFormats("linear", ofFormat);
