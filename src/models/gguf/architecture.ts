/**
 * What GGUF files of an architecture say in their own words: keys of metadata, and names of tensors.
 *
 * @module
 */

/** An architecture of llama.cpp, as a model type of Hugging Face. */
export interface Architecture {
  /** config.json's `model_type`. */
  readonly modelType: string;
  /** Fields of config.json by key, without the architecture's name and its dot. */
  readonly fields: Readonly<Record<string, string>>;
  /** Keys among them that a file may lack. */
  readonly optional: readonly string[];
  /** Fields that no key has. */
  readonly constants?: Readonly<Record<string, unknown>>;
  /** Fields that follow from several keys, by the fields that have one each; `at` is the number of a key. */
  derived?(
    fields: Readonly<Record<string, number>>,
    at: (key: string) => number | undefined,
  ): Readonly<Record<string, unknown>>;
  /** Whether files say in tensors of their own what `longrope` divides frequencies by. */
  readonly hasLongRope?: boolean;
  /** Whether heads may be turned in part. */
  readonly isPartlyTurned?: boolean;
  /** What norms' weights are more in files than in the model. */
  readonly normOffset?: number;
  /** Flags of config.json by tensors of the first layer: true where the file has the tensor. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Weights outside of the layers, by the names of files: the first part of both names. */
  readonly tensors: Readonly<Record<string, string>>;
  /** What the names of a layer's weights begin with, before its number. */
  readonly layers: string;
  /** Weights of a layer, in the same way; files have `blk.<number>.` before them. */
  readonly layerTensors: Readonly<Record<string, string>>;
  /**
   * Linears whose rows files have in another order: of each head, row 2 j is row j, and 2 j + 1 is row j + headDim / 2,
   * since llama.cpp turns neighbours. By the model's names; with the key of the number of heads.
   */
  readonly interleaved?: Readonly<Record<string, string>>;
}
