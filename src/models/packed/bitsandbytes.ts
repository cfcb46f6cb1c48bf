/**
 * bitsandbytes in config.json. `bitsandbytes_weights.ts` reads the weights, and is loaded with the first of them.
 *
 * @module
 */
import type { JsonObject } from "../../json.ts";
import type { Fail } from "./fields.ts";
import type { Packing } from "./packing.ts";

/** Reads `quantization_config`; the type of the quantised numbers is in the tensors. */
export function bitsandbytes(_fields: JsonObject, _fail: Fail): Packing {
  return {
    method: "bitsandbytes",
    mark: /^(.+)\.(?:weight\.quant_state\.bitsandbytes__(?:nf4|fp4)|SCB)$/,
    open: async (...weight) => await (await import("./bitsandbytes_weights.ts")).openBitsandbytes(...weight),
  };
}
