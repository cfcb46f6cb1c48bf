/**
 * Products by a quantised weight as a call of the WASM module.
 *
 * @module
 */
import type { WasmCall } from "../kernel.ts";
import { blocksOf } from "./format.ts";
import type { Sizes } from "./launch.ts";

/** y = or += x W^T (+ bias). The scales are float32 on a CPU. */
export function wasmQuantized(
  { rows, in: inSize, out, bits, accumulate }: Sizes,
  bias: "bias" | 0,
): WasmCall {
  return {
    function: "quantized_linear",
    args: [
      ...["x", inSize, "words", "scales", bias, "y", out, "packed"],
      ...[rows, inSize, out, bits, accumulate],
    ],
    scratch: { packed: 72 * rows * blocksOf(inSize) },
    // It rounds x to 16 bits: 2e-5 of the result.
    tolerance: 1e-4,
  };
}
