/**
 * What an engine is asked and what it answers, in token ids.
 *
 * @module
 */
import type { AdapterTerm } from "../adapters/registry.ts";
import type { Constraint } from "./constraint.ts";
import type { CacheCounts } from "./paging.ts";

/**
 * How the next token is chosen. Biases and penalties change its logits; log-probabilities are those of the logits as they are.
 * `temperature` 0 is greedy; `topP` 1 and `topK` 0 keep every token.
 */
export interface Sampling {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  /** The least probability of a token that may be drawn, by the likeliest one's, 0 to 1; default 0. */
  readonly minP?: number;
  /** Taken from the logits of tokens that came since the prompt, -2 to 2; default 0. */
  readonly presencePenalty?: number;
  /** The same for each time that they came, -2 to 2; default 0. */
  readonly frequencyPenalty?: number;
  /**
   * What positive logits of tokens of the prompt, and since, are divided by, and negative ones multiplied by; above 0, default
   * 1.
   */
  readonly repetitionPenalty?: number;
  /** Added to the logits of tokens, before the penalties, -100 to 100; at most 1024 tokens. */
  readonly logitBias?: ReadonlyMap<number, number>;
  /** A safe integer, or one of 64 bits: equal seeds give equal tokens on the same device. Absent: a random one. */
  readonly seed?: number | bigint;
}

/** A sequence to continue. */
export interface GenerateRequest {
  /** At least one id, each below the vocabulary's size. */
  readonly promptTokenIds: readonly number[];
  /**
   * An adapter's id; or up to 8 adapters that are added up, each times its scale. Absent, or an empty list: the base model.
   */
  readonly adapter?: string | readonly AdapterTerm[];
  /**
   * Requests of one owner with the same salt, or without one, may share the cached keys and values of a beginning that they
   * have in common. How soon the first token comes tells whether a beginning was cached: users who must not learn that of each other
   * have salts of their own.
   */
  readonly cacheSalt?: string;
  /**
   * When the sequence was asked for, in ms by `performance.now()`: what a look at its adapters' files saw since is new enough.
   * Default: when `generate` is called.
   */
  readonly askedMs?: number;
  /** New tokens at most; 0 only scores the prompt. */
  readonly maxTokens: number;
  readonly sampling: Sampling;
  /** Report each new token's log-probability and this many of the most likely ones (0 to 20). */
  readonly logprobs?: number;
  /** Also report them for the prompt's tokens; needs `logprobs`. */
  readonly promptLogprobs?: boolean;
  /** Ids that end this sequence, beside the model's own end tokens; at most 128. */
  readonly stopTokenIds?: readonly number[];
  /** Whether the model's end tokens are tokens like others; `stopTokenIds` end the sequence all the same. */
  readonly ignoreEos?: boolean;
  /**
   * New tokens before any end token may be chosen: until then none of them is sampled; log-probabilities stay those of the
   * logits as they are. At most `maxTokens`; default 0.
   */
  readonly minTokens?: number;
  /**
   * Which tokens may come, e.g. by a grammar. The model's end tokens end such a sequence, whatever `ignoreEos` says; a text
   * that may only end does so before `minTokens`. A step waits for the token before, for its rows alone.
   */
  readonly constraint?: Constraint;
  /** Its owner, where several share the engine: those who wait then take turns by their weights. */
  readonly owner?: Owner;
  /**
   * New tokens that another engine made, fewer than the sequence may have. The sequence goes on after them and does not report
   * them: equal seeds draw the tokens of an undisturbed sequence. It waits even where the queue is full.
   */
  readonly resumeTokenIds?: readonly number[];
  /**
   * Called when it leaves the queue, with a digest of its adapters' files and scales; without one for the base model. An error
   * thrown here ends the sequence.
   */
  readonly onAdmit?: (adapterDigest?: string) => void;
  /** Called for each new token, whether or not anybody takes the token's event. An error thrown here ends the sequence. */
  readonly onToken?: () => void;
  /**
   * Whether each token is told at once, though the engine bounds how many bursts it tells of: its asker may end the sequence
   * by a token. Default false.
   */
  readonly eager?: boolean;
  /** Aborting ends the sequence; the iteration throws the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Natural-logarithm probabilities at one position, before temperature and filters. */
export interface TokenLogprobs {
  readonly logprob: number;
  /** Most likely first. */
  readonly top: readonly { readonly tokenId: number; readonly logprob: number }[];
}

/**
 * What a sequence reports, in order: `prompt` once when asked for (one entry a prompt token, null for the first),
 * a `token` for each new one (never one that ends it), and one `end`: `stop` at an end token, `length` at `maxTokens` or the
 * context's end.
 */
export type GenerateEvent =
  | { readonly kind: "prompt"; readonly logprobs: readonly (TokenLogprobs | null)[] }
  | { readonly kind: "token"; readonly tokenId: number; readonly logprobs?: TokenLogprobs }
  | {
    readonly kind: "end";
    readonly finishReason: "stop" | "length";
    /** The token that ended the sequence, with its log-probabilities if asked for; no `token` event reports it. */
    readonly stopToken?: { readonly tokenId: number; readonly logprobs?: TokenLogprobs };
  };

/** Whose a sequence is, where several share an engine. */
export interface Owner {
  /** Equal for all sequences of one owner. */
  readonly id: string;
  /** The owner's part of the device beside other owners that wait; above 0. */
  readonly weight: number;
}

/** What an engine does now. */
export interface EngineStats {
  /** Sequences running and waiting. */
  readonly running: number;
  readonly waiting: number;
  /** Sequences that may run at once. */
  readonly maxSequences: number;
  /** Used part of the cache of keys and values, 0 to 1. */
  readonly cacheUsage: number;
  /** The blocks of that cache, and how often it spared prompts' work; absent where it is not paged. */
  readonly cache?: CacheCounts;
  /** Ids of adapters, each once; those of a sum are named one by one. */
  readonly runningAdapters: readonly string[];
  readonly waitingAdapters: readonly string[];
}

/** Turns requests into tokens, many at a time. */
export interface Engine {
  /** Prompt and new tokens together at most. */
  readonly maxModelLen: number;
  readonly vocabSize: number;
  /**
   * Starts a sequence; it joins the batch at the next step.
   *
   * @throws RangeError (at the first `next`) when the prompt is empty, too long, or holds an id outside the vocabulary, and
   * for any other field that breaks its rule; the message names it.
   * @throws NotFoundError when no adapter has that id; ConfigError when its files break a rule; CombinationError, a
   * RangeError, for adapters that cannot be added up.
   * @throws NonFiniteError when a step's logits are not finite: the adapter's numbers, or the model's, overflow.
   * @throws OverloadedError when the queue is full. DeviceError when the device is lost.
   */
  generate(request: GenerateRequest): AsyncIterable<GenerateEvent>;
  /** The same events: those that are there at once come together, at least one. Absent: an asker takes each alone. */
  bursts?(request: GenerateRequest): AsyncIterable<readonly GenerateEvent[]>;
  /** What it does now; absent where nothing counts. */
  stats?(): EngineStats;
}
