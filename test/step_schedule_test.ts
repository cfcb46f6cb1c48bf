/**
 * Which rows and outputs a step has, for any company of sequences.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Bank } from "../src/adapters/bank.ts";
import { Paging } from "../src/engine/paging.ts";
import { endsOf } from "../src/engine/request.ts";
import { type Room, schedule, type Sequence } from "../src/engine/schedule.ts";

/** A sequence of `prompt` tokens and `made` new ones; the cache has all but the last few. */
interface Spec {
  readonly prompt: number;
  readonly made: number;
  readonly cached: number;
  readonly scored: boolean;
  readonly minTokens: number;
}

function sequenceOf({ prompt, made, cached, scored, minTokens }: Spec, lane: number): Sequence {
  const request = {
    promptTokenIds: Array.from({ length: prompt }, (_, i) => i),
    maxTokens: 1000,
    sampling: { temperature: 1, topP: 1, topK: 0 },
    ...(scored ? { logprobs: 0, promptLogprobs: true } : {}),
    minTokens,
    stopTokenIds: [3],
  };
  return {
    request,
    passed: 0,
    ends: endsOf(request, { maxModelLen: 4096, vocabSize: 32, eosTokenIds: [7, 32] }),
    uniform: () => 0.5,
    mostNew: 1000,
    tokens: Array.from({ length: prompt + made }, (_, i) => i),
    // New tokens are computed one by one.
    cached: made > 0 ? prompt + made - 1 : Math.min(cached, prompt - 1),
    blocks: [lane],
    kept: 0,
    promptLogprobs: [],
    events: [],
    finished: false,
    wake: () => {},
  };
}

const spec: fc.Arbitrary<Spec> = fc.record({
  prompt: fc.integer({ min: 1, max: 60 }),
  made: fc.oneof(fc.constant(0), fc.nat(3)),
  cached: fc.oneof(fc.constant(0), fc.nat(59)),
  scored: fc.boolean(),
  minTokens: fc.nat(3),
});

/** Each sequence has a block that holds it all. */
const paging = new Paging({ blocks: 256, blockSize: 4096, prefixCaching: true, fixedLength: Infinity });

/** Room for every sequence, as engines have it. */
const roomFor = (sequences: number, { rows, outputs }: { rows: number; outputs: number }): Room => ({
  maxRows: Math.max(rows, sequences + Math.ceil(rows / 4)),
  maxOutputs: Math.max(sequences, outputs),
  maxBlocks: sequences,
  promptRows: Math.ceil(rows / 4),
  usualRows: rows,
});

test("schedule keeps to a step's rows and outputs, and gives each sequence its own tokens in order", () => {
  fc.assert(fc.property(
    fc.array(spec, { minLength: 1, maxLength: 12 }),
    fc.integer({ min: 1, max: 40 }),
    fc.integer({ min: 1, max: 20 }),
    (specs, rows, outputs) => {
      const room = roomFor(specs.length, { rows, outputs });
      const step = schedule(specs.map(sequenceOf), { room, paging });
      assert.ok(step.rows.length <= room.maxRows, `${step.rows.length} rows`);
      assert.ok(step.outputs.length <= room.maxOutputs, `${step.outputs.length} outputs`);
      assert.ok(step.rows.length > 0);
      let row = 0, output = 0;
      for (const share of step.shares) {
        const { sequence: { tokens, blocks, request, ends, cached }, begin, count, firstOutput, samples } =
          share;
        const scores = request.promptLogprobs && begin < request.promptTokenIds.length;
        assert.equal(begin, cached);
        assert.equal(firstOutput, output);
        assert.equal(share.outputs, scores ? count : Number(samples));
        assert.equal(samples, begin + count === tokens.length);
        for (let i = 0; i < count; i++, row++) {
          assert.deepEqual(step.rows[row], {
            token: tokens[begin + i],
            position: begin + i,
            blocks,
            length: Math.max(request.promptTokenIds.length, begin + i + 1),
            adapters: undefined,
            own: undefined,
            state: undefined,
          });
          if (count - i > share.outputs) continue;
          const made = begin + i + 1 - request.promptTokenIds.length;
          const draws = samples && i === count - 1;
          const { forbidden, temperature, row: of } = step.outputs[output++];
          assert.deepEqual([of, temperature], [row, Number(draws)]);
          assert.equal(forbidden, draws && made < request.minTokens! ? ends : undefined);
        }
      }
      assert.deepEqual([row, output], [step.rows.length, step.outputs.length]);
    },
  ));
});

