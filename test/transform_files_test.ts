/**
 * What the files of C3A and WaveFT adapters may not hold, by name and rule.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { c3a } from "../src/adapters/methods/c3a.ts";
import { waveft } from "../src/adapters/methods/waveft.ts";
import { adapterPlan, createAdapter } from "../src/adapters/create.ts";
import { type Change, floats, load, q } from "./changed_fixtures.ts";

const kernel = `${q}.c3a_kernel`, spectrum = `${q}.waveft_spectrum`;

/** Fixtures, what is changed in them, and the error's words. */
const refused: readonly (readonly [name: string, what: string, change: Change, words: RegExp])[] = [
  ["c3a", "a field that nobody reads", { config: { c3a_new: 1 } }, /field "c3a_new" = 1/],
  ["c3a", "blocks of 0", { config: { block_size: 0 } }, /field "block_size" = 0: it must be 1 or more/],
  ["c3a", "half a block", { config: { block_size: 1.5 } }, /field "block_size" as an integer/],
  [
    "c3a",
    "a pattern of words",
    { config: { block_size_pattern: { q_proj: "8" } } },
    /"block_size_pattern\.q_proj"/,
  ],
  [
    "c3a",
    "a tensor of another name",
    { tensors: { [`${q}.c3a_x`]: floats([1]) } },
    /"base_model.*c3a_x" as C3A/,
  ],
  [
    "c3a",
    "kernels of two sizes",
    { tensors: { [kernel]: floats([4, 64]) } },
    /c3a_kernel": its shape must be \(out/,
  ],
  [
    "c3a",
    "no kernels",
    { tensors: { [kernel]: floats([0, 4, 16]) } },
    /c3a_kernel": its shape must be \(out/,
  ],
  ["c3a", "NaN", { tensors: { [kernel]: floats([4, 4, 16], NaN) } }, /c3a_kernel": element 0 is NaN/],
  [
    "c3a",
    "numbers past float32",
    { tensors: { [kernel]: floats([4, 4, 16], 1e38) } },
    /sum of a row of .*c3a_kernel/,
  ],
  ["waveft", "a field that nobody reads", { config: { levels: 2 } }, /field "levels" = 2/],
  ["waveft", "no seed", { config: { random_loc_seed: null } }, /field "random_loc_seed" = null: the places/],
  [
    "waveft",
    "a wavelet of no name",
    { config: { wavelet_family: "haar" } },
    /"wavelet_family" = "haar": .* db1, db2/,
  ],
  [
    "waveft",
    "a wavelet without a filter",
    { config: { wavelet_family: "db11" } },
    /"wavelet_family" = "db11": /,
  ],
  [
    "waveft",
    "a wavelet that is none",
    { config: { wavelet_family: 1 } },
    /"wavelet_family" = 1: it must be one of/,
  ],
  [
    "waveft",
    "a word for a flag",
    { config: { use_idwt: "no" } },
    /field "use_idwt" as true or false: it is "no"/,
  ],
  ["waveft", "a scaling that is none", { config: { scaling: "25" } }, /field "scaling" as a finite number/],
  ["waveft", "a scaling past float32", { config: { scaling: 1e39 } }, /field "scaling" = 1e\+39/],
  [
    "waveft",
    "a tensor of another name",
    { tensors: { [`${q}.c3a_kernel`]: floats([1]) } },
    /c3a_kernel" as WaveFT/,
  ],
  [
    "waveft",
    "a matrix",
    { tensors: { [spectrum]: floats([6, 10]) } },
    /waveft_spectrum": its shape must be \[n\]/,
  ],
  [
    "waveft",
    "no coefficients",
    { tensors: { [spectrum]: floats([0]) } },
    /waveft_spectrum": its shape must be \[n\]/,
  ],
  [
    "waveft",
    "infinity",
    { tensors: { [spectrum]: floats([60], Infinity) } },
    /waveft_spectrum": element 0 is Inf/,
  ],
];

for (const [name, what, change, words] of refused) {
  test(`${name}: ${what} is refused by name`, async () => {
    await assert.rejects(load(name, change), (error: Error) => {
      assert.equal(error.name, "ConfigError");
      assert.match(error.message, words);
      return true;
    });
  });
}

test("WaveFT: a wavelet that nobody reads may be one that PEFT has no filter for", async () => {
  await load("waveft-direct", { config: { wavelet_family: "sym20" } });
});

test("WaveFT: more coefficients than a weight has places, and dW past float32, are refused by the module's name", async () => {
  const { modules } = await load("waveft", {
    tensors: { [spectrum]: floats([60], 1e36) },
    config: { scaling: 1e3 },
  });
  const module = modules.get("model.layers.0.self_attn.q_proj")!;
  assert.throws(() => module.check("a.b", { out: 7, in: 8 }), {
    name: "RangeError",
    message: 'Cannot place 60 coefficients in module "a.b": its weight (7, 8) has 56',
  });
  assert.throws(
    () => module.check("a.b", { out: 64, in: 64 }),
    /^ConfigError: Cannot use module "a\.b" with scaling/,
  );
});

test("C3A: blocks that make another matrix are refused by the module's name", async () => {
  const { modules } = await load("c3a");
  const module = modules.get("model.layers.0.self_attn.q_proj")!;
  module.check("a.b", { out: 64, in: 64 });
  assert.throws(() => module.check("a.b", { out: 64, in: 60 }), {
    name: "RangeError",
    message: 'Cannot use module "a.b": its blocks of 16 make a matrix (64, 64), the weight is (64, 60)',
  });
});

test("createAdapter refuses a C3A block size that does not divide, and tells the greatest that does", () => {
  const linears = [{ path: "a.q", shape: { out: 48, in: 64 } }, { path: "a.v", shape: { out: 32, in: 64 } }];
  assert.throws(() => createAdapter(linears, adapterPlan({ method: c3a }), Math.random), {
    name: "RangeError",
    message: 'Cannot use blockSize 256 in module "a.q": it must divide the weight\'s (48, 64); ' +
      "the greatest that divides all target modules is 16",
  });
  const { modules, config } = createAdapter(
    linears,
    adapterPlan({ peftType: "C3A", blockSize: 16 }),
    Math.random,
  );
  assert.deepEqual([...modules.values()].map(({ parameters }) => parameters), [192, 128]);
  assert.deepEqual([config.peft_type, config.block_size, config.init_weights], ["C3A", 16, true]);
});

test("createAdapter makes WaveFT adapters of a wavelet, and refuses one that there is not", () => {
  const linears = [{ path: "a.q", shape: { out: 4, in: 6 } }];
  const asked = { peftType: "WAVEFT", waveletFamily: "sym4", nFrequency: 100 } as const;
  const { modules, config } = createAdapter(linears, adapterPlan(asked), Math.random);
  assert.equal(modules.get("a.q")!.summary, "n = 24, sym4, seed 777, scaling 25");
  assert.deepEqual([config.wavelet_family, config.use_idwt, config.n_frequency], ["sym4", true, 100]);
  assert.throws(
    () => adapterPlan({ method: waveft, options: { waveletFamily: "haar" } }),
    /^RangeError: Cannot use waveletFamily "haar": it must be db1 or db2/,
  );
});
