/**
 * Every packing once, by config.json's `quant_method`.
 *
 * @module
 */
import { isJsonObject, type JsonObject } from "../../json.ts";
import { awq } from "./awq.ts";
import { bitsandbytes } from "./bitsandbytes.ts";
import type { Fail } from "./fields.ts";
import { gptq } from "./gptq.ts";
import type { Packing } from "./packing.ts";

const packings: Readonly<Record<string, (fields: JsonObject, fail: Fail) => Packing>> = {
  bitsandbytes,
  gptq,
  awq,
};

/** Values of `quant_method`. */
export const packingMethods: readonly string[] = Object.keys(packings);

/** The method of fields that may be those of old files of bitsandbytes, which lack the name. */
function methodOf({ quant_method: method, load_in_8bit: eight, load_in_4bit: four }: JsonObject): unknown {
  return method ?? (eight === true || four === true ? "bitsandbytes" : undefined);
}

/**
 * Checks the value of config.json's `quantization_config`; undefined where it says no packing.
 *
 * @param fail Called, and must throw, with the field, its value and the rule it breaks.
 */
export function parsePacking(value: unknown, fail: Fail): Packing | undefined {
  const method = isJsonObject(value) ? methodOf(value) : undefined;
  return typeof method === "string" && Object.hasOwn(packings, method)
    ? packings[method](value as JsonObject, fail)
    : undefined;
}
