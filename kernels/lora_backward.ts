import type { TextSize } from "./formats/format.ts";
import { defineKernel, type Kernel, type Launch, type Limits, type WasmCall } from "./kernel.ts";
import { product } from "./linear/cpu.ts";
import { floats, type Operand, partialScratch, productLaunch } from "./linear/product.ts";
import type { Along } from "./linear/tiled.ts";
import { transposedProduct } from "./linear/transposed_cpu.ts";
import { panelsOf, transposedScratch, turnedBytes } from "./linear/transposed_wasm.ts";
import { itemsOf, turningB } from "./lora/wasm.ts";

type Buffers = "x" | "dy" | "values" | "gradient" | "dx";
type Uniforms = keyof typeof uniforms;
type Sizes = Readonly<Record<Uniforms, number>>;

const uniforms = { rows: "u32", in: "u32", out: "u32", rank: "u32", offset: "u32", scale: "f32" } as const;

/** Five products: A x and dy B of each row, then the gradients of A, of B and of x. */
function launch(u: Sizes, limits: Limits): Launch {
  const size = (name: Uniforms): TextSize => ({ count: u[name], text: `uniforms.${name}` });
  const rows = size("rows"), inSize = size("in"), out = size("out"), rank = size("rank");
  const matrix = (name: string, along: Along, shape: Operand["shape"], base?: TextSize): Operand => ({
    stored: floats({ name, base }),
    along,
    shape,
  });
  const a = (along: Along): Operand => matrix("values", along, [rank, inSize], size("offset"));
  const bBase = { count: u.offset + u.rank * u.in, text: "uniforms.offset + uniforms.rank * uniforms.in" };
  const add = (at: string): string => `${at} += uniforms.scale * value;`;
  const products = [
    productLaunch({
      uniforms,
      x: matrix("x", "inner", [rows, inSize]),
      weight: a("inner"),
      y: { name: "down", put: "down[row * uniforms.rank + column] = value;" },
      rows,
      columns: rank,
      inner: inSize,
    }, limits),
    productLaunch({
      uniforms,
      x: matrix("dy", "inner", [rows, out]),
      weight: matrix("values", "outer", [out, rank], bBase),
      y: { name: "ddown", put: "ddown[row * uniforms.rank + column] = value;" },
      rows,
      columns: rank,
      inner: out,
    }, limits),
    productLaunch({
      uniforms,
      x: matrix("ddown", "outer", [rows, rank]),
      weight: matrix("x", "outer", [rows, inSize]),
      y: { name: "gradient", put: add("gradient[uniforms.offset + row * uniforms.in + column]") },
      rows: rank,
      columns: inSize,
      inner: rows,
    }, limits),
    productLaunch({
      uniforms,
      x: matrix("dy", "outer", [rows, out]),
      weight: matrix("down", "outer", [rows, rank]),
      y: { name: "gradient", put: add(`gradient[${bBase.text} + row * uniforms.rank + column]`) },
      rows: out,
      columns: rank,
      inner: rows,
    }, limits),
    productLaunch({
      uniforms,
      x: matrix("ddown", "inner", [rows, rank]),
      weight: a("outer"),
      y: { name: "dx", put: add("dx[row * uniforms.in + column]") },
      rows,
      columns: inSize,
      inner: rank,
    }, limits),
  ];
  const hidden = 4 * u.rows * u.rank;
  return {
    dispatches: products.flatMap(({ dispatches }) => dispatches),
    scratch: { down: hidden, ddown: hidden, ...partialScratch(products) },
  };
}

/** A matrix (rows, columns), row-major, as (columns, rows). */
function transposed(matrix: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(matrix.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[c * rows + r] = matrix[r * columns + c];
  }
  return out;
}

