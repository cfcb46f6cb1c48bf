/**
 * AWQ in config.json. `awq_weights.ts` reads the weights, and is loaded with the first of them.
 *
 * @module
 */
import type { JsonObject } from "../../json.ts";
import { type Fail, groupSizeField } from "./fields.ts";
import type { Packing } from "./packing.ts";

/** Reads `quantization_config`, by the names of transformers or of AutoAWQ. */
export function awq(fields: JsonObject, fail: Fail): Packing {
  const [bits, size] = [["bits", "w_bit"], ["group_size", "q_group_size"]].map(([field, older]) =>
    fields[field] === undefined && fields[older] !== undefined ? older : field
  );
  if (fields[bits] !== 4) fail(`quantization_config.${bits}`, fields[bits], "of AWQ's it must be 4");
  const { version = "gemm", zero_point: hasZeros = true } = fields;
  if (String(version).toLowerCase() !== "gemm") {
    fail("quantization_config.version", version, 'it must be "gemm"');
  }
  if (hasZeros !== true) fail("quantization_config.zero_point", hasZeros, "it must be true");
  const groupSize = groupSizeField(fields, size, fail);
  return {
    method: "awq",
    mark: /^(.+)\.qweight$/,
    open: async (...weight) => (await import("./awq_weights.ts")).openAwq(...weight, groupSize),
  };
}
