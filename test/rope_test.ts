import assert from "node:assert/strict";
import { test } from "node:test";
import { type BatchEngine, cpuDevice, openModel, perplexity } from "../mod.ts";
import { parseLlamaConfig } from "../src/models/llama/config.ts";
import {
  fixedRopeLength,
  ropeAttentionFactor,
  ropeFrequencies,
  ropeTable,
  RopeTurns,
} from "../src/models/rope.ts";
import { everyDevice, everyGpuCase } from "./devices.ts";
import { tinyFields, tinyFolder } from "./model_folders.ts";
import { packedGolden } from "./packed_golden.ts";

/** What transformers computed, see fixtures/make_rope.py. */
interface Run {
  readonly prompt: readonly number[];
  readonly last_logits: readonly number[];
  readonly greedy: readonly number[];
}

interface Case {
  /** config.json of the tiny model, and the fields that differ for heads of 64. */
  readonly fields: Record<string, unknown>;
  readonly wide_fields: Record<string, unknown>;
  /** For heads of 64, by length. */
  readonly inv_freq: readonly (readonly number[])[];
  readonly attention_factor: number;
  readonly runs: readonly Run[];
}

const golden = packedGolden<{
  readonly lengths: readonly number[];
  readonly cases: Readonly<Record<string, Case>>;
}>("rope_golden");
const cases = Object.entries(golden.cases);
const base = "llama3-rope";
const configOf = (name: string) => parseLlamaConfig(golden.cases[name].fields);

function logprobsOf(logits: readonly number[]): number[] {
  const sum = Math.log(logits.reduce((total, value) => total + Math.exp(value), 0));
  return logits.map((value) => value - sum);
}

/** Greedy ids, and the log-probabilities at the first of them, all ids of the vocabulary. */
async function generated(engine: BatchEngine, { prompt, greedy }: Run) {
  const ids: number[] = [];
  const first = new Map<number, number>();
  const request = {
    promptTokenIds: prompt,
    maxTokens: greedy.length,
    sampling: { temperature: 0, topP: 1, topK: 0 },
    logprobs: 20,
  };
  for await (const event of engine.generate(request)) {
    if (event.kind !== "token") continue;
    if (ids.length === 0) {
      for (const { tokenId, logprob } of event.logprobs!.top) first.set(tokenId, logprob);
    }
    ids.push(event.tokenId);
  }
  return { ids, first };
}

test("ropeFrequencies are transformers' at every length, for every type and spelling", () => {
  for (const [name, { wide_fields, fields, inv_freq, attention_factor }] of cases) {
    const config = parseLlamaConfig({ ...fields, ...wide_fields, head_dim: 64 });
    assert.ok(Math.abs(ropeAttentionFactor(config) / attention_factor - 1) < 1e-12, name);
    for (const [i, length] of golden.lengths.entries()) {
      const found = ropeFrequencies(config, length);
      assert.equal(found.length, 32);
      inv_freq[i].forEach((value, pair) => {
        const error = Math.abs(found[pair] / value - 1);
        assert.ok(error <= 2e-6, `${name}, length ${length}, pair ${pair}: ${found[pair]}, not ${value}`);
      });
    }
  }
});

test("ropeFrequencies of the cases differ from each other, so that none passes for another", () => {
  const told = cases.map(([, { inv_freq, attention_factor }]) => `${inv_freq} ${attention_factor}`);
  // An empty `rope_scaling`, and a theta beside that of `rope_parameters`, change nothing.
  assert.equal(new Set(told).size, cases.length - 1);
});

for (const [name, { fields, runs }] of cases) {
  test(`openModel with ${name} rotary scaling: logits and greedy ids are transformers', in company and in pieces`, async () => {
    for (const maxStepTokens of [256, 5]) {
      const { engine } = await openModel(cpuDevice(), {
        folder: tinyFolder(base, { fields }),
        maxModelLen: 24,
        engine: { maxStepTokens, maxSequences: 4 },
      });
      const found = await Promise.all([...runs, ...runs].map((run) => generated(engine, run)));
      found.forEach(({ ids, first }, i) => {
        const run = runs[i % runs.length];
        assert.deepEqual(ids, run.greedy, `prompt of ${run.prompt.length}`);
        const expected = logprobsOf(run.last_logits);
        for (const [id, logprob] of first) {
          assert.ok(Math.abs(logprob - expected[id]) <= 1e-4, `token ${id}: ${logprob}, not ${expected[id]}`);
        }
      });
    }
  });
}

