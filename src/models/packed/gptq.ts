/**
 * GPTQ in config.json. `gptq_weights.ts` reads the weights, and is loaded with the first of them.
 *
 * @module
 */
import { isJsonObject, type JsonObject } from "../../json.ts";
import { type Fail, groupSizeField } from "./fields.ts";
import type { GptqSettings } from "./gptq_weights.ts";
import type { Packing } from "./packing.ts";

/** What zeros are more than they are stored as, by `checkpoint_format`. */
const offsets: Readonly<Record<string, 0 | 1>> = { gptq: 1, gptq_v2: 0 };

/** Fields that change what numbers mean, and their one value that is known. */
const onlyValues: Readonly<Record<string, unknown>> = {
  is_marlin_format: false,
  pack_dtype: "int32",
  rotation: "",
  dynamic: "",
};

/** Reads `quantization_config`. */
export function gptq(fields: JsonObject, fail: Fail): Packing {
  const { checkpoint_format: format = fields.format ?? "gptq" } = fields;
  const bits = fields.bits === 4 || fields.bits === 8
    ? fields.bits
    : fail("quantization_config.bits", fields.bits, "of GPTQ's it must be 4 or 8");
  if (typeof format !== "string" || !Object.hasOwn(offsets, format)) {
    fail("quantization_config.checkpoint_format", format, `supported are ${Object.keys(offsets).join(", ")}`);
  }
  for (const [field, value] of Object.entries(onlyValues)) {
    const { [field]: found = null } = fields;
    const isNothing = found === null || (isJsonObject(found) && Object.keys(found).length === 0);
    if (!isNothing && found !== value) {
      fail(`quantization_config.${field}`, found, "it is not supported");
    }
  }
  const settings: GptqSettings = {
    bits,
    groupSize: groupSizeField(fields, "group_size", fail),
    descAct: fields.desc_act === true,
    zeroOffset: offsets[format],
  };
  return {
    method: "gptq",
    mark: /^(.+)\.qweight$/,
    open: async (...weight) => (await import("./gptq_weights.ts")).openGptq(...weight, settings),
  };
}
