/**
 * What SVFT's files may not hold, by name and rule.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { loadAdapter } from "../src/adapters/peft.ts";
import { uniforms } from "../src/engine/random.ts";
import { ConfigError } from "../src/errors.ts";
import { SafetensorsError } from "../src/safetensors/mod.ts";
import { tensor } from "../src/tensor.ts";
import { type Change, floats, load } from "./changed_fixtures.ts";
import { banded, base, delta, filesOf, shape } from "./svft_adapters.ts";

const path = "model.layers.0.self_attn.q_proj", q = `${path}.svft_layer`;

const index = (values: readonly number[]) => {
  const data = BigInt64Array.from(values, BigInt);
  return { dtype: "I64" as const, shape: [values.length], bytes: new Uint8Array(data.buffer) };
};
const near = Array.from({ length: 314 }, () => 0);

const refused: readonly (readonly [name: string, what: string, change: Change, rule: RegExp])[] = [
  [
    "plain",
    "an unknown pattern",
    { config: { pattern: "plain" } },
    /"pattern" = "plain": it must be banded, ra/,
  ],
  ["plain", "no pattern", { config: { pattern: undefined } }, /field "pattern" = undefined/],
  ["plain", "a negative band", { config: { off_diag: -1 } }, /"off_diag" = -1: it must be 0 or more/],
  ["plain", "half a band", { config: { off_diag: 0.5 } }, /"off_diag" as an integer: it is 0\.5/],
  ["plain", "no rank", { config: { rank: 0 } }, /"rank" = 0: it must be 1 or more/],
  [
    "plain",
    "random directions",
    { config: { fill_orthonormal: true } },
    /"fill_orthonormal" = true: random dir/,
  ],
  ["plain", "an unknown field", { config: { svft_scale: 2 } }, /"svft_scale" = 2: it may change/],
  [
    "plain",
    "an unknown tensor",
    { tensors: { [`${q}.w`]: floats([2]) } },
    /q_proj\.svft_layer\.w" as SVFT: only/,
  ],
  ["plain", "no entries", { tensors: { [`${q}.s`]: undefined } }, /find .*q_proj\.svft_layer\.s": /],
  ["plain", "no gate", { tensors: { [`${q}.gate`]: undefined } }, /find .*q_proj\.svft_layer\.gate": /],
  [
    "plain",
    "two gates",
    { tensors: { [`${q}.gate`]: floats([2]) } },
    /gate": its shape must be \(1\), it is \[2\]/,
  ],
  ["plain", "u alone", { tensors: { [`${q}.v`]: undefined } }, /find .*q_proj\.svft_layer\.v": /],
  ["plain", "no singular values", { tensors: { [`${q}.s_pre`]: undefined } }, /find .*layer\.s_pre": /],
  [
    "plain",
    "v of another n",
    { tensors: { [`${q}.v`]: floats([63, 64]) } },
    /v": its shape must be \(n, in\) with/,
  ],
  [
    "plain",
    "values of another n",
    { tensors: { [`${q}.s_pre`]: floats([63]) } },
    /s_pre": its shape must be \(n\)/,
  ],
  [
    "plain",
    "more vectors than inputs",
    { tensors: { [`${q}.v`]: floats([64, 63]) } },
    /u": n must be at most out, /,
  ],
  ["rank", "more vectors than the rank", { config: { rank: 19 } }, /u": n must be at most .* "rank" 19/],
  ["plain", "NaN", { tensors: { [`${q}.s`]: floats([64], NaN) } }, /svft_layer\.s": element 0 is NaN/],
  [
    "plain",
    "s of two dimensions",
    { tensors: { [`${q}.s`]: floats([64, 1]) } },
    /s": its shape must be \(entries\)/,
  ],
  ["banded", "rows without columns", { tensors: { [`${q}.s_col`]: undefined } }, /find .*s_col": /],
  [
    "banded",
    "an entry off the band",
    { config: { off_diag: 1 } },
    /s_col": entry 2 at \(0, 2\) is off the band/,
  ],
  [
    "banded",
    "a row past M",
    { tensors: { [`${q}.s_row`]: index([64, ...near.slice(1)]) } },
    /element 0 is 64, the/,
  ],
  [
    "banded",
    "a negative row",
    { tensors: { [`${q}.s_row`]: index([-1, ...near.slice(1)]) } },
    /element 0 is -1, t/,
  ],
  [
    "banded",
    "a row past 32 bits",
    { tensors: { [`${q}.s_row`]: index([2 ** 40, ...near.slice(1)]) } },
    /109951162/,
  ],
  [
    "banded",
    "too few rows",
    { tensors: { [`${q}.s_row`]: index([0]) } },
    /s_row": its shape must be \(entries\)/,
  ],
  [
    "banded",
    "rows of floats",
    { tensors: { [`${q}.s_row`]: floats([314]) } },
    /dtype is F32, the rule is U8/,
  ],
  [
    "plain",
    "singular values elsewhere",
    { tensors: { [`${q}.s_pre_row`]: index(near.slice(0, 64)) } },
    /s_pre_row": element 1 is not 1/,
  ],
  ["plain-slim", "signs left open", { config: { off_diag: 1 } }, /find .*svft_layer\.check": /],
  ["plain-slim", "random places", { config: { pattern: "random" } }, /find .*svft_layer\.(check|s_row)": /],
  [
    "plain-slim",
    "one check number",
    { tensors: { [`${q}.check`]: floats([64]) } },
    /check": its shape must be \(n/,
  ],
  [
    "plain-slim",
    "a tensor twice",
    { tensors: { [`base_model.model.${q}.s`]: floats([64]) } },
    /svft_layer\.s": "(base_model\.model\.)?model.*svft_layer\.s" is the same/,
  ],
];

for (const [name, what, change, rule] of refused) {
  test(`loadAdapter refuses SVFT with ${what}, by name`, async () => {
    await assert.rejects(load(`svft-${name}`, change), (error: Error) => {
      assert.equal(error.name, "ConfigError");
      assert.match(error.message, rule);
      return true;
    });
  });
}

test("SVFT modules refuse weights that they are not for, by name", async () => {
  const check = async (name: string, change: Change, of: { out: number; in: number }, rule: RegExp) => {
    const { modules } = await load(`svft-${name}`, change);
    assert.throws(() => modules.get(path)!.check("a.b", of), (error: Error) => {
      assert.equal(error.name, "RangeError");
      assert.match(error.message, rule);
      return true;
    });
  };
  const of = { out: 64, in: 64 };
  await check(
    "plain",
    {},
    { out: 64, in: 65 },
    /"a\.b": its u and v are of a \(64, 64\) weight, the weight is/,
  );
  await check("plain-slim", {}, { out: 63, in: 70 }, /a band of "off_diag" = 0 has 63 entries, not 64/);
  await check(
    "plain-slim",
    { tensors: { [`${q}.check`]: floats([9, 2]) } },
    of,
    /check numbers of 9 pairs, not of 64/,
  );
  const wide = { out: 8192, in: 8192 };
  const long = { tensors: { [`${q}.s`]: floats([8192]) } };
  await check(
    "plain-slim",
    long,
    wide,
    /takes 549755813888 multiplications, at most 274877906944 are accepted/,
  );
  const places = {
    [`${q}.s_row`]: index(near.slice(0, 64)),
    [`${q}.s_col`]: index([...near.slice(1, 64), 99]),
  };
  const config = { pattern: "banded", off_diag: 0 };
  await assert.rejects(load("svft-plain-slim", { config, tensors: places }), /off the band/);
  const same = { [`${q}.s_row`]: places[`${q}.s_col`], [`${q}.s_col`]: places[`${q}.s_col`] };
  await check(
    "plain-slim",
    { config, tensors: same },
    of,
    /an entry is at 99, past the 64 rows and columns of M/,
  );
});

/** Only the errors that say what is wrong with a file. */
function isAnswer(error: unknown): void {
  const isFit = error instanceof RangeError && /^Cannot use module/.test(error.message);
  assert.ok(error instanceof ConfigError || error instanceof SafetensorsError || isFit, `${error}`);
}

