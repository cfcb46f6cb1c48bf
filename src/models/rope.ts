/**
 * Rotary frequencies and tables, as transformers' modeling_rope_utils computes them, in float64.
 *
 * Dynamic and longrope scaling depend on a length: that of the forward in which a token is turned. Here it is the prompt's
 * for a prompt's tokens, however the prompt is cut into steps, and position + 1 for each new token, whatever else is in
 * its step. Keys in the cache keep the frequencies of their time. So it is in transformers' `generate` of one sequence.
 * Phi-3's rule is another: a sequence that grows past the original length is run anew as a whole, as a prompt of its length.
 *
 * @module
 */
import type { RopeConfig, RopeScaling } from "./rope_config.ts";

const plain = (theta: number, headDim: number): Float64Array =>
  Float64Array.from({ length: headDim / 2 }, (_, i) => theta ** (-2 * i / headDim));

/** The frequencies before any scaling. */
export function plainFrequencies({ headDim, ropeTheta }: RopeConfig): Float64Array {
  return plain(ropeTheta, headDim);
}

type Scaling<T extends RopeScaling["type"]> = Extract<RopeScaling, { readonly type: T }>;

/** Bands of wavelengths: short ones are kept, long ones stretched, those between blended. */
function llama3(frequencies: Float64Array, scaling: Scaling<"llama3">): Float64Array {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositions } = scaling;
  return frequencies.map((f) => {
    const wavelength = 2 * Math.PI / f;
    if (wavelength < originalMaxPositions / highFreqFactor) return f;
    if (wavelength > originalMaxPositions / lowFreqFactor) return f / factor;
    const smooth = (originalMaxPositions / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return (1 - smooth) * f / factor + smooth * f;
  });
}

/** A ramp over the pairs, between those that turn `betaFast` and `betaSlow` times in the original length. */
function yarn(
  frequencies: Float64Array,
  { headDim, ropeTheta }: RopeConfig,
  scaling: Scaling<"yarn">,
): Float64Array {
  const { factor, originalMaxPositions, betaFast, betaSlow, truncate } = scaling;
  const pairOf = (turns: number): number =>
    headDim * Math.log(originalMaxPositions / (turns * 2 * Math.PI)) / (2 * Math.log(ropeTheta));
  const [first, last] = [pairOf(betaFast), pairOf(betaSlow)];
  const low = Math.max(truncate ? Math.floor(first) : first, 0);
  const high = Math.min(truncate ? Math.ceil(last) : last, headDim - 1);
  const width = high === low ? 0.001 : high - low;
  return frequencies.map((f, i) => {
    const stretched = Math.min(Math.max((i - low) / width, 0), 1);
    return stretched * f / factor + (1 - stretched) * f;
  });
}

/** The base grows with the length, once it is past the original one. */
function dynamic(
  { headDim, ropeTheta }: RopeConfig,
  scaling: Scaling<"dynamic">,
  length: number,
): Float64Array {
  const { factor, originalMaxPositions } = scaling;
  const grown = factor * Math.max(length, originalMaxPositions) / originalMaxPositions - (factor - 1);
  return plain(ropeTheta * grown ** (headDim / (headDim - 2)), headDim);
}

/**
 * Rotary frequencies (radians a position), headDim / 2 of them.
 *
 * @param length Tokens of the forward in which a token is turned; dynamic and longrope scaling alone depend on it.
 */
export function ropeFrequencies(config: RopeConfig, length = 1): Float64Array {
  const { headDim, ropeTheta, ropeScaling } = config;
  const frequencies = plain(ropeTheta, headDim);
  switch (ropeScaling.type) {
    case "default":
      return frequencies;
    case "linear":
      return frequencies.map((f) => f / ropeScaling.factor);
    case "llama3":
      return llama3(frequencies, ropeScaling);
    case "yarn":
      return yarn(frequencies, config, ropeScaling);
    case "dynamic":
      return dynamic(config, ropeScaling, length);
    case "longrope": {
      const { shortFactor, longFactor, originalMaxPositions } = ropeScaling;
      const factors = length > originalMaxPositions ? longFactor : shortFactor;
      return frequencies.map((f, i) => f / factors[i]);
    }
  }
}

