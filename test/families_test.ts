import assert from "node:assert/strict";
import { test } from "node:test";
import { cpuDevice } from "../mod.ts";
import { families } from "../src/models/families.ts";
import { devicesForLongTests } from "./devices.ts";
import { type FamilyCase, familyContract } from "./family_contract.ts";
import { decoderGoldens, tokenizerGoldens, trainingGoldens } from "./family_goldens.ts";

/** A small model of every family. */
const cases: readonly FamilyCase[] = [
  { name: "llama", folder: "training/base" },
  { name: "gpt2", folder: "families/gpt2/base" },
];

test("families: every one has a model that the contract is tested with", () => {
  assert.equal(cases.length, families.length);
  cases.forEach(({ name }, i) => assert.ok(families[i].modelTypes.includes(name), name));
});

for (const device of await devicesForLongTests()) {
  for (const family of cases) familyContract(device, family);
  decoderGoldens(device, "gpt2", ["fourierft", "lora"]);
  trainingGoldens(device, "gpt2", ["fourierft", "lora"]);
}

tokenizerGoldens(cpuDevice(), "gpt2");
