/**
 * Rotary settings at their bounds: what is refused, what is implied, and turns where numbers meet or end.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isFiniteRope, plainFrequencies, ropeFrequencies, ropeTable, RopeTurns } from "../src/models/rope.ts";
import { parseRope, type RopeConfig, type RopeScaling } from "../src/models/rope_config.ts";

const context = { headDim: 8, maxPositions: 100 };
const parsed = (settings: unknown, headDim = 8): RopeScaling =>
  parseRope({ rope_parameters: settings }, { ...context, headDim }).scaling;
const refuses = (settings: unknown, message: RegExp, headDim = 8): void => {
  assert.throws(() => parsed(settings, headDim), { name: "ConfigError", message });
};

test("parseRope() refuses settings that are neither an object nor absent", () => {
  for (const settings of [true, 1, "", [], "yarn"]) refuses(settings, /it must be an object/);
  for (const settings of [false, null, undefined, {}]) {
    assert.deepEqual(parsed(settings), { type: "default" });
  }
});

test("parseRope() refuses factors of attention that are not finite numbers, or below 0", () => {
  const yarn = { rope_type: "yarn", factor: 4 };
  for (const value of [Infinity, -Infinity, -1, -0.1, "1", true]) {
    refuses(
      { ...yarn, attention_factor: value },
      /"rope_parameters.attention_factor" = .*: it must be a finite/,
    );
  }
  for (const value of [Infinity, -Infinity, "1", true]) {
    refuses(
      { ...yarn, mscale: value, mscale_all_dim: 1 },
      /"rope_parameters.mscale" = .*: it must be a number/,
    );
    refuses(
      { ...yarn, mscale: 1, mscale_all_dim: value },
      /"rope_parameters.mscale" = .*: it must be a number/,
    );
  }
});

test("parseRope() takes longrope's factors where each is a positive number, one for each pair", () => {
  const longrope = {
    rope_type: "longrope",
    factor: 2,
    short_factor: [1, 1, 1, 1],
    long_factor: [1, 2, 3, 4],
  };
  assert.equal(parsed(longrope).type, "longrope");
  const rule = "longrope needs a list of 4 positive numbers";
  for (const bad of [0, -1, Infinity, "1", null]) {
    const factors = [1, bad, 1, 1];
    refuses(
      { ...longrope, short_factor: factors },
      new RegExp(`"rope_parameters.short_factor" = .*: ${rule}`),
    );
    refuses({ ...longrope, long_factor: factors }, new RegExp(`"rope_parameters.long_factor" = .*: ${rule}`));
  }
  for (const factors of [[1, 1, 1], [1, 1, 1, 1, 1], [], "1111", undefined]) {
    refuses({ ...longrope, long_factor: factors }, new RegExp(rule));
  }
});

test("parseRope() scales longrope's attention only where it stretches", () => {
  const attention = (factor: number): number => {
    const lists = { short_factor: [1, 1, 1, 1], long_factor: [1, 1, 1, 1] };
    const scaling = parsed({ rope_type: "longrope", factor, ...lists });
    return scaling.type === "longrope" ? scaling.attentionFactor : NaN;
  };
  assert.equal(attention(0.5), 1);
  assert.equal(attention(1), 1);
  assert.equal(attention(10), Math.sqrt(1 + Math.log(10) / Math.log(100)));
});

test("parseRope() takes dynamic scaling of heads of 4 numbers and more", () => {
  const dynamic = { rope_type: "dynamic", factor: 2 };
  refuses(dynamic, /"head_dim" = 2: dynamic rotary scaling needs 4 or more/, 2);
  assert.deepEqual(parsed(dynamic, 4), { type: "dynamic", factor: 2, originalMaxPositions: 100 });
});

const base = { headDim: 8, ropeTheta: 10000 };

test("llama3 scaling keeps short wavelengths, and stretches those past the original length by lowFreqFactor", () => {
  const config: RopeConfig = {
    ...base,
    ropeScaling: {
      type: "llama3",
      factor: 4,
      lowFreqFactor: 4,
      highFreqFactor: 16,
      originalMaxPositions: 1600,
    },
  };
  // Wavelengths of about 6, 63, 628 and 6283; kept below 100, stretched above 400.
  const [first, second, third, fourth] = plainFrequencies(config);
  assert.deepEqual([...ropeFrequencies(config)], [first, second, third / 4, fourth / 4]);
});

test("yarn whose ramp has no width stretches the pairs past it alone", () => {
  const originalMaxPositions = 2 ** 20;
  /** How often a pair turns in the original length. */
  const turnsOf = (pair: number): number =>
    originalMaxPositions / (2 * Math.PI * base.ropeTheta ** (2 * pair / base.headDim));
  const config: RopeConfig = {
    ...base,
    ropeScaling: {
      type: "yarn",
      factor: 4,
      originalMaxPositions,
      attentionFactor: 1,
      betaFast: turnsOf(2.5),
      betaSlow: turnsOf(1.5),
      truncate: true,
    },
  };
  const [first, second, third, fourth] = plainFrequencies(config);
  assert.deepEqual([...ropeFrequencies(config)], [first, second, third, fourth / 4]);
});

test("RopeTurns writes the numbers of its own turn, and none past them", () => {
  const config: RopeConfig = { ...base, ropeScaling: { type: "default" } };
  const turns = new RopeTurns(config), table = ropeTable(config, 3);
  const rows = new Float32Array(4 * turns.size).fill(7);
  for (const position of [2, 1, 0]) turns.write(rows, position * turns.size, { position, length: 3 });
  assert.deepEqual(rows.subarray(0, table.length), table);
  assert.deepEqual([...rows.subarray(table.length)], Array(turns.size).fill(7));
});

test("isFiniteRope() looks at the first and at the last length", () => {
  const dynamic: RopeConfig = {
    headDim: 4,
    ropeTheta: 10000,
    ropeScaling: { type: "dynamic", factor: 2, originalMaxPositions: 8 },
  };
  assert.equal(isFiniteRope(dynamic, 16), true);
  // Its base grows beyond float64.
  assert.equal(isFiniteRope(dynamic, 1e200), false);
  const yarn = parsed({ rope_type: "yarn", factor: 4 });
  assert.ok(yarn.type === "yarn");
  assert.equal(isFiniteRope({ ...base, ropeScaling: yarn }, 16), true);
  assert.equal(isFiniteRope({ ...base, ropeScaling: { ...yarn, attentionFactor: Infinity } }, 16), false);
});