/** What cosines and sines are multiplied by. */
export function ropeAttentionFactor({ ropeScaling }: RopeConfig): number {
  return "attentionFactor" in ropeScaling ? ropeScaling.attentionFactor : 1;
}

/**
 * The longest sequence in which a token's turn depends on its position alone; Infinity for most scalings, and for models
 * without rotary positions.
 */
export function fixedRopeLength({ ropeScaling: scaling }: Partial<RopeConfig>): number {
  return scaling?.type === "dynamic" || scaling?.type === "longrope"
    ? scaling.originalMaxPositions
    : Infinity;
}

interface Turn {
  readonly frequencies: Float64Array;
  readonly factor: number;
  readonly position: number;
}

/** Writes a position's cosines and sines, headDim numbers, from element `at` on. */
function writeTurn(target: Float32Array, at: number, { frequencies, factor, position }: Turn): void {
  for (let i = 0; i < frequencies.length; i++) {
    target[at + 2 * i] = factor * Math.cos(position * frequencies[i]);
    target[at + 2 * i + 1] = factor * Math.sin(position * frequencies[i]);
  }
}

/**
 * The table `rope` reads: (positions, headDim / 2, 2) of cosine and sine, from float64. It is right for sequences of up to
 * {@linkcode fixedRopeLength}; longer ones need {@linkcode RopeTurns}.
 */
export function ropeTable(config: RopeConfig, positions: number): Float32Array {
  const frequencies = ropeFrequencies(config);
  const factor = ropeAttentionFactor(config);
  const table = new Float32Array(positions * config.headDim);
  for (let p = 0; p < positions; p++) {
    writeTurn(table, p * config.headDim, { frequencies, factor, position: p });
  }
  return table;
}

/** Lengths whose frequencies are kept: those of the prompts that are fed now. */
const keptLengths = 64;

/** Turns of single tokens, for scalings that depend on the length. */
export class RopeTurns {
  /** Numbers of a turn: cosines and sines by turns. */
  readonly size: number;
  readonly #factor: number;
  readonly #byLength = new Map<number, Float64Array>();

  constructor(private readonly config: RopeConfig) {
    this.size = config.headDim;
    this.#factor = ropeAttentionFactor(config);
  }

  /** Writes the turn of a token at `position` in a forward of `length` tokens to `target`, from element `at` on. */
  write(
    target: Float32Array,
    at: number,
    token: { readonly position: number; readonly length: number },
  ): void {
    const frequencies = this.#frequencies(token.length);
    writeTurn(target, at, { frequencies, factor: this.#factor, position: token.position });
  }

  #frequencies(length: number): Float64Array {
    const fixed = fixedRopeLength(this.config);
    // Lengths up to the original one have one set of frequencies. In longrope all longer ones have another.
    const isLong = length > fixed;
    const shared = !isLong ? fixed : this.config.ropeScaling.type === "longrope" ? fixed + 1 : length;
    let found = this.#byLength.get(shared);
    if (!found) {
      if (this.#byLength.size >= keptLengths) this.#byLength.delete(this.#byLength.keys().next().value!);
      found = ropeFrequencies(this.config, shared);
      this.#byLength.set(shared, found);
    }
    return found;
  }
}

/** Whether all frequencies are finite numbers above 0, at the first and at the last of `positions`. */
export function isFiniteRope(config: RopeConfig, positions: number): boolean {
  return [1, positions].every((length) =>
    ropeFrequencies(config, length).every((f) => Number.isFinite(f) && f > 0)
  ) && Number.isFinite(ropeAttentionFactor(config));
}