test("SVFT answers any fields and tensors with errors that say what is wrong, or computes finite numbers", async () => {
  const own = base(shape), value = fc.oneof(fc.jsonValue(), fc.integer({ min: -1, max: 12 }));
  const config = fc.record({
    pattern: fc.oneof({ weight: 6, arbitrary: fc.constantFrom("banded", "random", "top_k") }, {
      weight: 1,
      arbitrary: value,
    }),
    off_diag: fc.oneof({ weight: 6, arbitrary: fc.nat(3) }, { weight: 1, arbitrary: value }),
    rank: fc.option(fc.oneof(fc.nat(10), value)),
  });
  const size = fc.constantFrom(1, 2, 8, 9, 12, 25);
  const given = fc.record({
    s: fc.tuple(size),
    gate: fc.constantFrom([1], [1], [2], []),
    check: fc.constantFrom([9, 2], [9, 2], [8, 2], [9]),
    u: fc.tuple(size, size),
    v: fc.tuple(size, size),
    s_pre: fc.tuple(size),
    s_row: fc.tuple(size),
    s_col: fc.tuple(size),
  }, { requiredKeys: [] });
  const trained = await banded(own, 1);
  await fc.assert(
    fc.asyncProperty(config, given, fc.boolean(), fc.integer(), async (fields, shapes, isFile, seed) => {
      const random = uniforms(seed);
      const made = Object.entries(shapes).map(([name, dims]) => {
        const count = dims!.reduce((all: number, one: number) => all * one, 1);
        const isIndex = name.startsWith("s_r") || name.startsWith("s_c");
        const numbers = Array.from(
          { length: count },
          () => isIndex ? Math.floor(11 * random()) - 1 : random(),
        );
        return [
          name,
          tensor(isIndex ? Int32Array.from(numbers) : Float32Array.from(numbers), [...dims!]),
        ] as const;
      });
      const tensors = { ...(isFile ? trained : {}), ...Object.fromEntries(made) };
      if (Object.keys(tensors).length === 0) return;
      try {
        const adapter = await loadAdapter(filesOf(fields, tensors));
        assert.ok((await delta(adapter, own)).every(Number.isFinite));
      } catch (error) {
        isAnswer(error);
      }
    }),
    { numRuns: 400 },
  );
});
