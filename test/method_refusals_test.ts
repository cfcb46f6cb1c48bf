/**
 * Files of methods that act around the product, broken in one place each: refused by an error that names the place.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ReadableFolder } from "../src/folder.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { baseLinear } from "../src/adapters/base.ts";
import { loadAdapter } from "../src/adapters/peft.ts";
import { madeReady } from "../src/adapters/ready.ts";
import { bytesSource } from "../src/safetensors/mod.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";
import { adapterFiles } from "../src/training/checkpoint.ts";
import { made } from "./method_files.ts";

const path = "model.layers.0.l0", shape = { out: 20, in: 40 };

function folderOf(files: ReadonlyMap<string, Uint8Array>): ReadableFolder {
  return {
    open: (name) => Promise.resolve(bytesSource(files.get(name)!)),
    readText: (name) => Promise.resolve(new TextDecoder().decode(files.get(name)!)),
    exists: (name) => Promise.resolve(files.has(name)),
  };
}

/** A config's fields, and tensors by what follows the module's path; undefined takes one away. */
interface Change {
  readonly config?: Readonly<Record<string, unknown>>;
  readonly tensors?: Readonly<Record<string, HostTensor | undefined>>;
}

/** An adapter of one module, with a change. */
function changed(method: string, { config, tensors = {} }: Change, seed = 2) {
  const files = made[method].files([{ path, shape }], seed);
  const all = new Map(files.tensors), [first] = all.keys();
  const prefix = first.slice(0, first.indexOf(path));
  for (const [name, t] of Object.entries(tensors)) {
    const full = `${prefix}${path}.${name}`;
    if (t) all.set(full, t);
    else all.delete(full);
  }
  return loadAdapter(folderOf(adapterFiles({ ...files.config, ...config }, all)));
}

const zeros = (...dims: number[]): HostTensor =>
  tensor(new Float32Array(dims.reduce((all, size) => all * size, 1)), dims);
const filled = (value: number, dims: readonly number[]): HostTensor => {
  const t = zeros(...dims);
  t.data.fill(value);
  return t;
};