for (const [name, device] of await everyDevice()) {
  // The same kernels as without scaling, and numbers that a host computes.
  if (device.kind === "webgpu" && !everyGpuCase) continue;
  test(`openModel with dynamic and longrope scaling on ${name}: greedy ids are transformers', in company`, async () => {
    for (const { fields, runs } of [golden.cases.dynamic, golden.cases.longrope]) {
      const { engine } = await openModel(device, {
        folder: tinyFolder(base, { fields }),
        maxModelLen: 24,
        engine: { maxStepTokens: 8, maxSequences: 2, merging: "never" },
      });
      const found = await Promise.all(runs.map((run) => generated(engine, run)));
      assert.deepEqual(found.map(({ ids }) => ids), runs.map(({ greedy }) => greedy));
    }
  });
}

test("parseLlamaConfig gives the length that a scaling is made for", () => {
  const lengthOf = (changes: Record<string, unknown>): number =>
    parseLlamaConfig({ ...tinyFields(base), max_position_embeddings: 100, ...changes }).maxPositions;
  const rope = (rope_parameters: Record<string, unknown>) => ({ rope_parameters });
  assert.equal(lengthOf(rope({ rope_type: "default" })), 100);
  assert.equal(lengthOf(rope({ rope_type: "linear", factor: 2.5 })), 250);
  assert.equal(lengthOf(rope({ rope_type: "linear", factor: 0.5 })), 100);
  assert.equal(lengthOf(rope({ rope_type: "dynamic", factor: 2 })), 2 ** 30);
  assert.equal(lengthOf(rope({ rope_type: "yarn", factor: 4, original_max_position_embeddings: 50 })), 200);
  assert.equal(lengthOf(rope({ rope_type: "yarn", factor: 4 })), 400);
  assert.equal(lengthOf(rope({ rope_type: "yarn", factor: 1e300 })), 2 ** 30);
  const mistral = { model_type: "mistral", sliding_window: 70, ...rope({ rope_type: "linear", factor: 2 }) };
  assert.equal(lengthOf(mistral), 200);
});

test("fixedRopeLength is where turns begin to depend on the length, and ropeTable is right up to there", () => {
  assert.equal(fixedRopeLength(configOf("linear")), Infinity);
  assert.equal(fixedRopeLength(configOf("dynamic")), 8);
  for (const name of ["dynamic", "longrope"]) {
    const config = configOf(name);
    const table = ropeTable(config, 8), turns = new RopeTurns(config);
    const row = new Float32Array(turns.size);
    for (const length of [8, 5]) {
      for (let position = 0; position < length; position++) {
        turns.write(row, 0, { position, length });
        assert.deepEqual(row, table.slice(position * turns.size, (position + 1) * turns.size));
      }
    }
    turns.write(row, 0, { position: 7, length: 9 });
    assert.notDeepEqual(row, table.slice(7 * turns.size, 8 * turns.size));
  }
});

test("RopeTurns keeps few lengths, and is right for those it has forgotten", () => {
  const config = configOf("dynamic");
  const turns = new RopeTurns(config), fresh = new RopeTurns(config);
  const row = new Float32Array(turns.size), expected = new Float32Array(turns.size);
  for (let length = 9; length < 200; length++) turns.write(row, 0, { position: 8, length });
  turns.write(row, 0, { position: 8, length: 9 });
  fresh.write(expected, 0, { position: 8, length: 9 });
  assert.deepEqual(row, expected);
});

test("perplexity keeps to lengths at which a sequence's turns do not depend on its length", async () => {
  const { fields } = golden.cases.dynamic;
  const options = { folder: tinyFolder(base, { fields }), data: { name: "a.txt", text: "w1 w2 w3" } };
  await assert.rejects(perplexity(cpuDevice(), { ...options, contextLength: 9 } as never), {
    name: "RangeError",
    message: /sequences of 9 tokens: the model has positions for 8/,
  });
});
