import type { TextSize } from "./formats/format.ts";
import { defineKernel, type Kernel, type Launch, type Limits } from "./kernel.ts";
import { product } from "./linear/cpu.ts";
import { shortest, turnedBytes } from "./linear/transposed_wasm.ts";
import { itemsOf, turningB } from "./lora/wasm.ts";
import { floats, type Operand, partialScratch, productLaunch } from "./linear/product.ts";

type Buffers = "x" | "values" | "y";
type Uniforms = keyof typeof uniforms;
type Sizes = Readonly<Record<Uniforms, number>>;

const uniforms = { rows: "u32", in: "u32", out: "u32", rank: "u32", offset: "u32", scale: "f32" } as const;

/** Two products: A x of each row, then B of that. */
function launch(u: Sizes, limits: Limits): Launch {
  const size = (name: Uniforms): TextSize => ({ count: u[name], text: `uniforms.${name}` });
  const rows = size("rows"), inSize = size("in"), out = size("out"), rank = size("rank");
  const matrix = (name: string, shape: Operand["shape"], base?: TextSize): Operand => ({
    stored: floats({ name, base }),
    along: "inner",
    shape,
  });
  const bBase = { count: u.offset + u.rank * u.in, text: "uniforms.offset + uniforms.rank * uniforms.in" };
  const products = [
    productLaunch({
      uniforms,
      x: matrix("x", [rows, inSize]),
      weight: matrix("values", [rank, inSize], size("offset")),
      y: { name: "down", put: "down[row * uniforms.rank + column] = value;" },
      rows,
      columns: rank,
      inner: inSize,
    }, limits),
    productLaunch({
      uniforms,
      x: matrix("down", [rows, rank]),
      weight: matrix("values", [out, rank], bBase),
      y: { name: "y", put: "y[row * uniforms.out + column] += uniforms.scale * value;" },
      rows,
      columns: out,
      inner: rank,
    }, limits),
  ];
  return {
    dispatches: products.flatMap(({ dispatches }) => dispatches),
    scratch: { down: 4 * u.rows * u.rank, ...partialScratch(products) },
  };
}

function cpu(arrays: Readonly<Record<Buffers, unknown>>, u: Sizes): void {
  const { x, values, y } = arrays as Record<Buffers, Float32Array>;
  const { rows, in: inSize, out, rank, offset, scale } = u;
  const middle = offset + rank * inSize;
  const down = new Float32Array(rows * rank);
  product({ x, weight: values.subarray(offset, middle), y: down }, {
    rows,
    inSize,
    outSize: rank,
    accumulate: false,
  });
  for (let i = 0; i < down.length; i++) down[i] *= scale;
  product({ x: down, weight: values.subarray(middle, middle + out * rank), y }, {
    rows,
    inSize: rank,
    outSize: out,
    accumulate: true,
  });
}

/** A low-rank update that every row shares: training's forward, where lora_linear would look up each row's own. */
export const loraProduct: Kernel<Buffers, Uniforms> = defineKernel({
  name: "lora_product",
  doc: "y[r] += scale B (A x[r]) of one low-rank update for all rows; A x is rounded once in between",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "from element `offset` on: A (rank, in), then B (out, rank), row-major, as in lora_linear",
    },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), row-major, added to" },
  },
  uniforms,
  launch({ uniforms }, limits) {
    if (uniforms.rank < 1) {
      throw new RangeError("Cannot apply an update of rank 0: the rank must be positive");
    }
    return launch(uniforms, limits);
  },
  reference({ x, values, y }, { rows, in: inSize, out, rank, offset, scale }) {
    const middle = offset + rank * inSize;
    for (let r = 0; r < rows; r++) {
      const down = new Float64Array(rank);
      for (let k = 0; k < rank; k++) {
        for (let i = 0; i < inSize; i++) down[k] += values[offset + k * inSize + i] * x[r * inSize + i];
      }
      for (let o = 0; o < out; o++) {
        let sum = 0;
        for (let k = 0; k < rank; k++) sum += values[middle + o * rank + k] * down[k];
        y[r * out + o] += scale * sum;
      }
    }
  },
  cpu,
  wasm: ({ rows, in: inSize, out, rank, offset, scale }) => ({
    before: rank > shortest ? [] : [turningB({ in: inSize, out, rank, offset })],
    function: "lora_product",
    args: ["x", "values", "y", "down", "across", rows, inSize, out, rank, offset, scale],
    items: itemsOf(rows),
    work: rows * rank * (inSize + out),
    scratch: { down: 4 * rows * rank, across: turnedBytes({ rows: out, columns: rank }) },
  }),
  tolerance: 1e-5,
});
