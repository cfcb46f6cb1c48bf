/**
 * Which of a model's weights are quantised, to what format, and what they are called in a folder.
 *
 * The linears of the layers take the format asked for. The head, which is half of a small model's bytes, takes 8 bits: its
 * errors go to the logits as they are. A head that is tied to the embedding becomes a weight of its own beside it.
 * Embedding, norms and biases stay what they are.
 *
 * In a folder, config.json has `quantization_config` = {"quant_method": "fourierft", "bits": 8 or 4, "group_size": 32},
 * and `X.weight_packed` (uint32) and `X.weight_scale` (bfloat16) stand in place of `X.weight`. Folders that other programs
 * quantised are read, too: see `packed/`.
 *
 * @module
 */
import { q4_32, q8_32 } from "../../kernels/formats/mod.ts";
import type { WeightFormat } from "../../kernels/formats/format.ts";
import { fail, type Fields } from "./config_fields.ts";
import { packingMethods, parsePacking } from "./packed/mod.ts";

/** What a model's linears can be quantised to, by the names of the command line. */
export type QuantizeTo = "int8" | "int4";

/** The format of the linears of the layers. */
export const formatOf: Readonly<Record<QuantizeTo, WeightFormat>> = { int8: q8_32, int4: q4_32 };

/** The format of the head. */
export const headFormat: WeightFormat = q8_32;

/** Formats that a folder may have, by the bits that its config names. */
const formatOfBits = new Map<unknown, WeightFormat>([[8, q8_32], [4, q4_32]]);

/** The formats of a folder's weights that are quantised. */
export const folderFormats: readonly WeightFormat[] = [...formatOfBits.values()];

/** How a folder's weights are quantised. */
export interface Quantization {
  /** config.json's `quant_method`. */
  readonly method: string;
  /** Of the linears of the layers, where this program quantised them. */
  readonly format?: WeightFormat;
}

/** The `quant_method` of this program. */
const ownMethod = "fourierft";

/** What a folder's weights are, for a message: the format, or who quantised them. */
export function quantizedAs({ method, format }: Quantization): string {
  return format?.name ?? method;
}

/** The names of a quantised weight's tensors in a folder by its format's buffers, `path` being the linear's. */
export function quantizedNames(path: string): Readonly<Record<string, string>> {
  return { words: `${path}.weight_packed`, scales: `${path}.weight_scale` };
}

/** The value of config.json's `quantization_config`. */
export function quantizationFields(
  format: WeightFormat,
): Readonly<Record<string, unknown>> {
  const [bits] = [...formatOfBits].find(([, known]) => known === format)!;
  return { quant_method: ownMethod, bits, group_size: format.block };
}

/** The fields of a config.json for weights that are floats again. */
export function withoutPacking({ quantization_config: value, ...fields }: Fields): Fields | undefined {
  return parsePacking(value, fail) ? fields : undefined;
}

/**
 * Checks the value of config.json's `quantization_config`; undefined where it is absent or null.
 *
 * @param fail Called, and must throw, with the field, its value and the rule it breaks.
 */
export function parseQuantization(
  value: unknown,
  fail: (field: string, value: unknown, rule: string) => never,
): Quantization | undefined {
  if (value === undefined || value === null) return undefined;
  const packing = parsePacking(value, fail);
  if (packing) return { method: packing.method };
  const { quant_method: method, bits, group_size: groupSize } = Object(value) as Record<string, unknown>;
  if (method !== ownMethod) {
    fail(
      "quantization_config",
      value,
      `of quantized weights those of quant_method ${
        [ownMethod, ...packingMethods].join(", ")
      } are supported; ` +
        "load the float ones",
    );
  }
  const format = formatOfBits.get(bits);
  if (!format) return fail("quantization_config.bits", bits, "it must be 8 or 4");
  if (groupSize !== format.block) {
    fail("quantization_config.group_size", groupSize, `it must be ${format.block}`);
  }
  return { method: ownMethod, format };
}
