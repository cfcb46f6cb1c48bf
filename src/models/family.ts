/**
 * What a family of models is: how its config.json is read, what its weights are, and its forward.
 *
 * @module
 */
import type { HostTensor } from "../tensor.ts";
import type { FileNames } from "./checkpoint.ts";
import type { Fields } from "./config_fields.ts";
import type { Graph } from "./graph.ts";
import type { Quantization } from "./quantization.ts";
import type { RopeScaling } from "./rope_config.ts";
import type { Loaded, SpecTree } from "./spec.ts";

/** A linear of a classifier, on a sequence's pooled row. */
export interface ClassifierLinear {
  readonly path: string;
  /** Whether it gives the labels' scores; others give as many numbers as the encoder has columns. */
  readonly last: boolean;
  readonly activation?: "tanh";
}

/** What models say that give hidden states instead of next tokens. */
export interface EncoderConfig {
  /** What sequences are made of. */
  readonly input: "tokens" | "pixels";
  /** Kinds of rows that have an embedding of their own. */
  readonly types: number;
  /** The position of a sequence's first row. */
  readonly firstPosition: number;
  /** A token whose rows have its own number for a position, and are not counted. */
  readonly uncountedToken?: number;
  /** Sizes of the images, whose patches are the rows after the first. */
  readonly image?: { readonly channels: number; readonly size: number; readonly patch: number };
  /** The linears that make scores of labels; a folder, or an adapter, has them all or none. */
  readonly classifier: readonly ClassifierLinear[];
  /** The labels of the folder's classifier, in order. */
  readonly labels: readonly string[];
  /** How scores become probabilities; undefined where the config does not say. */
  readonly problem?: "regression" | "single_label_classification" | "multi_label_classification";
}

/** What every family's config says. */
export interface ModelConfig {
  /** config.json's `model_type`. */
  readonly modelType: string;
  /** 0 of a model of pixels. */
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Longest sequence. */
  readonly maxPositions: number;
  readonly tieWordEmbeddings: boolean;
  /** Of models with rotary positions. */
  readonly ropeScaling?: RopeScaling;
  /**
   * The length beyond which a sequence's tokens have other numbers, the first ones too: it is run anew when it grows past
   * that. Absent where the keys in a cache stay what they are.
   */
  readonly rerunBeyond?: number;
  /** Why no adapter of it can be trained, for a message; absent where adapters can. */
  readonly untrainable?: string;
  /** Absent where the folder's weights are floats. */
  readonly quantization?: Quantization;
  /** Absent of models that generate. */
  readonly encoder?: EncoderConfig;
}

/** Tensors of files that no forward reads. */
export interface UnreadTensors<C> {
  readonly names: RegExp;
  /** Looks at one: a line for the log where it says something else than the config, which holds. */
  differs?(config: C, name: string, found: HostTensor): string | undefined;
}

/** A family: a folder under `models/`, and a line in `families.ts`. */
export interface Family<C extends ModelConfig = ModelConfig, W extends SpecTree = SpecTree> {
  /** Values of `model_type`. */
  readonly modelTypes: readonly string[];
  readonly names: FileNames;
  /**
   * Checks a parsed config.json whose `model_type` is one of the family's.
   *
   * @throws ConfigError that names the field, its value and the rule.
   */
  parse(fields: Fields): C;
  /** The weights of a config's model. */
  weights(config: C): W;
  /** Loads the function that records the forward: operations and kernels come with the first model of the family. */
  forward(): Promise<(graph: Graph, config: C, weights: Loaded<W>) => void>;
  /**
   * The model's name of a module that an adapter names; undefined for one that nothing reads. By default names are the
   * model's.
   */
  adaptedPath?(path: string): string | undefined;
  /** The name that PEFT's newest files have for a module, by the model's; the model's unless told. */
  savedPath?(path: string): string;
  /** None unless told. */
  readonly unread?: UnreadTensors<C>;
  /**
   * The linears that PEFT adapts by default, by a method's `peft_type`: `target_modules` of its
   * TRANSFORMERS_MODELS_TO_..._TARGET_MODULES_MAPPING. Undefined where it asks for them.
   */
  targets?(config: C, peftType: string): readonly string[] | undefined;
}

/** A family as the list holds it, its config's and weights' types forgotten. */
export function anyFamily<C extends ModelConfig, W extends SpecTree>(family: Family<C, W>): Family {
  return family as unknown as Family;
}
