/**
 * What a new adapter of a language model trains beside its linears.
 *
 * @module
 */
import type { Method } from "./method.ts";

/** What a new adapter of a language model trains beside its linears. */
export interface SavedOptions {
  /**
   * Norms, embeddings and the head that are trained whole, by PEFT's rule: any module whose path ends so, as `lm_head`,
   * `embed_tokens` and `norm`. An embedding and a head that are tied are two from then on, each as it is trained.
   */
  readonly modulesToSave?: readonly string[];
  /** Ids of tokens whose rows of the embedding are trained, and so of a head that is tied to it; PEFT has them for LoRA alone. */
  readonly trainableTokenIndices?: readonly number[];
}

/** Throws RangeError that names the option and its rule. */
export function checkSaved(
  { modulesToSave = [], trainableTokenIndices = [] }: SavedOptions,
  method: Method,
): void {
  if (!modulesToSave.every((name) => typeof name === "string" && name !== "")) {
    throw new RangeError("Cannot use modulesToSave: it must be names of modules");
  }
  const isId = (id: number): boolean => Number.isSafeInteger(id) && id >= 0 && id < 2 ** 32;
  if (
    !trainableTokenIndices.every(isId) || new Set(trainableTokenIndices).size < trainableTokenIndices.length
  ) {
    throw new RangeError("Cannot use trainableTokenIndices: it must be ids of tokens, each once");
  }
  if (trainableTokenIndices.length > 0 && method.peftType !== "LORA") {
    throw new RangeError(
      `Cannot use trainableTokenIndices with ${method.name}: PEFT trains tokens beside LORA alone`,
    );
  }
}
