/**
 * What a step's tokens are to the sequences that took part in it.
 *
 * @module
 */
import { noToken } from "../../kernels/sample.ts";
import { NonFiniteError } from "../errors.ts";
import type { GenerateEvent, GenerateRequest, TokenLogprobs } from "./generate.ts";
import type { Sequence, Share } from "./schedule.ts";
import type { Scores } from "./scoring.ts";

/** What landing needs of its engine. */
export interface LandingDeps {
  /** A constrained sequence goes on after a token. */
  readonly advance: (sequence: Sequence, tokenId: number) => void;
  /** Tells a sequence's asker of new tokens. */
  readonly tell: (sequence: Sequence) => void;
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

/** Each output of a prompt's chunk scores the token that follows it, once: a sequence may have started anew. */
function scorePrompt({ sequence, begin, count, firstOutput }: Share, scores: Scores): void {
  const { promptTokenIds } = sequence.request;
  for (let i = 0; i < count && begin + i + 1 < promptTokenIds.length; i++) {
    if (sequence.promptLogprobs.length <= begin + i + 1) {
      sequence.promptLogprobs.push(scores(firstOutput + i));
    }
  }
}

/** See the module's documentation. A sequence may have ended since its step: then nothing more is said of it. */
export class Landing {
  constructor(private readonly deps: LandingDeps) {}

  /** Takes one sequence's share of a step; `sampled` and `scores` are those of all its outputs. */
  take(share: Share, sampled: Uint32Array, scores?: Scores): void {
    const { sequence, begin, firstOutput, outputs } = share;
    const { request } = sequence;
    if (sequence.flying === share) sequence.flying = undefined;
    if (sequence.finished) return;
    if (sampled.subarray(firstOutput, firstOutput + outputs).includes(noToken)) {
      this.deps.fail(sequence, notFinite(request));
      return;
    }
    const isScored = request.promptLogprobs && sequence.rerun === undefined;
    if (isScored && begin < request.promptTokenIds.length) scorePrompt(share, scores!);
    this.#takeSampled(share, sampled, scores);
  }

  #takeSampled(
    { sequence, firstOutput, outputs, samples }: Share,
    sampled: Uint32Array,
    scores?: Scores,
  ): void {
    const { request, tokens } = sequence;
    if (!samples) return;
    if (tokens.length === request.promptTokenIds.length && request.promptLogprobs) {
      sequence.events.push({ kind: "prompt", logprobs: sequence.promptLogprobs });
    }
    if (sequence.mostNew === 0) return this.#end(sequence, { finishReason: "length" });
    const output = firstOutput + outputs - 1;
    this.#takeToken(sequence, sampled[output], request.logprobs === undefined ? undefined : scores!(output));
  }

  #takeToken(sequence: Sequence, tokenId: number, logprobs?: TokenLogprobs): void {
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
      return;
    }
    if (sequence.run) this.deps.advance(sequence, tokenId);
    this.deps.tell(sequence);
  }

  #end(sequence: Sequence, how: Omit<EndEvent, "kind">): void {
    sequence.events.push({ kind: "end", ...how });
    this.deps.finish(sequence);
  }
}
