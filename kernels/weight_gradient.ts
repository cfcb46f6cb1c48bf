import type { TextSize } from "./formats/format.ts";
import { defineKernel, type Kernel, type Launch, type Limits } from "./kernel.ts";
import { floats, type Operand, partialScratch, productLaunch } from "./linear/product.ts";
import { transposedProduct } from "./linear/transposed_cpu.ts";
import { transposedItems, transposedScratch, turnedBytes, turning } from "./linear/transposed_wasm.ts";

type Buffers = "dy" | "x" | "gradient";
type Uniforms = keyof typeof uniforms;
type Sizes = Readonly<Record<Uniforms, number>>;

const uniforms = { rows: "u32", in: "u32", out: "u32", offset: "u32", scale: "f32" } as const;

function launch(u: Sizes, limits: Limits): Launch {
  const size = (name: Uniforms): TextSize => ({ count: u[name], text: `uniforms.${name}` });
  const rows = size("rows"), inSize = size("in"), out = size("out");
  const matrix = (name: string, shape: Operand["shape"]): Operand => ({
    stored: floats({ name }),
    along: "outer",
    shape,
  });
  const product = productLaunch({
    uniforms,
    x: matrix("dy", [rows, out]),
    weight: matrix("x", [rows, inSize]),
    y: {
      name: "gradient",
      put: "gradient[uniforms.offset + row * uniforms.in + column] += uniforms.scale * value;",
    },
    rows: out,
    columns: inSize,
    inner: rows,
  }, limits);
  return { dispatches: product.dispatches, scratch: partialScratch([product]) };
}

function cpu(arrays: Readonly<Record<Buffers, unknown>>, u: Sizes): void {
  const { dy, x, gradient } = arrays as Record<Buffers, Float32Array>;
  const { rows, in: inSize, out, offset, scale } = u;
  const turned = new Float32Array(rows * out);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < out; o++) turned[o * rows + r] = dy[r * out + o];
  }
  transposedProduct(
    { x: turned, weight: x, y: gradient.subarray(offset, offset + out * inSize) },
    { rows: out, inner: rows, columns: inSize, factor: scale, accumulate: true },
  );
}

/** The gradient of a linear layer's weight, where the weight is trained. */
export const weightGradient: Kernel<Buffers, Uniforms> = defineKernel({
  name: "weight_gradient",
  doc:
    "gradient[offset..] += scale dy^T x: the gradient of W (out, in) in y = x W^T; sums over rows are taken in " +
    "a fixed order",
  buffers: {
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, out), row-major" },
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    gradient: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "from element `offset` on: (out, in), row-major, added to",
    },
  },
  uniforms,
  launch: ({ uniforms }, limits) => launch(uniforms, limits),
  reference({ dy, x, gradient }, { rows, in: inSize, out, offset, scale }) {
    for (let o = 0; o < out; o++) {
      for (let i = 0; i < inSize; i++) {
        let sum = 0;
        for (let r = 0; r < rows; r++) sum += dy[r * out + o] * x[r * inSize + i];
        gradient[offset + o * inSize + i] += scale * sum;
      }
    }
  },
  cpu,
  wasm({ rows, in: inSize, out, offset, scale }) {
    const cut = transposedItems({ rows: out, inner: rows, columns: inSize });
    return {
      before: [turning("dy", "turned", { rows, columns: out })],
      function: "weight_gradient",
      args: ["turned", "x", "gradient", "scratch", rows, inSize, out, offset, scale, ...cut.args],
      items: cut.items,
      work: rows * inSize * out,
      scratch: { turned: turnedBytes({ rows, columns: out }) },
      each: { scratch: transposedScratch({ inner: rows, columns: inSize }) },
    };
  },
  tolerance: 1e-5,
});
