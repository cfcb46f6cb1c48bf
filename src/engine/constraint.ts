/**
 * Rules for a sequence's tokens: which may come next, after those that came.
 *
 * @module
 */

/** A rule for sequences, e.g. a grammar. */
export interface Constraint {
  /** Tokens that a mask tells of: those of the engine's vocabulary. */
  readonly vocabSize: number;
  /**
   * Begins a sequence.
   *
   * @throws the signal's reason once it is aborted; what keeps the rule from being followed.
   */
  start(signal?: AbortSignal): Promise<ConstrainedRun>;
}

/** A rule along one sequence. */
export interface ConstrainedRun {
  /**
   * What may come first: (ceil(vocabSize / 32)) words, bit t % 32 of word t / 32 for token t. A mask allows one token at
   * least; the model's end tokens where the text may end.
   */
  readonly first: Uint32Array;
  /** What may come after another token, which the last mask allowed. */
  accept(tokenId: number): Promise<Uint32Array>;
  /** The sequence is over; harmless twice. */
  end(): void;
}
