import { type Arrays, defineKernel, type Kernel } from "./kernel.ts";
import { held } from "./parts.ts";
import { rotateRow, rotationLaunch, sizes } from "./rotate/text.ts";

type Buffers = "x" | "slots" | "records" | "values" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = {
  ...sizes,
  /** Linears that share x: 1 to 3. */
  linears: "u32",
  /** `skipped` of the second and the third linear. */
  skipped1: "u32",
  skipped2: "u32",
} as const;
type Words = Readonly<Record<Uniforms, number>>;

function rotated({ x, y, ...bank }: Arrays<Buffers>, words: Words): void {
  const { rows, in: inSize, linear, linears, skipped, skipped1, skipped2 } = words;
  [skipped, skipped1, skipped2].slice(0, linears).forEach((skipped, i) => {
    for (let row = 0; row < rows; row++) {
      const place = { row, linear: linear + i, begin: (i * rows + row) * inSize };
      rotateRow({ ...bank, x, to: y }, place, { ...words, skipped });
    }
  });
}

/** `rotate_blocks` for all linears that share x: what OFT and BOFT do before their products. */
export const rotateInputs: Kernel<Buffers, Uniforms> = defineKernel({
  name: "rotate_inputs",
  doc:
    "y[i, r] = x[r] with each block times its matrix of adapter slots[r] for linear `linear` + i; block b has matrix b mod the " +
    "number of them; rows without an adapter, and linears whose record's count is 0, have x[r] as it is",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    slots: { access: "read", dtypes: ["uint32"], doc: "(rows); capacity or more: no adapter" },
    records: { access: "read", dtypes: ["uint32"], doc: "(linears, capacity, 4): as of rotate_blocks" },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "at a record's offset: `skipped` numbers, then (matrices, count, count), row-major",
    },
    y: { access: "read_write", dtypes: ["float32"], doc: "(linears, rows, in), row-major" },
  },
  uniforms,
  launch: ({ uniforms: words }, limits) =>
    rotationLaunch({ uniforms, source: held("x"), target: "y", linears: words.linears }, words, limits),
  reference: rotated,
  tolerance: 1e-6,
});