const refused: readonly (readonly [method: string, what: string, change: Change, rule: RegExp])[] = [
  ["IA3", "three sizes", { tensors: { ia3_l: zeros(1, 1, 40) } }, /ia3_l": its shape must be \(out, 1\) or/],
  ["IA3", "a matrix", { tensors: { ia3_l: zeros(2, 20) } }, /ia3_l": its shape must be .*, it is \[2,20\]/],
  ["IA3", "one number", { tensors: { ia3_l: zeros(1, 1) } }, /of more than one number, it is \[1,1\]/],
  ["IA3", "another's tensor", { tensors: { lora_A: zeros(1, 40) } }, /lora_A" as IA3: only .*\.ia3_l are/],
  [
    "RoAd",
    "no alpha",
    { tensors: { road_alpha: undefined } },
    /Cannot find .*road_alpha": ".*road_theta" needs/,
  ],
  [
    "RoAd",
    "too few angles",
    { tensors: { road_theta: zeros(38) } },
    /road_theta": its shape must be \(2 out\)/,
  ],
  ["RoAd", "two lengths", { tensors: { road_alpha: zeros(20) } }, /road_alpha": its shape must be .*\[20\]/],
  [
    "RoAd",
    "a matrix",
    { tensors: { road_theta: zeros(40, 1) } },
    /road_theta": its shape must be .*\[40,1\]/,
  ],
  [
    "RoAd",
    "an unknown variant",
    { config: { variant: "road_3" } },
    /"variant" = "road_3": it must be road_1, /,
  ],
  ["RoAd", "an inherited name", { config: { variant: "toString" } }, /"variant" = "toString": it must be/],
  ["RoAd", "an odd group", { config: { group_size: 5 } }, /"group_size" = 5: it must be even/],
  ["RoAd", "a group of none", { config: { group_size: 0 } }, /"group_size" = 0: it must be even/],
  ["RoAd", "a group too large", { config: { group_size: 40 } }, /"group_size" = 40 divides, it is \[40\]/],
  ["HRA", "no column", { tensors: { hra_u: zeros(40, 0) } }, /hra_u": its shape must be \(in, r\)/],
  ["HRA", "a column of zeros", { tensors: { hra_u: zeros(40, 2) } }, /hra_u": column 0 is zero/],
  [
    "HRA",
    "equal columns",
    { config: { apply_GS: true }, tensors: { hra_u: filled(1, [40, 2]) } },
    /hra_u": column 1 is a sum of the columns before it, "apply_GS"/,
  ],
  ["HRA", "apply_GS of text", { config: { apply_GS: "yes" } }, /"apply_GS" as true or false/],
  ["OFT", "no triangle", { tensors: { "oft_R.weight": zeros(5, 27) } }, /oft_R\.weight": its shape must be/],
  ["OFT", "large blocks", { tensors: { "oft_R.weight": zeros(1, 257 * 128) } }, /257 rows, at most 256/],
  [
    "OFT",
    "an older file",
    { config: { use_cayley_neumann: undefined } },
    /without field "use_cayley_neumann"/,
  ],
  ["OFT", "no term", { config: { num_cayley_neumann_terms: 0 } }, /"num_cayley_neumann_terms" = 0/],
  ["OFT", "many terms", { config: { num_cayley_neumann_terms: 33 } }, /it must be 1 to 32/],
  ["OFT", "a negative eps", { config: { coft: true, eps: -1 } }, /"eps" = -1: it must be 0 or more/],
  ["OFT", "an unknown field", { config: { oft_scale: 2 } }, /"oft_scale" = 2: it may change/],
  ["BOFT", "two factors by config", { config: { boft_n_butterfly_factor: 2 } }, /factor" = 2: only one/],
  ["BOFT", "two factors", { tensors: { boft_R: zeros(2, 10, 4, 4) } }, /boft_R": its shape must be \(1, in/],
  ["BOFT", "blocks not square", { tensors: { boft_R: zeros(1, 10, 4, 2) } }, /boft_R": its shape must be/],
  ["BOFT", "scales of a row", { tensors: { boft_s: zeros(1, 20) } }, /boft_s": its shape must be \(out, 1\)/],
  ["BOFT", "no scales", { tensors: { boft_s: undefined } }, /Cannot find .*boft_s": ".*boft_R" needs it/],
  [
    "ETHER",
    "an unknown kind",
    { config: { Htype: "oft" } },
    /"Htype" = "oft": it must be ether, etherplus, /,
  ],
  ["ETHER", "no block", { config: { nb: 0 } }, /"nb" = 0: it must be 1 to 16/],
  ["ETHER", "many blocks", { config: { nb: 17 } }, /"nb" = 17: it must be 1 to 16/],
  ["ETHER", "a side too many", { config: { flip_side: true } }, /"flip_side" = true: etherplusHH has both/],
  [
    "ETHER",
    "sides too many",
    { config: { flip_modules: ["q_proj"] } },
    /"flip_modules": etherplusHH has both/,
  ],
  [
    "ETHER",
    "a name for a list",
    { config: { flip_modules: "q_proj" } },
    /"flip_modules" as a list of names: it/,
  ],
  ["ETHER", "no v", { tensors: { ether_R2: undefined } }, /Cannot find .*ether_R2": ".*ether_R" needs it/],
  [
    "ETHER",
    "v of one",
    { config: { Htype: "etherplus" } },
    /ether_R3" as ETHER: only <module>\.ether_R, <module>\.ether_R2 are/,
  ],
  ["ETHER", "another number of blocks", { config: { nb: 4 } }, /ether_R": its shape must be .* "nb" = 4/],
  ["ETHER", "a zero vector", { tensors: { ether_R4: zeros(2, 10) } }, /ether_R4": row 0 is zero/],
  ["ETHER", "two sizes", { tensors: { ether_R2: filled(1, [2, 10]) } }, /ether_R2": its shape must be/],
];

for (const [method, what, change, rule] of refused) {
  test(`loadAdapter refuses ${method} with ${what}, by name`, async () => {
    await assert.rejects(changed(method, change), (error: Error) => {
      assert.equal(error.name, "ConfigError");
      assert.match(error.message, rule);
      return true;
    });
  });
}

const misfits: readonly (readonly [method: string, change: Change, rule: RegExp])[] = [
  ["IA3", { tensors: { ia3_l: zeros(1, 41) } }, /"a\.b": it scales 41 inputs, the weight is \(20, 40\)/],
  ["IA3", { tensors: { ia3_l: zeros(21, 1) } }, /"a\.b": it scales 21 outputs/],
  ["RoAd", { tensors: { road_theta: zeros(60), road_alpha: zeros(60) } }, /"a\.b": it turns 30 outputs/],
  ["HRA", { tensors: { hra_u: filled(1, [41, 1]) } }, /"a\.b": it reflects 41 inputs/],
  ["OFT", { tensors: { "oft_R.weight": zeros(4, 28) } }, /"a\.b": it has 4 block\(s\) of 8 inputs/],
  ["OFT", { tensors: { "oft_R.weight": zeros(1, 28) } }, /"a\.b": it has 1 block\(s\) of 8 inputs/],
  ["OFT", { config: { block_share: true } }, /"a\.b": it has 5 shared block\(s\) of 8 inputs/],
  ["BOFT", { tensors: { boft_R: zeros(1, 9, 4, 4) } }, /"a\.b": it rotates 36 inputs/],
  ["BOFT", { tensors: { boft_s: zeros(21, 1) } }, /"a\.b": .* scales 21 outputs/],
  [
    "ETHER",
    { tensors: { ether_R: filled(1, [2, 21]), ether_R2: filled(1, [2, 21]) } },
    /"a\.b": it reflects 42 inputs and 20 outputs, the weight is \(20, 40\)/,
  ],
  [
    "ETHER",
    { tensors: { ether_R3: filled(1, [2, 11]), ether_R4: filled(1, [2, 11]) } },
    /"a\.b": it reflects 40 inputs and 22 outputs/,
  ],
];

test("check refuses modules of another linear, by both sizes", async () => {
  for (const [method, change, rule] of misfits) {
    const { modules } = await changed(method, change);
    assert.throws(() => modules.get(path)!.check("a.b", shape), (error: Error) => {
      assert.equal(error.name, "RangeError");
      assert.match(error.message, rule);
      return true;
    });
  }
});

test("OFT and BOFT refuse rotations past float32, and modules that were not made ready", async () => {
  const device = cpuDevice();
  const base = baseLinear(device, device.upload(zeros(20, 40)));
  for (const method of ["OFT", "BOFT"]) {
    const adapter = await changed(method, {});
    assert.throws(
      () => adapter.modules.get(path)!.pack(shape),
      /^TypeError: Cannot use an? B?OFT module before/,
    );
    const ready = await madeReady(device, adapter, () => base);
    assert.equal(await madeReady(device, ready, () => base), ready, "rotations depend on no base");
  }
  const far = await changed("OFT", { tensors: { "oft_R.weight": filled(1e30, [5, 28]) } });
  await assert.rejects(
    madeReady(device, far, () => base),
    /^ConfigError: Cannot use adapter tensor ".*oft_R\.weight": the matrix of its block 0 comes to .* in float32/,
  );
});
