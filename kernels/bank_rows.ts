/**
 * What kernels have in common that add an adapter to each row of up to three linears that share x, side by side in y.
 *
 * @module
 */
import type { Arrays, BufferSpec } from "./kernel.ts";
import { floatOf, recordWords } from "./record.ts";

/** The buffers of such a kernel, in binding order. */
export type BankBuffer = "x" | "slots" | "records" | "tables" | "values" | "y";

/** Its uniform words. */
export const bankUniforms = {
  rows: "u32",
  in: "u32",
  out0: "u32",
  out1: "u32",
  out2: "u32",
  linear: "u32",
  capacity: "u32",
} as const;
/** A call's uniform words. */
export type BankWords = Readonly<Record<keyof typeof bankUniforms, number>>;

/** The buffers' specifications, with what is the kernel's own. */
export function bankBuffers(
  { records, tables, values }: { readonly records: string; readonly tables: string; readonly values: string },
): Record<BankBuffer, BufferSpec> {
  const read = (dtype: "float32" | "uint32", doc: string): BufferSpec => ({
    access: "read",
    dtypes: [dtype],
    doc,
  });
  return {
    x: read("float32", "(rows, in), row-major"),
    slots: read("uint32", "(rows): the row's slot; one of capacity or more has no adapter"),
    records: read("uint32", `(linears, capacity, 4): ${records}`),
    tables: read("uint32", tables),
    values: read("float32", values),
    y: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "(rows, out0 + out1 + out2), row-major, added to; out1 and out2 may be 0",
    },
  };
}

/** Workgroups of a call, where each has a row and a piece of one linear's outputs. */
export const piecesOf = ({ rows, out0, out1, out2 }: BankWords, size: number): number =>
  rows * [out0, out1, out2].reduce((sum, out) => sum + Math.ceil(out / size), 0);

/** The bindings' declarations. */
export const bankBindings = /* wgsl */ `
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> tables: array<u32>;
@group(0) @binding(5) var<storage, read> values: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
`;

/**
 * The begin of an entry point: the workgroup's `row`, its `piece` of `out` outputs, the row's `record`, and where the
 * linear's outputs of the row start in y. It returns where there is nothing to add.
 *
 * @param index The workgroup's number.
 * @param size Outputs of a piece.
 */
export const findRow = (index: string, size: string): string => /* wgsl */ `
  let place = ${index};
  let first = (uniforms.out0 + ${size} - 1) / ${size};
  let second = first + (uniforms.out1 + ${size} - 1) / ${size};
  let all = second + (uniforms.out2 + ${size} - 1) / ${size};
  let row = place / all;
  if (row >= uniforms.rows) { return; }
  var piece = place % all;
  var number = 0u;
  var out = uniforms.out0;
  var y_at = row * (uniforms.out0 + uniforms.out1 + uniforms.out2);
  if (piece >= second) {
    number = 2; out = uniforms.out2; y_at += uniforms.out0 + uniforms.out1; piece -= second;
  } else if (piece >= first) {
    number = 1; out = uniforms.out1; y_at += uniforms.out0; piece -= first;
  }
  let slot = slots[row];
  if (slot >= uniforms.capacity) { return; }
  let record = records[(uniforms.linear + number) * uniforms.capacity + slot];
  if (record.z == 0) { return; }
`;

/** A row's adapter of one linear: its record, and its part of y. */
export interface AdaptedRow {
  readonly row: number;
  readonly out: number;
  /** First element in y. */
  readonly at: number;
  readonly table: number;
  readonly values: number;
  readonly count: number;
  readonly scale: number;
}

/** Calls `body` for every row and linear with an adapter, row by row. */
export function forEachAdapted(
  { slots, records }: Pick<Arrays<BankBuffer>, "slots" | "records">,
  { rows, out0, out1, out2, linear, capacity }: BankWords,
  body: (adapted: AdaptedRow) => void,
): void {
  for (let row = 0; row < rows; row++) {
    if (slots[row] >= capacity) continue;
    let at = row * (out0 + out1 + out2);
    [out0, out1, out2].forEach((out, i) => {
      const record = ((linear + i) * capacity + slots[row]) * recordWords;
      const count = out > 0 ? records[record + 2] : 0;
      if (count > 0) {
        const scale = floatOf(records[record + 3]);
        body({ row, out, at, table: records[record], values: records[record + 1], count, scale });
      }
      at += out;
    });
  }
}
