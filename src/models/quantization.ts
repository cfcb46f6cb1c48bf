/**
 * Which of a model's weights are quantised, to how many bits, and what they are called in a folder.
 *
 * The linears of the layers take the bits asked for, and the head, which small models read as many bytes of, takes 8: its
 * errors go to the logits as they are. A head that is tied to the embedding becomes a weight of its own beside it.
 * Embedding, norms and biases stay what they are.
 *
 * In a folder, config.json has `quantization_config` = {"quant_method": "fourierft", "bits": 8 or 4, "group_size": 32},
 * and `X.weight_packed` (uint32) and `X.weight_scale` (bfloat16) stand in place of `X.weight`.
 *
 * @module
 */
import { type Bits, blockSize } from "../../kernels/quantized/format.ts";

/** What a model's linears can be quantised to, by the names of the command line. */
export type QuantizeTo = "int8" | "int4";

/** Bits of an element of the linears of the layers. */
export const bitsOf: Readonly<Record<QuantizeTo, Bits>> = { int8: 8, int4: 4 };

/** Bits of the head. */
export const headBits: Bits = 8;

/** How a folder's weights are quantised. */
export interface Quantization {
  readonly bits: Bits;
}

/** The names of a quantised weight's tensors in a folder, `path` being the linear's. */
export function quantizedNames(path: string): { readonly words: string; readonly scales: string } {
  return { words: `${path}.weight_packed`, scales: `${path}.weight_scale` };
}

/** The value of config.json's `quantization_config`. */
export function quantizationFields({ bits }: Quantization): Readonly<Record<string, unknown>> {
  return { quant_method: "fourierft", bits, group_size: blockSize };
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
  const { quant_method: method, bits, group_size: groupSize } = Object(value) as Record<string, unknown>;
  if (method !== "fourierft") {
    fail(
      "quantization_config",
      value,
      'of quantized weights only those of `fourierft quantize` (quant_method "fourierft") are supported; ' +
        "load the float ones",
    );
  }
  if (bits !== 8 && bits !== 4) fail("quantization_config.bits", bits, "it must be 8 or 4");
  if (groupSize !== blockSize) fail("quantization_config.group_size", groupSize, `it must be ${blockSize}`);
  return { bits };
}
