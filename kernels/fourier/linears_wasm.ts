/**
 * `fourier_linear` and `fourier_linears` as a call of the WASM module.
 *
 * @module
 */
import { transformsInWasm, turnsTable } from "../fft/wasm.ts";
import type { WasmCall } from "../kernel.ts";
import { type Linears, startOf } from "./linears.ts";

/** The call; undefined where a length is none that WASM transforms. */
export function wasmLinears({ rows, in: inSize, outs, linear, capacity }: Linears): WasmCall | undefined {
  const lengths = [inSize, ...outs];
  if (!lengths.every(transformsInWasm)) return undefined;
  const longest = Math.max(...lengths), absent = Array<number>(3 - outs.length).fill(0);
  const turns = outs.map((_, i) => `turns_out${i}`);
  return {
    function: "fourier_linears",
    args: [
      ...["x", inSize, "slots", "records", "tables", "values", "y", startOf(outs, outs.length)],
      ...["turns_in", ...turns, ...absent, "work", inSize, ...outs, ...absent, linear, capacity],
    ],
    items: rows,
    work: rows * lengths.reduce((work, length) => work + 4 * length * Math.log2(length), 0),
    // Rows of up to 1536 are transformed four at a time.
    each: { work: 4 * (longest > 1536 ? 5 * longest + 640 : 20 * longest + 640) },
    tables: {
      turns_in: turnsTable(inSize),
      ...Object.fromEntries(outs.map((out, i) => [turns[i], turnsTable(out)])),
    },
  };
}
