/**
 * `fourier_linears`: `fourier_linear` of up to three linears that share x (q, k and v; gate and up), in one launch.
 *
 * @module
 */
import { besideParts } from "./fourier/beside.ts";
import { cpuLinears, referenceLinears } from "./fourier/linears_cpu.ts";
import { launchLinears, type Linears, type LinearsBuffer, shapeOf } from "./fourier/linears.ts";
import { wasmLinears } from "./fourier/linears_wasm.ts";
import { mixedArrays, mixedBank, type MixedSize } from "./fourier/linears_case.ts";
import { fourierLinear } from "./fourier_linear.ts";
import { type Bench, type Case, defineKernel, type Kernel } from "./kernel.ts";

const uniforms = {
  rows: "u32",
  in: "u32",
  out0: "u32",
  out1: "u32",
  out2: "u32",
  layer: "u32",
  capacity: "u32",
} as const;
type Uniforms = Readonly<Record<keyof typeof uniforms, number>>;
type Size = MixedSize & { readonly outs: readonly [number, number?, number?] };

/** Absent linears come last: one of length 0 before another is refused as a length. */
function linearsOf({ out0, out1, out2, ...rest }: Uniforms): Linears {
  const outs = [out0, out1, out2];
  while (outs.length > 1 && outs.at(-1) === 0) outs.pop();
  return { ...rest, outs };
}

function mixed(name: string, size: Size): Case<LinearsBuffer, keyof typeof uniforms> {
  const [out0, out1 = 0, out2 = 0] = size.outs;
  return {
    name,
    uniforms: { rows: size.rows, in: size.in, out0, out1, out2, ...mixedBank(size) },
    make: (random) => mixedArrays(size, random),
  };
}

function bench(size: Size): Bench<LinearsBuffer, keyof typeof uniforms> {
  const columns = size.outs.reduce<number>((sum, out) => sum + (out ?? 0), 0);
  return {
    ...mixed(`${size.outs.join(", ")} x ${size.in}, T = ${size.rows}`, size),
    // A test's case has rows without an adapter, too: here all have one, as the bytes are counted.
    make: (random) => ({ ...mixedArrays(size, random), slots: new Uint32Array(size.rows) }),
    bytes: 4 * size.rows * (size.in + 2 * columns),
  };
}

const qkv = [4096, 1024, 1024] as const;
const gateUp = [8192, 8192] as const;

/** See the module's documentation. */
export const fourierLinears: Kernel<LinearsBuffer, keyof typeof uniforms> = defineKernel({
  name: "fourier_linears",
  doc:
    "y (rows, out0 + out1 + out2) += x (rows, in) dW^T of up to three linears, side by side; an out of 0 is absent. " +
    "Linear i of row r has the dW of adapter slots[r] at layer + i, or none. Any lengths from 1 to 2^20.",
  buffers: {
    ...fourierLinear.buffers,
    y: { ...fourierLinear.buffers.y, doc: "(rows, out0 + out1 + out2), added to" },
  },
  uniforms,
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
  cases: [
    mixed("one linear", { rows: 3, in: 12, outs: [8], adapters: [9] }),
    mixed("one element each", { rows: 2, in: 1, outs: [1, 1, 1], adapters: [1] }),
    mixed("the first alone has coefficients", { rows: 4, in: 8, outs: [12, 12], adapters: [3, 2, 0] }),
    mixed("odd between even", { rows: 3, in: 10, outs: [16, 7, 6], adapters: [30, 12] }),
    mixed("q, k, v: 256, 64, 64 x 256", { rows: 5, in: 256, outs: [256, 64, 64], adapters: [500, 90] }),
    mixed("gate, up: 2 x 768 x 256", { rows: 3, in: 256, outs: [768, 768], adapters: [1000, 200] }),
    mixed("three lengths", { rows: 2, in: 96, outs: [37, 768, 130], adapters: [100] }),
    mixed("many rows, x once", { rows: 259, in: 24, outs: [128, 7, 128], adapters: [40, 3, 0] }),
    mixed("residues in and in one out", { rows: 3, in: 18944, outs: [64, 17408, 37], adapters: [40, 2] }),
  ],
  benches: [
    ...[1, 64, 4096].map((rows) => bench({ rows, in: 4096, outs: qkv, adapters: [1000] })),
    ...[1, 64, 4096].map((rows) => bench({ rows, in: 2048, outs: gateUp, adapters: [1000] })),
  ],
});