/** The same five products; B's gradient is made transposed, for its lines are too short to add up fast. */
function cpu(arrays: Readonly<Record<Buffers, unknown>>, u: Sizes): void {
  const { x, dy, values, gradient, dx } = arrays as Record<Buffers, Float32Array>;
  const { rows, in: inSize, out, rank, offset, scale } = u;
  const middle = offset + rank * inSize, end = middle + out * rank;
  const a = values.subarray(offset, middle), b = values.subarray(middle, end);
  const down = new Float32Array(rows * rank), ddown = new Float32Array(rows * rank);
  product({ x, weight: a, y: down }, { rows, inSize, outSize: rank, accumulate: false });
  product(
    { x: dy, weight: transposed(b, out, rank), y: ddown },
    { rows, inSize: out, outSize: rank, accumulate: false },
  );
  transposedProduct(
    { x: transposed(ddown, rows, rank), weight: x, y: gradient.subarray(offset, middle) },
    { rows: rank, inner: rows, columns: inSize, factor: scale, accumulate: true },
  );
  const db = new Float32Array(rank * out);
  transposedProduct(
    { x: transposed(down, rows, rank), weight: dy, y: db },
    { rows: rank, inner: rows, columns: out, factor: scale, accumulate: false },
  );
  transposed(db, rank, out).forEach((value, i) => gradient[middle + i] += value);
  transposedProduct(
    { x: ddown, weight: a, y: dx },
    { rows, inner: rank, columns: inSize, factor: scale, accumulate: true },
  );
}

/** The same on the CPU device's module. */
function wasm({ rows, in: inSize, out, rank, offset, scale }: Sizes): WasmCall {
  const products = [
    { inner: rows, columns: out },
    { inner: rows, columns: inSize },
    { inner: rank, columns: inSize },
  ];
  const itemsOfA = panelsOf({ inner: rows, columns: inSize });
  return {
    before: [turningB({ in: inSize, out, rank, offset }), {
      function: "lora_rows",
      args: [
        ...["x", "dy", "values", "dx", "hidden", "turned", "across", "scratch"],
        ...[rows, inSize, out, rank, offset, scale],
      ],
      items: itemsOf(rows),
      work: rows * rank * (2 * inSize + out),
    }],
    function: "lora_gradients",
    args: [
      ...["x", "dy", "gradient", "turned", "across", "scratch"],
      ...[rows, inSize, out, rank, offset, scale, itemsOfA],
    ],
    items: itemsOfA + panelsOf({ inner: rows, columns: out }),
    work: rows * rank * (inSize + out),
    scratch: {
      hidden: 2 * 4 * rows * rank,
      turned: 2 * turnedBytes({ rows, columns: rank }),
      across: turnedBytes({ rows: out, columns: rank }),
    },
    each: {
      scratch: Math.max(...products.map(transposedScratch)),
    },
  };
}

/** All gradients of a low-rank update that every row shares. */
export const loraBackward: Kernel<Buffers, Uniforms> = defineKernel({
  name: "lora_backward",
  doc:
    "of y += scale B (A x): dA += scale sum over r of (B^T dy[r]) x[r]^T, dB += scale sum over r of dy[r] (A x[r])^T, " +
    "dx[r] += scale A^T (B^T dy[r]); sums over rows are taken in a fixed order",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, out), row-major" },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "from element `offset` on: A (rank, in), then B (out, rank), row-major, as in lora_linear",
    },
    gradient: { access: "read_write", dtypes: ["float32"], doc: "laid out as values, added to" },
    dx: { access: "read_write", dtypes: ["float32"], doc: "(rows, in), row-major, added to" },
  },
  uniforms,
  launch({ uniforms }, limits) {
    if (uniforms.rank < 1) throw new RangeError("Cannot take gradients of rank 0: the rank must be positive");
    return launch(uniforms, limits);
  },
  reference({ x, dy, values, gradient, dx }, { rows, in: inSize, out, rank, offset, scale }) {
    const middle = offset + rank * inSize;
    const sums = new Float64Array(rank * (inSize + out));
    for (let r = 0; r < rows; r++) {
      const back = new Float64Array(inSize);
      for (let k = 0; k < rank; k++) {
        let down = 0, ddown = 0;
        for (let i = 0; i < inSize; i++) down += values[offset + k * inSize + i] * x[r * inSize + i];
        for (let o = 0; o < out; o++) ddown += values[middle + o * rank + k] * dy[r * out + o];
        for (let i = 0; i < inSize; i++) {
          sums[k * inSize + i] += ddown * x[r * inSize + i];
          back[i] += ddown * values[offset + k * inSize + i];
        }
        for (let o = 0; o < out; o++) sums[rank * inSize + o * rank + k] += dy[r * out + o] * down;
      }
      back.forEach((sum, i) => dx[r * inSize + i] += scale * sum);
    }
    sums.forEach((sum, i) => gradient[offset + i] += scale * sum);
  },
  cpu,
  wasm: (sizes) => wasm(sizes),
  tolerance: 1e-5,
});
