/**
 * Which sequences take part in a step, with which tokens.
 *
 * @module
 */
import type { Bank } from "../adapters/bank.ts";
import type { Found, Holding } from "../adapters/registry.ts";
import type { Chain } from "./block_pool.ts";
import type { TokenCounts } from "./adjusting.ts";
import type { ConstrainedRun } from "./constraint.ts";
import { maxTemperature } from "./forbidding.ts";
import { maskWithout } from "./masking.ts";
import type { GenerateEvent, GenerateRequest, TokenLogprobs } from "./generate.ts";
import type { Paging } from "./paging.ts";
import type { Output, Row } from "./step_inputs.ts";

/** A running or waiting sequence. */
export interface Sequence {
  readonly request: GenerateRequest;
  /** While it runs with an adapter. */
  lease?: Holding;
  /** The adapter, once it was looked up and until it is held. */
  found?: Found;
  /** Whether its adapter is being read. */
  reading?: boolean;
  /** How many sequences that came later have passed it while there was no room for its adapter. */
  passed: number;
  /** Tokens that end it. */
  readonly ends: ReadonlySet<number>;
  readonly uniform: () => number;
  /** New tokens at most: as many as are asked for and the context holds. */
  readonly mostNew: number;
  /** Prompt and new tokens, as far as they are known. */
  readonly tokens: number[];
  /** Tokens in the cache, once the steps that were submitted have run. */
  cached: number;
  /** Tokens that were run together once more, where the model's rule asks for that; see `Room.rerunBeyond`. */
  rerun?: number;
  /** The share in a submitted step whose token is not known yet. */
  flying?: Share;
  /** Its blocks of the cache, one for each `blockSize` positions; none while it waits for them. */
  blocks: number[];
  /** The number of its state, of models with states; none while it waits for blocks. */
  state?: number;
  /** What it shares blocks by; undefined where it shares none. */
  salt?: string;
  /** The chain of its first block that is not kept for others, and how many before that are. */
  chain?: Chain;
  kept: number;
  /** Its constraint's run, and what may come next; no mask while the run works it out. */
  run?: ConstrainedRun;
  mask?: Uint32Array;
  /** Its tokens' counts, where its logits are changed by them. */
  readonly counts?: TokenCounts;
  readonly promptLogprobs: (TokenLogprobs | null)[];
  /** Events that its asker has not taken. */
  events: GenerateEvent[];
  /** When its asker may hear of more tokens, in ms; absent before the first, which is told at once. */
  dueMs?: number;
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

/** What a step has room for. */
export interface Room {
  readonly maxRows: number;
  /** Rows that a step gives prompts at least, if it has the room, however many sequences take one row each. */
  readonly promptRows: number;
  /** Rows after which prompts get no more than that. */
  readonly usualRows: number;
  readonly maxOutputs: number;
  /** Blocks of all its sequences together. */
  readonly maxBlocks: number;
  /**
   * The length beyond which a sequence's first tokens have other numbers: one that grows past it is run anew as a whole, once.
   */
  readonly rerunBeyond?: number;
}

/** Tokens that are one forward, as the prompt is. */
const together = ({ rerun, request }: Sequence): number => rerun ?? request.promptTokenIds.length;

/** Whether a sequence of so many tokens has left the length that its cache is right for. */
function leaves(sequence: Sequence, length: number, { rerunBeyond = Infinity }: Room): boolean {
  return length > rerunBeyond && together(sequence) <= rerunBeyond;
}

/** Has sequences that grew past `rerunBeyond` run anew, once all their tokens are known. */
function startAnew(running: readonly Sequence[], { room, paging }: { room: Room; paging: Paging }): void {
  for (const sequence of running) {
    if (sequence.flying || !leaves(sequence, sequence.tokens.length, room)) continue;
    sequence.rerun = sequence.tokens.length;
    sequence.salt = undefined;
    paging.release(sequence);
  }
}

/** Tokens to feed before the next one can be sampled: known ones, and one that is in flight. */
function pending(sequence: Sequence, room: Room): number {
  const { tokens, cached, flying, request, mostNew, run, mask } = sequence;
  // What may come next depends on the token in flight.
  if (run && (flying || !mask)) return 0;
  if (!flying) return tokens.length - cached;
  if (leaves(sequence, tokens.length + 1, room)) return 0;
  const made = tokens.length + 1 - request.promptTokenIds.length;
  return made < mostNew ? tokens.length + 1 - cached : 0;
}

function shareOf(
  sequence: Sequence,
  wanted: number,
  room: { rows: number; outputs: number; firstOutput: number },
  grant: (rows: number) => number,
): Share | undefined {
  const { request, cached, rerun } = sequence;
  const scored = request.promptLogprobs && rerun === undefined && cached < request.promptTokenIds.length;
  const count = grant(Math.min(wanted, room.rows, scored ? room.outputs : Infinity));
  const samples = count === wanted;
  if (count === 0 || (samples && room.outputs === 0)) return undefined;
  const outputs = scored ? count : Number(samples);
  return { sequence, begin: cached, count, firstOutput: room.firstOutput, outputs, samples };
}

/** The output of the step in flight whose token is a share's. */
const flyingOutput = ({ firstOutput, outputs }: Share): number => firstOutput + outputs - 1;

/** What keeps an output from some tokens: its mask, and ends that come too soon. A text that its rule has ended ends. */
function boundsOf({ mask, ends }: Sequence, tooSoon: boolean, vocabSize: number): Partial<Output> {
  if (mask) return { mask: tooSoon ? maskWithout(mask, ends, vocabSize) : mask };
  return tooSoon && ends.size > 0 ? { forbidden: ends } : {};
}

function outputOf(sequence: Sequence, row: number, made: number): Output {
  const { request, uniform, counts, tokens, flying, mask } = sequence;
  const { sampling: { topP, topK, minP = 0, temperature: asked }, minTokens = 0, logprobs } = request;
  const temperature = Math.min(asked, maxTemperature);
  const isPlain = minP === 0 && !counts && !mask && made >= minTokens && logprobs === undefined;
  // Most outputs: what others spread together costs more than all else here.
  if (isPlain) return { row, temperature, topP, topK, uniform: uniform() };
  return {
    row,
    temperature,
    ...(minP > 0 ? { depth: -temperature * Math.log(minP) } : {}),
    ...(counts ? { adjustment: counts.adjustment(tokens, flying && flyingOutput(flying)) } : {}),
    topP,
    topK,
    uniform: uniform(),
    ...boundsOf(sequence, made < minTokens, request.constraint?.vocabSize ?? 0),
    ...(logprobs === undefined ? {} : { wanted: { count: logprobs } }),
  };
}

function fill(
  { sequence, begin, count, outputs: wanted, samples }: Share,
  rows: Row[],
  outputs: Output[],
): void {
  const { lease, tokens, request, flying, blocks, state } = sequence;
  const prompt = request.promptTokenIds.length;
  for (let i = 0; i < count; i++) {
    const position = begin + i, row = rows.length;
    if (count - i <= wanted) {
      // One draw a sampled token: how a prompt is cut into steps depends on the company.
      const taken = samples && i === count - 1;
      const made = position + 1 - prompt;
      outputs.push(
        taken ? outputOf(sequence, row, made) : {
          ...{ row, temperature: 0, topP: 1, topK: 0, uniform: 0 },
          wanted: { token: tokens[position + 1], count: request.logprobs ?? 0 },
        },
      );
    }
    const place = {
      position,
      blocks,
      length: Math.max(together(sequence), position + 1),
      adapters: lease?.placed,
      own: lease?.own,
      state,
    };
    rows.push(
      position < tokens.length
        ? { token: tokens[position], ...place }
        : { from: flyingOutput(flying!), ...place },
    );
  }
}

/**
 * Sequences of one adapter side by side, each adapter's in their order: neighbouring rows share what is read of their adapter.
 * A sequence with several adapters goes by its first.
 */
function byAdapter(sequences: readonly Sequence[]): readonly Sequence[] {
  const banks = new Map<Bank, number>();
  const placeOf = ({ lease }: Sequence): number => {
    const first = lease?.placed[0];
    if (!first) return -1;
    const { bank, slot } = first, number = banks.get(bank) ?? banks.size;
    banks.set(bank, number);
    return number * 2 ** 32 + slot;
  };
  return sequences
    .map((sequence) => ({ sequence, place: placeOf(sequence) }))
    .sort((a, b) => a.place - b.place)
    .map(({ sequence }) => sequence);
}

/**
 * The next step of running sequences: those that need their next token, by adapter, then prompts in the order they came. There
 * are no rows where none of the sequences can go on.
 */
export function schedule(
  running: readonly Sequence[],
  { room, paging }: { readonly room: Room; readonly paging: Paging },
): Schedule {
  startAnew(running, { room, paging });
  paging.start(running);
  const rows: Row[] = [];
  const outputs: Output[] = [];
  const shares: Share[] = [];
  const shared = new Set<Sequence>();
  let blocks = 0;
  const give = (sequence: Sequence, maxRows: number): void => {
    const left = {
      rows: maxRows - rows.length,
      outputs: room.maxOutputs - outputs.length,
      firstOutput: outputs.length,
    };
    const grant = (rows: number): number => {
      const granted = paging.grant(sequence, rows, { running, shared });
      return blocks + sequence.blocks.length <= room.maxBlocks ? granted : 0;
    };
    const share = shareOf(sequence, pending(sequence, room), left, grant);
    if (!share) return;
    fill(share, rows, outputs);
    shares.push(share);
    shared.add(sequence);
    blocks += sequence.blocks.length;
  };
  // Who has blocks goes by age alone: an order by adapter would let the same sequences wait each time.
  const withBlocks = (sequences: readonly Sequence[]): readonly Sequence[] => {
    let taken = 0;
    return sequences.filter((sequence) => {
      const granted = paging.grant(sequence, 1, { running, shared });
      if (granted === 0 || taken + sequence.blocks.length > room.maxBlocks) return false;
      taken += sequence.blocks.length;
      return true;
    });
  };
  // Sequences that only need their next token come first: they take one row each, and there is room for all.
  const next: Sequence[] = [], prompts: Sequence[] = [];
  for (const sequence of running) {
    const wanted = pending(sequence, room);
    if (wanted > 0) (wanted === 1 ? next : prompts).push(sequence);
  }
  for (const sequence of byAdapter(withBlocks(next))) give(sequence, room.maxRows);
  const maxRows = Math.min(room.maxRows, Math.max(room.usualRows, rows.length + room.promptRows));
  // The oldest prompt has half of what is left, or all that the others do not need: so none waits for ever. Of the others
  // the short ones come first.
  const [oldest, ...others] = prompts;
  if (oldest) {
    const left = maxRows - rows.length;
    const wanted = others.reduce((sum, sequence) => sum + pending(sequence, room), 0);
    give(oldest, rows.length + Math.max(Math.ceil(left / 2), left - wanted));
  }
  for (const sequence of others.sort((a, b) => pending(a, room) - pending(b, room))) give(sequence, maxRows);
  return { rows, outputs, shares };
}
