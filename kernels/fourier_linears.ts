/**
 * `fourier_linears`: `fourier_linear` of up to three linears that share x (q, k and v; gate and up), in one launch.
 *
 * @module
 */
import { besideParts } from "./fourier/beside.ts";
import { cpuLinears, referenceLinears } from "./fourier/linears_cpu.ts";
import { launchLinears, type Linears, type LinearsBuffer, shapeOf } from "./fourier/linears.ts";
import { wasmLinears } from "./fourier/linears_wasm.ts";
import { fourierLinear } from "./fourier_linear.ts";
import { defineKernel, type Kernel } from "./kernel.ts";

const uniforms = {
  rows: "u32",
  in: "u32",
  out0: "u32",
  out1: "u32",
  out2: "u32",
  linear: "u32",
  capacity: "u32",
} as const;
type Uniforms = Readonly<Record<keyof typeof uniforms, number>>;

/** Absent linears come last: one of length 0 before another is refused as a length. */
function linearsOf({ out0, out1, out2, ...rest }: Uniforms): Linears {
  const outs = [out0, out1, out2];
  while (outs.length > 1 && outs.at(-1) === 0) outs.pop();
  return { ...rest, outs };
}

/** See the module's documentation. */
export const fourierLinears: Kernel<LinearsBuffer, keyof typeof uniforms> = defineKernel({
  name: "fourier_linears",
  doc:
    "y (rows, out0 + out1 + out2) += x (rows, in) dW^T of up to three linears, side by side; an out of 0 is absent. " +
    "Linear i of row r has the dW of adapter slots[r] at linear + i, or none. Any lengths from 1 to 2^20.",
  buffers: {
    ...fourierLinear.buffers,
    y: { ...fourierLinear.buffers.y, doc: "(rows, out0 + out1 + out2), added to" },
  },
  uniforms,
  adds: "y",
  launch: (call, limits) => launchLinears(linearsOf(call.uniforms), { uniforms, limits }),
  produce: {
    after: "linear",
    same: [["x", "x"], ["y", "y"]],
    takes: ["weight"],
    result: "y",
    parts(before, { uniforms: words }, limits) {
      const linears = linearsOf(words), shape = shapeOf(linears, { uniforms, limits });
      const { rows, in: inSize, out, accumulate } = before.uniforms;
      if (rows !== words.rows || inSize !== words.in || out !== shape.columns) return undefined;
      const weight = { in: inSize, dtype: before.dtypes.weight };
      return besideParts(shape, weight, { accumulate: accumulate !== 0, limits });
    },
  },
  reference: (arrays, words) => referenceLinears(arrays, linearsOf(words)),
  cpu: (arrays, words) => cpuLinears(arrays, linearsOf(words)),
  wasm: (words) => wasmLinears(linearsOf(words)),
  tolerance: 1e-6,
});
