import assert from "node:assert/strict";
import { test } from "node:test";
import { cpuDevice } from "../mod.ts";
import { families } from "../src/models/families.ts";
import { devicesForLongTests, everything } from "./devices.ts";
import { type FamilyCase, familyContract } from "./family_contract.ts";
import { decoderGoldens, logitsGoldens, tokenizerGoldens, trainingGoldens } from "./family_goldens.ts";

/** A small model of every family, and of what its types differ in. */
const cases: readonly FamilyCase[] = [
  { name: "llama", folder: "training/base" },
  { name: "gpt2", folder: "families/gpt2/base" },
];

/** Model types, by the folders of their goldens. */
const types = {
  qwen3: "qwen3",
  mistral: "mistral",
  qwen2: "qwen2",
  phi3: "phi3",
  smollm3: "smollm3",
  granite: "granite",
  olmo2: "olmo2",
  gemma2: "gemma2",
  gemma3: "gemma3_text",
} as const;

/** Models whose configs say something else than those, by their types. */
const variants = {
  "gemma": "gemma",
  "gemma2-plain": "gemma2",
  "gemma2-capped": "gemma2",
  "gemma3-old": "gemma3_text",
  "qwen3-windows": "qwen3",
  "qwen2-windows": "qwen2",
  "mistral-heads": "mistral",
  "phi3-partial": "phi3",
  "smollm3-windows": "smollm3",
  "granite-biases": "granite",
  "olmo2-biases": "olmo2",
  "llama-gelu": "llama",
  "lfm2-old": "lfm2",
  "qwen3_5-nested": "qwen3_5",
  "qwen3_5-interval": "qwen3_5_text",
} as const;

/** Types of which no adapter is trained. */
const untrained: readonly string[] = ["qwen3_5", "qwen3_5_text"];

/** Types of encoders: encoders_test.ts has their numbers. */
const encoders = ["bert", "roberta", "vit"];

test("families: every type has a model that the contract is tested with", () => {
  const tested = new Set([
    ...cases.map(({ name }) => name),
    ...Object.values(types),
    ...Object.values(variants),
    ...encoders,
  ]);
  assert.deepEqual(families.flatMap(({ modelTypes }) => [...modelTypes]).sort(), [...tested].sort());
});

/** Types that a software GPU has time for: soft caps, windows and norms of q and k are among them. The others differ less. */
const onEveryDevice = everything ? Object.keys(types) : ["gemma2", "qwen3"];

for (const device of await devicesForLongTests()) {
  for (const family of cases) familyContract(device, family);
  decoderGoldens(device, "gpt2", ["fourierft", "lora"]);
  trainingGoldens(device, "gpt2", ["fourierft", "lora"]);
  for (const folder of onEveryDevice) logitsGoldens(device, folder, ["fourierft"]);
  // Layers with states, whose prompts go on from step to step.
  for (const folder of ["variants/lfm2-old", "variants/qwen3_5-nested"]) decoderGoldens(device, folder, []);
}

const cpu = cpuDevice();
for (const [folder, name] of Object.entries(types)) {
  familyContract(cpu, { name, folder: `families/${folder}/base` });
}
for (const folder of [...Object.keys(types), "phi3-longrope"]) {
  decoderGoldens(cpu, folder, ["fourierft", "lora"]);
}
for (const [variant, type] of Object.entries(variants)) {
  const folder = `variants/${variant}`;
  familyContract(cpu, { name: `${variant} (${type})`, folder: `families/${folder}/base` });
  decoderGoldens(cpu, folder, ["fourierft", "lora"]);
  if (!untrained.includes(type)) trainingGoldens(cpu, folder, ["fourierft", "lora"]);
}
for (const folder of ["gpt2", ...Object.keys(types)]) tokenizerGoldens(cpu, folder);
