/**
 * What a step's tokens are to the sequences that took part in it.
 *
 * @module
 */
import { noToken } from "../../kernels/sample.ts";
import { NonFiniteError } from "../errors.ts";
import type { GenerateEvent, GenerateRequest, TokenLogprobs } from "./generate.ts";
import { logprobsOf } from "./logprobs.ts";
import type { Sequence, Share } from "./schedule.ts";

/** What landing needs of its engine. */
export interface LandingDeps {
  /** Logits (vocab) of an output of the step that lands. */
  readonly logits: (output: number) => Promise<Float32Array>;
  /** Ends a sequence. */
  readonly finish: (sequence: Sequence) => void;
  /** Ends a sequence with an error. */
  readonly fail: (sequence: Sequence, error: unknown) => void;
}

type EndEvent = Extract<GenerateEvent, { kind: "end" }>;

function notFinite({ adapter }: GenerateRequest): NonFiniteError {
  const who = adapter === undefined || adapter.length === 0
    ? "the base model"
    : typeof adapter === "string"
    ? `adapter "${adapter}"`
    : `adapters ${adapter.map(({ id, scale = 1 }) => `"${id}" at scale ${scale}`).join(" and ")}`;
  return new NonFiniteError(
    `Cannot generate with ${who}: its numbers overflow, a step's logits are not finite`,
  );
}

/** See the module's documentation. After every read of logits a sequence may have ended: then nothing more is said of it. */
export class Landing {
  constructor(private readonly deps: LandingDeps) {}

  /**
   * Takes one sequence's share of a step; `sampled` are the tokens of all its outputs.
   *
   * @returns a promise only where logits are read: the tokens of a step's other sequences are there in one turn.
   */
  take(share: Share, sampled: Uint32Array): Promise<void> | undefined {
    const { sequence, begin, firstOutput, outputs } = share;
    const { request } = sequence;
    if (sequence.flying === share) sequence.flying = undefined;
    if (sequence.finished) return;
    if (sampled.subarray(firstOutput, firstOutput + outputs).includes(noToken)) {
      this.deps.fail(sequence, notFinite(request));
      return;
    }
    const isScored = request.promptLogprobs && sequence.rerun === undefined;
    if (isScored && begin < request.promptTokenIds.length) {
      return this.#scorePrompt(share).then(() => this.#takeSampled(share, sampled));
    }
    return this.#takeSampled(share, sampled);
  }

  #takeSampled(
    { sequence, firstOutput, outputs, samples }: Share,
    sampled: Uint32Array,
  ): Promise<void> | undefined {
    const { request, tokens } = sequence;
    if (!samples || sequence.finished) return;
    if (tokens.length === request.promptTokenIds.length && request.promptLogprobs) {
      sequence.events.push({ kind: "prompt", logprobs: sequence.promptLogprobs });
    }
    if (sequence.mostNew === 0) return this.#end(sequence, { finishReason: "length" });
    const output = firstOutput + outputs - 1, tokenId = sampled[output], top = request.logprobs;
    if (top === undefined) return this.#takeToken(sequence, tokenId);
    return this.deps.logits(output).then((logits) => {
      if (!sequence.finished) this.#takeToken(sequence, tokenId, logprobsOf(logits, tokenId, top));
    });
  }

  #takeToken(sequence: Sequence, tokenId: number, logprobs?: TokenLogprobs): undefined {
    const { request, tokens, mostNew, ends } = sequence;
    if (ends.has(tokenId)) {
      return this.#end(sequence, { finishReason: "stop", stopToken: { tokenId, logprobs } });
    }
    tokens.push(tokenId);
    try {
      request.onToken?.();
    } catch (error) {
      // Its own failure, and no other sequence's.
      this.deps.fail(sequence, error);
      return;
    }
    sequence.events.push({ kind: "token", tokenId, logprobs });
    if (tokens.length - request.promptTokenIds.length >= mostNew) {
      this.#end(sequence, { finishReason: "length" });
    } else sequence.wake();
  }

  /** Each output of a prompt's chunk scores the token that follows it, once: a sequence may have started anew. */
  async #scorePrompt({ sequence, begin, count, firstOutput }: Share): Promise<void> {
    const { promptTokenIds, logprobs = 0 } = sequence.request;
    for (let i = 0; i < count && begin + i + 1 < promptTokenIds.length; i++) {
      if (sequence.promptLogprobs.length > begin + i + 1) continue;
      const logits = await this.deps.logits(firstOutput + i);
      if (sequence.finished) return;
      sequence.promptLogprobs.push(logprobsOf(logits, promptTokenIds[begin + i + 1], logprobs));
    }
  }

  #end(sequence: Sequence, how: Omit<EndEvent, "kind">): undefined {
    sequence.events.push({ kind: "end", ...how });
    this.deps.finish(sequence);
  }
}
