import { type Arrays, defineKernel, type Kernel, type Launch, type Limits } from "./kernel.ts";
import { product } from "./linear/cpu.ts";
import { partialScratch, productLaunch } from "./linear/product.ts";
import { patternWgsl } from "./svft/pattern.ts";
import {
  downOf,
  gateWgsl,
  matrix,
  sizeOf,
  sparseRows,
  threads,
  uniforms,
  upBase,
  type Words,
} from "./svft/shared.ts";

type Buffers = "x" | "factors" | "pattern" | "values" | "y";
type Uniforms = keyof Words;

/** V x of each row, M of that, then U of that. */
function launch(words: Words, limits: Limits): Launch {
  const size = sizeOf(words), rows = size("rows"), inSize = size("in"), out = size("out"), n = size("n");
  const down = productLaunch({
    uniforms,
    x: matrix("x", "inner", [rows, inSize]),
    weight: matrix("factors", "inner", [n, inSize]),
    y: { name: "down", put: "down[row * uniforms.n + column] = value;" },
    rows,
    columns: n,
    inner: inSize,
  }, limits);
  const up = productLaunch({
    uniforms,
    x: matrix("middle", "inner", [rows, n]),
    weight: matrix("factors", "inner", [out, n], upBase(words)),
    y: { name: "y", put: "y[row * uniforms.out + column] += value;" },
    rows,
    columns: out,
    inner: n,
  }, limits);
  const middle = threads({
    count: words.rows * words.n,
    bindings: [
      { name: "down", access: "read" },
      { name: "pattern", access: "read" },
      { name: "values", access: "read" },
      { name: "middle", access: "read_write" },
    ],
    body: /* wgsl */ `
  if (i >= uniforms.rows * uniforms.n) { return; }
  let start = i / uniforms.n * uniforms.n;
  let own = i % uniforms.n;
  let end = ${patternWgsl.rowStart("own + 1")};
  var sum = 0.0;
  for (var k = ${patternWgsl.rowStart("own")}; k < end; k++) {
    let e = ${patternWgsl.ofRow("k")};
    sum += values[uniforms.offset + e] * down[start + ${patternWgsl.column("e")}];
  }
  middle[i] = sum * (${gateWgsl});`,
  }, limits);
  const bytes = 4 * words.rows * words.n;
  return {
    dispatches: [...down.dispatches, middle, ...up.dispatches],
    scratch: { down: bytes, middle: bytes, ...partialScratch([down, up]) },
  };
}

function cpu(arrays: Arrays<Buffers>, words: Words): void {
  const { x, factors, values, y } = arrays as Record<Buffers, Float32Array>;
  const { rows, in: inSize, out, n } = words, pattern = arrays.pattern as Uint32Array;
  const down = downOf(x, factors, words), middle = new Float32Array(rows * n);
  sparseRows({ from: down, to: middle, values, pattern }, words);
  product({ x: middle, weight: factors.subarray(n * inSize, n * (inSize + out)), y }, {
    ...{ rows, inSize: n, outSize: out, accumulate: true },
  });
}

/** SVFT's update that every row shares: training's forward, where svft_linear would look up each row's own. */
export const svftProduct: Kernel<Buffers, Uniforms> = defineKernel({
  name: "svft_product",
  doc:
    "y[r] += sigma(gate) U (M (V x[r])) of one sparse matrix M (n, n) for all rows, entries of one place added up; " +
    "V x and M (V x) are rounded in between",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    factors: { access: "read", dtypes: ["float32"], doc: "V (n, in), then U (out, n), row-major" },
    pattern: {
      access: "read",
      dtypes: ["uint32"],
      doc: "each entry's row, each entry's column; n + 1 starts and the entries by row; the same by column",
    },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "from element `offset` on: the entries, then the gate",
    },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), row-major, added to" },
  },
  uniforms,
  launch: ({ uniforms: words }, limits) => launch(words, limits),
  reference(arrays, words) {
    const { x, factors, values, y } = arrays, { rows, in: inSize, out, n } = words;
    const down = new Float64Array(rows * n), middle = new Float64Array(rows * n), up = n * inSize;
    for (let r = 0; r < rows; r++) {
      for (let k = 0; k < n; k++) {
        for (let i = 0; i < inSize; i++) down[r * n + k] += factors[k * inSize + i] * x[r * inSize + i];
      }
    }
    sparseRows({ from: down, to: middle, values, pattern: arrays.pattern as Uint32Array }, words);
    for (let r = 0; r < rows; r++) {
      for (let o = 0; o < out; o++) {
        let sum = 0;
        for (let k = 0; k < n; k++) sum += factors[up + o * n + k] * middle[r * n + k];
        y[r * out + o] += sum;
      }
    }
  },
  cpu,
  tolerance: 1e-5,
});
