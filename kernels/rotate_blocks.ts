import { type Arrays, defineKernel, type Kernel } from "./kernel.ts";
import { held } from "./parts.ts";
import { rotateRow, rotationLaunch, type Sizes, sizes } from "./rotate/text.ts";

type Buffers = "slots" | "records" | "values" | "x";
type Uniforms = keyof typeof sizes;

function rotated({ x, ...bank }: Arrays<Buffers>, words: Sizes): void {
  for (let row = 0; row < words.rows; row++) {
    rotateRow({ ...bank, x, to: x }, { row, linear: words.linear, begin: row * words.in }, words);
  }
}

/** A matrix for each block of x, of each row's own adapter: what OFT and BOFT do before the product. */
export const rotateBlocks: Kernel<Buffers, Uniforms> = defineKernel({
  name: "rotate_blocks",
  doc:
    "each block of x[r] = itself times its matrix of adapter slots[r]; block b has matrix b mod the number of them; rows " +
    "without an adapter, and those whose record's count is 0, stay as they are",
  buffers: {
    slots: { access: "read", dtypes: ["uint32"], doc: "(rows); capacity or more: no adapter" },
    records: {
      access: "read",
      dtypes: ["uint32"],
      doc:
        "(linears, capacity, 4): see record.ts; the count is that of a block's columns, up to 4096, which divides `in`, and " +
        "the factor the number of matrices",
    },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "at a record's offset: `skipped` numbers, then (matrices, count, count), row-major",
    },
    x: { access: "read_write", dtypes: ["float32"], doc: "(rows, in), row-major, in place" },
  },
  uniforms: sizes,
  launch: ({ uniforms: words }, limits) =>
    rotationLaunch({ uniforms: sizes, source: held("x", "read_write"), linears: 1 }, words, limits),
  consume: {
    buffer: "x",
    launch: ({ uniforms: words }, limits, parts) =>
      parts.count === words.rows * words.in
        ? rotationLaunch({ uniforms: sizes, source: parts.source("x"), linears: 1 }, words, limits)
        : undefined,
  },
  reference: rotated,
  tolerance: 1e-6,
});
