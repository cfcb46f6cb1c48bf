/**
 * Products by formats whose numbers need more than a scale, as calls of the WASM module (kernels/assembly/blocks.ts).
 *
 * @module
 */
import type { WasmCall } from "../kernel.ts";
import { outputsOf, type ProductSizes } from "./format.ts";
import { groupsAtOnce, roundedX } from "./packed_x.ts";
import { blocksOf } from "./q32/blocks.ts";

/** What the function knows formats by. */
const kinds = { q4z_32: 0, nf4_32: 1, q4_k: 2, q6_k: 3 } as const;

/** A product by a weight of a format, with buffers `x`, `words`, `scales`, `y` and maybe `bias`. */
export function blocksWasm(
  format: keyof typeof kinds,
  { rows, in: inSize, out, accumulate }: ProductSizes,
  bias: "bias" | 0,
): WasmCall {
  const groups = format === "nf4_32" ? 0 : groupsAtOnce(rows, inSize);
  const own = 32 * (groups ? 9 * groups : format === "nf4_32" && rows > 3 ? 9 : 1);
  const x = roundedX({ rows, in: inSize }, format.startsWith("q4") ? "fourths" : "halves", groups > 0);
  return {
    before: [x.step],
    function: "blocks_linear",
    args: [
      ...["packed", "words", "scales", bias, "y", out, "wide", groups],
      ...[rows, inSize, out, kinds[format], accumulate],
    ],
    items: groups ? Math.ceil(out / 4) : outputsOf(out, false),
    work: rows * inSize * out,
    scratch: { packed: x.bytes },
    each: { wide: 32 + own * blocksOf(inSize) },
    // It rounds x to 16 bits, and NF4's numbers to 15: 3e-5 of the result.
    tolerance: 1e-4,
  };
}
