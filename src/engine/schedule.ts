/**
 * Which sequences take part in a step, with which tokens.
 *
 * @module
 */
import type { Lease } from "../adapters/registry.ts";
import type { GenerateEvent, GenerateRequest, TokenLogprobs } from "./generate.ts";
import type { Output, Row } from "./step_inputs.ts";

/** A running or waiting sequence. */
export interface Sequence {
  readonly request: GenerateRequest;
  readonly lease?: Lease;
  readonly uniform: () => number;
  /** New tokens at most: as many as are asked for and the context holds. */
  readonly mostNew: number;
  /** Prompt and new tokens, as far as they are known. */
  readonly tokens: number[];
  /** Tokens in the cache, once the steps that were submitted have run. */
  cached: number;
  /** The share in a submitted step whose token is not known yet. */
  flying?: Share;
  /** Cache lane; -1 while waiting. */
  lane: number;
  readonly promptLogprobs: (TokenLogprobs | null)[];
  readonly events: GenerateEvent[];
  failure?: { readonly error: unknown };
  finished: boolean;
  wake: () => void;
}

/** What a step computes for one sequence. */
export interface Share {
  readonly sequence: Sequence;
  /** Position of the first token fed in this step, and how many follow it. */
  readonly begin: number;
  readonly count: number;
  /** Outputs in this step: index of the first, and how many. */
  readonly firstOutput: number;
  readonly outputs: number;
  /** Whether the last output is the prompt's end or a new token's: then a token is taken. */
  readonly samples: boolean;
}

/** A step: its rows and outputs, and whose they are. */
export interface Schedule {
  readonly rows: readonly Row[];
  readonly outputs: readonly Output[];
  readonly shares: readonly Share[];
}

/** What a step has room for; `maxModelLen` cache rows belong to each lane. */
export interface Room {
  readonly maxRows: number;
  readonly maxOutputs: number;
  readonly maxModelLen: number;
}

/** Tokens to feed before the next one can be sampled: known ones, and one that is in flight. */
function pending({ tokens, cached, flying, request, mostNew }: Sequence): number {
  if (!flying) return tokens.length - cached;
  const made = tokens.length + 1 - request.promptTokenIds.length;
  return made < mostNew ? tokens.length + 1 - cached : 0;
}

function shareOf(
  sequence: Sequence,
  room: { rows: number; outputs: number; firstOutput: number },
): Share | undefined {
  const { request, cached } = sequence;
  const wanted = pending(sequence);
  const scored = request.promptLogprobs && cached < request.promptTokenIds.length;
  const count = Math.min(wanted, room.rows, scored ? room.outputs : Infinity);
  const samples = count === wanted;
  if (count === 0 || (samples && room.outputs === 0)) return undefined;
  const outputs = scored ? count : Number(samples);
  return { sequence, begin: cached, count, firstOutput: room.firstOutput, outputs, samples };
}

function fill(
  { sequence, begin, count, outputs: wanted, samples }: Share,
  rows: Row[],
  outputs: Output[],
  first: number,
): void {
  const { lease, tokens, request, uniform, flying } = sequence;
  const prompt = request.promptTokenIds.length;
  for (let i = 0; i < count; i++) {
    const position = begin + i;
    if (count - i <= wanted) {
      const { temperature, topP, topK } = request.sampling;
      // One draw a sampled token: how a prompt is cut into steps depends on the company.
      const taken = samples && i === count - 1;
      outputs.push({
        row: rows.length,
        temperature: taken ? temperature : 0,
        topP,
        topK,
        uniform: taken ? uniform() : 0,
      });
    }
    const place = { position, first, length: Math.max(prompt, position + 1), adapter: lease };
    rows.push(
      position < tokens.length
        ? { token: tokens[position], ...place }
        : { from: flying!.firstOutput + flying!.outputs - 1, ...place },
    );
  }
}

/** The next step of sequences that have a lane; without rows where none of them can go on. */
export function schedule(running: readonly Sequence[], { maxRows, maxOutputs, maxModelLen }: Room): Schedule {
  const rows: Row[] = [];
  const outputs: Output[] = [];
  const shares: Share[] = [];
  // Sequences that only need their next token come first: they take one row each, and there is room for all.
  for (const sequence of running.toSorted((a, b) => pending(a) - pending(b))) {
    const share = shareOf(sequence, {
      rows: maxRows - rows.length,
      outputs: maxOutputs - outputs.length,
      firstOutput: outputs.length,
    });
    if (!share) continue;
    fill(share, rows, outputs, sequence.lane * maxModelLen);
    shares.push(share);
  }
  return { rows, outputs, shares };
}
