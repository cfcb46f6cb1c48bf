import type { WeightFormat } from "./formats/format.ts";
import { type OfFormats, ofFormats } from "./formats/of.ts";
import { defineKernel, type Kernel } from "./kernel.ts";
import { transposedLaunch } from "./linear/launch.ts";
import { transposedProduct } from "./linear/transposed_cpu.ts";
import { transposedItems, transposedScratch } from "./linear/transposed_wasm.ts";
import { uniforms } from "./linear/wgsl.ts";

type Uniforms = keyof typeof uniforms;

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
    wasm({ rows, in: inSize, out, accumulate }, types) {
      const weight = format.wasmWeight?.(types);
      if (!weight) return undefined;
      const { args, bits } = weight;
      const cut = transposedItems({ rows, inner: bits === 32 ? out : Infinity, columns: inSize });
      return {
        function: "linear_transposed",
        args: ["dy", ...args, bits, "dx", "scratch", rows, inSize, out, accumulate, ...cut.args],
        items: cut.items,
        work: rows * inSize * out,
        each: { scratch: transposedScratch({ inner: out, columns: inSize }) },
        halves: bits === 16 ? [args[0]] : [],
      };
    },
    tolerance: 1e-5,
  });
}

/** The linear layer's gradient by its input. */
export const linearTransposed: OfFormats<"dy" | "dx", Uniforms> = ofFormats("linear_transposed", ofFormat);