test("schedule gives every sequence that only needs its next token that one, and the oldest prompt a share", () => {
  fc.assert(fc.property(
    fc.array(spec, { minLength: 1, maxLength: 12 }),
    fc.integer({ min: 4, max: 40 }),
    (specs, rows) => {
      const sequences = specs.map(sequenceOf);
      const room = roomFor(specs.length, { rows, outputs: rows });
      const { shares } = schedule(sequences, { room, paging });
      const gets = (sequence: Sequence): number =>
        shares.find((share) => share.sequence === sequence)?.count ?? 0;
      const missing = (sequence: Sequence): number => sequence.tokens.length - sequence.cached;
      const next = sequences.filter((sequence) => missing(sequence) === 1);
      for (const sequence of next) assert.equal(gets(sequence), 1);
      const oldest = sequences.find((sequence) => missing(sequence) > 1);
      if (!oldest || oldest.request.promptLogprobs) return;
      const left = Math.max(rows - next.length, Math.ceil(rows / 4));
      assert.ok(gets(oldest) >= Math.min(missing(oldest), Math.ceil(left / 2)), `${gets(oldest)} of ${left}`);
    },
  ));
});

test("schedule of 256 sequences lets a prompt go on while all others take a row each", () => {
  const running = Array.from(
    { length: 255 },
    (_, lane) => sequenceOf({ prompt: 5, made: 2, cached: 0, scored: false, minTokens: 0 }, lane),
  );
  running.push(sequenceOf({ prompt: 500, made: 0, cached: 0, scored: false, minTokens: 0 }, 255));
  const { rows, shares } = schedule(running, {
    room: roomFor(256, { rows: 256, outputs: 256 }),
    paging,
  });
  assert.equal(shares.length, 256);
  assert.equal(shares[255].count, 64);
  assert.equal(rows.length, 319);
});

test("schedule puts sequences of one adapter side by side, each adapter's in the order they came", () => {
  const [one, other] = [{}, {}] as Bank[];
  const placed = [[other, 1], [one, 3], [other, 0], undefined, [one, 3], [other, 1], undefined] as const;
  const running = placed.map((place, lane) => {
    const sequence = sequenceOf({ prompt: 5, made: 2, cached: 0, scored: false, minTokens: 0 }, lane);
    const [bank, slot] = place ?? [];
    return bank
      ? {
        ...sequence,
        lease: { id: "an adapter", digest: "", placed: [{ bank, slot: slot! }], release: () => {} },
      }
      : sequence;
  });
  const { rows, shares } = schedule(running, {
    room: roomFor(8, { rows: 8, outputs: 8 }),
    paging,
  });
  assert.deepEqual(shares.map(({ sequence }) => running.indexOf(sequence)), [3, 6, 2, 0, 5, 1, 4]);
  assert.deepEqual(rows.map(({ adapters }) => adapters?.[0].slot), [undefined, undefined, 0, 1, 1, 3, 3]);
});

test("endsOf has the model's own ends unless they are ignored, those of the request, and none past the logits", () => {
  const capacity = { maxModelLen: 9, vocabSize: 10, eosTokenIds: [2, 10] };
  const request = { promptTokenIds: [1], maxTokens: 1, sampling: { temperature: 0, topP: 1, topK: 0 } };
  assert.deepEqual([...endsOf(request, capacity)], [2]);
  assert.deepEqual([...endsOf({ ...request, stopTokenIds: [4, 2] }, capacity)], [2, 4]);
  assert.deepEqual([...endsOf({ ...request, stopTokenIds: [4], ignoreEos: true }, capacity)], [4]);
});
