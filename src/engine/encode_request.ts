/**
 * What an encoder is asked.
 *
 * @module
 */

/** Token ids with their special tokens, or an image's pixels. */
export type EncoderInput =
  | {
    readonly tokenIds: readonly number[];
    /** The type of each token, 0 by default. */
    readonly typeIds?: readonly number[];
  }
  /** (channels, height, width), row-major, scaled and normalised as the model's preprocessor does. */
  | { readonly pixels: Float32Array };

/** What a request asks for. */
export type EncoderOutput = "hidden" | "embedding" | "logits";

/** A sequence to encode. */
export interface EncodeRequest {
  readonly input: EncoderInput;
  /** The adapter's name; the base model alone by default. */
  readonly adapter?: string;
  /**
   * `hidden`: (rows, hiddenSize), the last hidden states. `embedding`: (hiddenSize), their mean, or the first row's where
   * the encoder pools so. `logits`: (labels), the scores of the adapter's classifier, or of the folder's.
   */
  readonly output: EncoderOutput;
}
