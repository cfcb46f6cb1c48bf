/**
 * What the files of methods that are served as factors may not hold, by name and rule.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Change, fixtureBase, floats, indices, load, q, wideIndices } from "./changed_fixtures.ts";

const topk = `${q}.vblora_logits_A_topk`;

/** Fixtures, what is changed in them, and the error's words. */
const refused: readonly (readonly [name: string, what: string, change: Change, words: RegExp])[] = [
  ["vblora", "a field that nobody reads", { config: { vblora_new: 1 } }, /field "vblora_new" = 1/],
  ["vblora", "top 0", { config: { topk: 0 } }, /field "topk" = 0: the rule is 1 or more/],
  ["vblora", "more than the bank has", { config: { topk: 25 } }, /"topk" = 25: .* a bank of 24 vectors/],
  [
    "vblora",
    "a tensor of another name",
    { tensors: { [`${q}.vblora_x`]: floats([1]) } },
    /"base_model.*vblora_x" as VB-LoRA/,
  ],
  [
    "vblora",
    "no bank",
    { tensors: { "base_model.vblora_vector_bank": undefined } },
    /find .*"base_model\.vblora_vector_bank"/,
  ],
  [
    "vblora",
    "one factor alone",
    { tensors: { [`${q}.vblora_logits_B`]: undefined } },
    /find .*q_proj\.vblora_logits_B": ".*q_proj/,
  ],
  [
    "vblora",
    "logits of another bank",
    { tensors: { [`${q}.vblora_logits_A`]: floats([4, 8, 23]) } },
    /q_proj\.vblora_logits_A" of shape \(4,8,23\): it must be \(r, tiles_in, vectors\) with vectors = 24/,
  ],
  [
    "vblora",
    "factors of two ranks",
    { tensors: { [`${q}.vblora_logits_B`]: floats([8, 5, 24]) } },
    /q_proj\.vblora_logits_B" of shape \(8,5,24\): it must be \(tiles_out, r, vectors\) with r = 4/,
  ],
  [
    "vblora",
    "logits of two dimensions",
    { tensors: { [`${q}.vblora_logits_B`]: floats([8, 4]) } },
    /of shape \(8,4\)/,
  ],
  [
    "vblora-topk",
    "other indices than it says",
    { config: { topk: 3 } },
    /"topk" = 3: .* has 2 indices for each vector/,
  ],
  [
    "vblora-topk",
    "logits where it has none",
    { config: { save_only_topk_weights: false } },
    /find .*vblora_logits_A"/,
  ],
  [
    "vblora-topk",
    "indices past the bank",
    { tensors: { [`${topk}_indices`]: indices(new Uint8Array(64), [1, 24]) } },
    /q_proj": element 63 is 24, the bank has 24 vectors/,
  ],
  [
    "vblora-topk",
    "negative indices",
    { tensors: { [`${topk}_indices`]: indices(new Int16Array(64), [-1, 0]) } },
    /element 62 is -1, the bank/,
  ],
  [
    "vblora-topk",
    "an index twice",
    { tensors: { [`${topk}_indices`]: indices(new Int32Array(64), [5, 5]) } },
    /element 63, 5, comes twice/,
  ],
  [
    "vblora-topk",
    "indices past 32 bits",
    { tensors: { [`${topk}_indices`]: wideIndices([2n ** 32n, 0n]) } },
    /indices" as int32: element 62 is 4294967296/,
  ],
  [
    "vblora-topk",
    "floats for indices",
    { tensors: { [`${topk}_indices`]: floats([4, 8, 2]) } },
    /dtype is F32, the rule is U8/,
  ],

  [
    "vblora-topk",
    "weights past 1",
    { tensors: { [`${topk}_weights`]: floats([4, 8, 1], 1.5) } },
    /weight of element 0 is 1\.5/,
  ],
  ["lora-xs", "a field that nobody reads", { config: { lora_xs: 1 } }, /field "lora_xs" = 1/],
  ["lora-xs", "DoRA's magnitudes", { config: { use_dora: true } }, /field "use_dora" = true/],
  [
    "lora-xs",
    "one module without R",
    { tensors: { [`${q}_lora_latent_mapping.weight`]: undefined } },
    /find .*q_proj_lora_latent/,
  ],
  [
    "lora-xs",
    "R alone",
    { tensors: { [`${q}.lora_A.weight`]: undefined } },
    /find .*q_proj\.lora_A\.weight"/,
  ],
  [
    "lora-xs",
    "R of another rank",
    { tensors: { [`${q}_lora_latent_mapping.weight`]: floats([6, 5]) } },
    /q_proj_lora_latent_mapping\.weight" of shape \(6,5\): it must be \(r, r\) with r = 6/,
  ],
  [
    "lora-xs",
    "R twice",
    { tensors: { [`${q}.default_lora_latent_mapping.weight`]: floats([6, 6]) } },
    /q_proj.*_lora_latent_mapping\.weight": ".*_lora_latent_mapping\.weight" is the same/,
  ],
  ["vera", "a field that nobody reads", { config: { vera_new: 1 } }, /field "vera_new" = 1/],
  [
    "vera",
    "one shared factor",
    { tensors: { "base_model.vera_B": undefined } },
    /find .*"base_model\.vera_B"/,
  ],
  [
    "vera",
    "no lambda_d",
    { tensors: { [`${q}.vera_lambda_d`]: undefined } },
    /find .*q_proj\.vera_lambda_d"/,
  ],
  [
    "vera",
    "a lambda_d of another rank",
    { tensors: { [`${q}.vera_lambda_d`]: floats([7]) } },
    /of shape \(7\): it must be \(r\) with r = 8/,
  ],
  ["vera-seed", "no model to draw for", {}, /Cannot draw "base_model\.vera_A".* give loadAdapter's shapeOf/],
  ["adalora", "a field that nobody reads", { config: { adalora_new: 1 } }, /field "adalora_new" = 1/],
  ["adalora", "patterns of alpha", { config: { alpha_pattern: { q_proj: 2 } } }, /field "alpha_pattern"/],
  ["adalora", "no first rank", { config: { init_r: 0 } }, /field "init_r" = 0: the rule is above 0/],
  ["adalora", "no E", { tensors: { [`${q}.lora_E`]: undefined } }, /find .*q_proj\.lora_E"/],
  [
    "adalora",
    "E of another rank",
    { tensors: { [`${q}.lora_E`]: floats([5, 1]) } },
    /lora_E" of shape \(5,1\): it must be \(r, 1\) with r = 6/,
  ],
  [
    "adalora-pruned",
    "other ranks than it keeps",
    { config: { rank_pattern: { "model.layers.0.self_attn.q_proj.lora_E": [true, true, true, false] } } },
    /"rank_pattern": it keeps 3 ranks of module "model\.layers\.0\.self_attn\.q_proj", lora_E has 4/,
  ],
  ["delora", "a field that nobody reads", { config: { delora_new: 1 } }, /field "delora_new" = 1/],
  ["delora", "no norms", { tensors: { [`${q}.delora_w_norm`]: undefined } }, /find .*q_proj\.delora_w_norm"/],
  [
    "delora",
    "norms of rows",
    { tensors: { [`${q}.delora_w_norm`]: floats([63]) } },
    /of shape \(63\): it must be \(in\) with in = 64/,
  ],
  ["tinylora", "a field that nobody reads", { config: { tinylora_new: 1 } }, /field "tinylora_new" = 1/],
  [
    "tinylora",
    "fewer groups than it ties",
    { config: { weight_tying: 0.5 } },
    /"weight_tying" = 0\.5: 6 modules then have 3 groups, .* has 6/,
  ],
  [
    "tinylora",
    "more ties than all",
    { config: { weight_tying: 2 } },
    /"weight_tying" = 2: the rule is 0 to 1/,
  ],
  ["tinylora", "no P", { tensors: { [`${q}.tinylora_P`]: undefined } }, /find .*q_proj\.tinylora_P"/],
  [
    "tinylora",
    "P that is not square",
    { tensors: { [`${q}.tinylora_P`]: floats([8, 4, 5]) } },
    /it must be \(u, r, r\) with u = 8, r = 4, r = 4/,
  ],
  ["tinylora", "a group of another number", {
    tensors: { "base_model.tinylora_v.5": undefined, "base_model.tinylora_v.6": floats([8]) },
  }, /find .*"base_model\.tinylora_v\.5"/],
  [
    "tinylora-tied-seed",
    "a module of no known place",
    {
      tensors: {
        "base_model.model.x.y.tinylora_A": floats([4, 8]),
        "base_model.model.x.y.tinylora_B": floats([8, 4]),
      },
    },
    /module "x\.y": the base model has no such linear layer/,
  ],
  ["tinylora-tied-seed", "no model to number by", {}, /^Cannot number the modules .* loadAdapter's placeOf/],
  ["miss", "a field that nobody reads", { config: { miss_new: 1 } }, /field "miss_new" = 1/],
  [
    "miss",
    "blocks of an unknown kind",
    { config: { init_weights: "batt" } },
    /field "init_weights" = "batt": supported are true, false, "mini" and "bat"/,
  ],
  [
    "miss",
    "blocks of three dimensions",
    { tensors: { [`${q}.miss_block`]: floats([8, 8, 8]) } },
    /it must be \(r, width\)/,
  ],
];

for (const [name, what, change, words] of refused) {
  test(`loadAdapter refuses ${name} with ${what}, by name`, async () => {
    const options = name.startsWith("tinylora") && what !== "no model to number by" ? fixtureBase : {};
    await assert.rejects(load(name, change, options), (error: Error) => {
      assert.equal(error.name, "ConfigError");
      assert.match(error.message, words);
      return true;
    });
  });
}
