/**
 * `fourier_gradient`: the gradient of a sparse spectrum's coefficients, without a dense weight gradient.
 *
 * dc_l = scale * Re SUM_t G_t[u_l] X_t[v_l], where X and G are the transforms (sign +) of row t of x and of dy. Two
 * transforms a row, the coefficients' sums in registers; parts of the rows are summed apart and then in a fixed order, so
 * equal calls give equal bits.
 *
 * @module
 */
import { realTransform } from "./fft/cpu.ts";
import { transformsInWasm, turnsTable } from "./fft/wasm.ts";
import { launchGradient, type Uniforms, uniforms } from "./fourier/gradient.ts";
import { type Arrays, defineKernel, type Kernel, type WasmCall } from "./kernel.ts";

type Buffer = "x" | "dy" | "frequencies" | "gradient";

/** One bin of a row's transform, by its sum. */
function bin(
  row: ArrayLike<number>,
  at: number,
  { length, k }: { length: number; k: number },
): [number, number] {
  let re = 0;
  let im = 0;
  for (let q = 0; q < length; q++) {
    const angle = 2 * Math.PI * (q * k % length) / length;
    re += row[at + q] * Math.cos(angle);
    im += row[at + q] * Math.sin(angle);
  }
  return [re, im];
}

function reference({ x, dy, frequencies, gradient }: Arrays<Buffer>, u: Uniforms): void {
  for (let e = 0; e < u.count; e++) {
    let sum = 0;
    for (let row = 0; row < u.rows; row++) {
      const [gr, gi] = bin(dy, row * u.out, { length: u.out, k: frequencies[2 * e] });
      const [xr, xi] = bin(x, row * u.in, { length: u.in, k: frequencies[2 * e + 1] });
      sum += gr * xr - gi * xi;
    }
    gradient[e] = (u.accumulate ? gradient[e] : 0) + Math.fround(u.scale) * sum;
  }
}

function cpu(arrays: Arrays<Buffer>, u: Uniforms): void {
  const x = arrays.x as Float32Array;
  const dy = arrays.dy as Float32Array;
  const frequencies = arrays.frequencies as Uint32Array;
  const gradient = arrays.gradient as Float32Array;
  const input = realTransform(u.in);
  const output = realTransform(u.out);
  const xRe = new Float64Array(u.in);
  const xIm = new Float64Array(u.in);
  const sums = new Float64Array(u.count);
  for (let row = 0; row < u.rows; row++) {
    input.analyse(x, row * u.in);
    // The same transform serves dy where the lengths are equal: keep x's bins.
    xRe.set(input.analysed.re);
    xIm.set(input.analysed.im);
    output.analyse(dy, row * u.out);
    const { re, im } = output.analysed;
    for (let e = 0; e < u.count; e++) {
      const k = frequencies[2 * e];
      const v = frequencies[2 * e + 1];
      sums[e] += re[k] * xRe[v] - im[k] * xIm[v];
    }
  }
  const scale = Math.fround(u.scale);
  for (let e = 0; e < u.count; e++) gradient[e] = (u.accumulate ? gradient[e] : 0) + scale * sums[e];
}

/** Rows whose products one part adds up; as in kernels/assembly/fourier.ts. */
const rowsOfSum = 64;

/** The same on the CPU device's module, for lengths that it transforms. */
function wasm(u: Uniforms): WasmCall | undefined {
  if (!transformsInWasm(u.in) || !transformsInWasm(u.out)) return undefined;
  const parts = Math.ceil(u.rows / rowsOfSum), points = u.in + u.out;
  return {
    before: [{
      function: "fourier_sums",
      args: [
        ...["x", "dy", "frequencies", "in", "out", "sums", "spectra", "work"],
        ...[u.rows, u.in, u.out, u.count],
      ],
      items: parts,
      work: u.rows * (4 * points * Math.log2(points) + 4 * u.count),
    }],
    function: "fourier_gradient",
    args: ["sums", "gradient", parts, u.count, u.scale, u.accumulate],
    items: Math.ceil(u.count / 64),
    work: 4 * u.count * parts,
    tables: { in: turnsTable(u.in), out: turnsTable(u.out) },
    scratch: { sums: 8 * u.count * parts },
    each: {
      spectra: 4 * 8 * (u.in + u.out),
      work: 4 * (2 * Math.max(u.in, u.out) + 512),
    },
  };
}

/** See the module's documentation. */
export const fourierGradient: Kernel<Buffer, keyof typeof uniforms> = defineKernel({
  name: "fourier_gradient",
  doc:
    "gradient (count) = or += scale * Re SUM_rows G[u] X[v] of one adapter's coefficients, X and G the transforms of x " +
    "(rows, in) and dy (rows, out), scale = scaling / (out * in). Any lengths from 1 to 2^20.",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in)" },
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, out)" },
    frequencies: { access: "read", dtypes: ["uint32"], doc: "(count, 2): u, v of each coefficient" },
    gradient: { access: "read_write", dtypes: ["float32"], doc: "(count)" },
  },
  uniforms,
  launch: ({ uniforms }, limits) => launchGradient(uniforms, limits),
  reference,
  cpu,
  wasm,
  tolerance: 1e-6,
});
