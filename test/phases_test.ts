import assert from "node:assert/strict";
import { test } from "node:test";
import { Bank } from "../src/adapters/bank.ts";
import type { Method } from "../src/adapters/method.ts";
import { dora } from "../src/adapters/methods/dora.ts";
import { fourierft } from "../src/adapters/methods/fourierft.ts";
import { ia3 } from "../src/adapters/methods/ia3.ts";
import { lora } from "../src/adapters/methods/lora.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { adaptedProjection, ProjectionScratch } from "../src/engine/projection.ts";
import { tensor } from "../src/tensor.ts";
import { baseOn, linears, randomAdapter, type Subject } from "./method_contract.ts";

const device = cpuDevice();
const base = baseOn(device);

/** IA3 of all three linears: inputs of the first, outputs of the others. */
const scaling: Subject = {
  method: ia3,
  files: (chosen) => ({
    config: { peft_type: "IA3" },
    tensors: new Map(chosen.map(({ path, shape }, i) => [
      `base_model.model.${path}.ia3_l`,
      i === 0
        ? tensor(new Float32Array(shape.in).fill(2), [1, shape.in])
        : tensor(new Float32Array(shape.out).fill(2), [shape.out, 1]),
    ])),
  }),
};

async function bankOf(method: Method, adapted: readonly number[]): Promise<Bank> {
  const bank = new Bank(device, method, { linears, capacity: 1 });
  const subject = method === ia3 ? scaling : { method };
  bank.load((await randomAdapter(device, subject, { adapted, seed: 1, baseOf: base.baseOf })).modules);
  return bank;
}

/** The kernels of a projection's steps, in order. */
function kernelsOf(banks: readonly Bank[], { accumulate = 0, bias = true, rows = 2 } = {}): string[] {
  const slots = device.alloc([rows], "uint32");
  const io = {
    x: device.alloc([rows, 40], "float32"),
    y: device.alloc([rows, 63], "float32"),
    rows,
    accumulate,
  };
  const projection = bias ? base.projection : { ...base.projection, bias: undefined };
  const adapters = { banks, slotsOf: () => slots, scratch: new ProjectionScratch(device) };
  return adaptedProjection(projection, io, adapters).map(({ kernel }) => kernel.name);
}

test("adaptedProjection is one step and one for each method beside it, as long as none acts on the product", async () => {
  const [spectral, lowRank] = [await bankOf(fourierft, [0]), await bankOf(lora, [2])];
  assert.deepEqual(kernelsOf([]), ["linear_bias"]);
  assert.deepEqual(kernelsOf([spectral], { bias: false }), ["linear", "fourier_linears"]);
  for (const accumulate of [0, 1]) {
    assert.deepEqual(kernelsOf([spectral], { accumulate }), ["linear_bias", "fourier_linears"]);
    assert.deepEqual(kernelsOf([lowRank], { accumulate }), ["linear_bias", "lora_linear"]);
    assert.deepEqual(kernelsOf([spectral, lowRank], { accumulate }), [
      "linear_bias",
      "fourier_linears",
      "lora_linear",
    ]);
  }
  assert.deepEqual(kernelsOf([new Bank(device, fourierft, { linears, capacity: 1 })]), ["linear_bias"]);
});

test("adaptedProjection adds bias and residual after a method that acts on the product", async () => {
  const [magnitudes, lowRank] = [await bankOf(dora, [0]), await bankOf(lora, [0])];
  assert.deepEqual(kernelsOf([magnitudes]), ["linear", "lora_linear", "scale_outputs", "add_bias"]);
  assert.deepEqual(kernelsOf([magnitudes], { bias: false }), ["linear", "lora_linear", "scale_outputs"]);
  assert.deepEqual(kernelsOf([magnitudes, lowRank], { accumulate: 1 }), [
    "linear",
    "lora_linear",
    "lora_linear",
    "scale_outputs",
    "add_bias",
    "add",
  ]);
});

test("adaptedProjection runs linears one by one where a method changes their input, and only those phases that they need", async () => {
  const outputs = await bankOf(ia3, [1]);
  // As the first of its adapter it scales inputs. No method acts after: one step adds the bias of all.
  assert.deepEqual(kernelsOf([outputs]), [
    ...["linear", "place_columns"],
    ...["copy", "scale_outputs", "linear", "place_columns"],
    ...["linear", "place_columns"],
    "add_bias",
  ]);
  const all = await bankOf(ia3, [0, 1, 2]);
  assert.deepEqual(kernelsOf([all], { accumulate: 1, bias: false }), [
    ...["copy", "scale_outputs", "linear", "place_columns"],
    ...["linear", "place_columns"],
    ...["linear", "place_columns"],
    ...["scale_outputs", "add"],
  ]);
  // The outputs of one row are made where they belong.
  assert.deepEqual(kernelsOf([all], { bias: false, rows: 1 }), [
    ...["copy", "scale_outputs", "linear"],
    ...["linear", "linear", "scale_outputs"],
  ]);
});

test("Bank.revision changes with the first adapter that needs another phase of a linear", async () => {
  const bank = await bankOf(ia3, [0]);
  const { revision } = bank;
  bank.unload(0);
  const { modules } = await randomAdapter(device, {
    method: ia3,
    files: ([{ path, shape }]) => ({
      config: { peft_type: "IA3" },
      tensors: new Map([[
        `base_model.model.${path}.ia3_l`,
        tensor(new Float32Array(shape.out), [shape.out, 1]),
      ]]),
    }),
  }, { adapted: [0], seed: 1, baseOf: base.baseOf });
  assert.equal(bank.acts("after", { first: 0, count: 1 }), false);
  bank.load(modules);
  assert.equal(bank.acts("after", { first: 0, count: 1 }), true);
  assert.notEqual(bank.revision, revision);
});
