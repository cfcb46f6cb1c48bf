/**
 * What a server needs of an encoder; `Encoder` is one.
 *
 * @module
 */
import type { HostTensor } from "../tensor.ts";
import type { EncodeRequest } from "./encode_request.ts";

/** See the module's documentation. */
export interface EncodingService {
  /** Longest sequence. */
  readonly maxModelLen: number;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** The labels of the folder's classifier; empty where it has none. */
  readonly labels: readonly string[];
  /** What the labels are, where the folder says. */
  readonly problem?: "regression" | "single_label_classification" | "multi_label_classification" | undefined;
  /** How many labels an adapter's classifier has, or the folder's where it brings none; 0 where there is none. */
  labelCount(adapter?: string): Promise<number>;
  /** The labels of an adapter's own classifier, where its files name them; else undefined. */
  labelsOf?(adapter?: string): Promise<readonly string[] | undefined>;
  /** Encodes sequences, in order. */
  encode(
    requests: readonly EncodeRequest[],
    options?: { readonly signal?: AbortSignal },
  ): Promise<HostTensor[]>;
}
