/**
 * What an encoder is given, checked, as rows: tokens of a text, or patches of an image.
 *
 * @module
 */
import type { EncoderModel } from "../models/model.ts";
import type { EncoderInput } from "./encode_request.ts";
import type { EncodeSequence } from "./encode_inputs.ts";

/** What rows depend on of a model. */
type Sized = Pick<EncoderModel, "config" | "maxModelLen">;

function checkIds(name: string, ids: readonly number[], most: number): void {
  const wrong = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= most);
  if (wrong === undefined) return;
  throw new RangeError(`Cannot encode ${name} ${wrong}: the model has those of 0..${most - 1}`);
}

function tokenRows(
  { config: { vocabSize, encoder, modelType }, maxModelLen }: Sized,
  { tokenIds, typeIds = tokenIds.map(() => 0) }: Extract<EncoderInput, { tokenIds: readonly number[] }>,
): EncodeSequence {
  if (encoder.input !== "tokens") {
    throw new RangeError(`Cannot encode tokens by a model of type "${modelType}": it takes pixels`);
  }
  const { length } = tokenIds;
  if (length < 1 || length > maxModelLen) {
    throw new RangeError(`Cannot encode ${length} tokens: the model takes 1..${maxModelLen}`);
  }
  if (typeIds.length !== length) {
    throw new RangeError(
      `Cannot encode ${length} tokens with ${typeIds.length} types: there must be one for each`,
    );
  }
  checkIds("token", tokenIds, vocabSize);
  checkIds("token type", typeIds, encoder.types);
  const { firstPosition, uncountedToken } = encoder;
  let next = firstPosition;
  const positions = tokenIds.map((id) => id === uncountedToken ? id : next++);
  return { tokens: tokenIds, types: typeIds, positions };
}

/** The patches of an image, row by row, after a first row without pixels. */
function patchesOf(
  pixels: Float32Array,
  { channels, size, patch }: { readonly channels: number; readonly size: number; readonly patch: number },
): Float32Array {
  const side = size / patch, width = channels * patch * patch;
  const patches = new Float32Array((side * side + 1) * width);
  let to = width;
  for (let top = 0; top < size; top += patch) {
    for (let left = 0; left < size; left += patch) {
      for (let c = 0; c < channels; c++) {
        for (let y = top; y < top + patch; y++) {
          const from = (c * size + y) * size + left;
          patches.set(pixels.subarray(from, from + patch), to);
          to += patch;
        }
      }
    }
  }
  return patches;
}

function patchRows(
  { config: { encoder, modelType }, maxModelLen }: Sized,
  pixels: Float32Array,
): EncodeSequence {
  const { image } = encoder;
  if (!image) {
    throw new RangeError(`Cannot encode pixels by a model of type "${modelType}": it takes tokens`);
  }
  const { channels, size, patch } = image, rows = (size / patch) ** 2 + 1;
  if (pixels.length !== channels * size * size) {
    throw new RangeError(
      `Cannot encode an image of ${pixels.length} numbers: the model takes ${channels} x ${size} x ${size}`,
    );
  }
  if (rows > maxModelLen) {
    throw new RangeError(`Cannot encode an image of ${rows} rows: the model was opened for ${maxModelLen}`);
  }
  return {
    tokens: new Uint32Array(rows),
    positions: Uint32Array.from({ length: rows }, (_, i) => i),
    // The class token's row, then patches.
    types: Uint32Array.from({ length: rows }, (_, i) => Math.min(i, 1)),
    patches: patchesOf(pixels, image),
  };
}

/**
 * The rows of an input.
 *
 * @throws RangeError that names what the model cannot take, and the rule.
 */
export function sequenceOf(model: Sized, input: EncoderInput): EncodeSequence {
  return "pixels" in input ? patchRows(model, input.pixels) : tokenRows(model, input);
}
