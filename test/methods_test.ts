import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { methods as exported } from "../mod.ts";
import type { WeightFormat } from "../kernels/formats/format.ts";
import { q4_32, q8_32 } from "../kernels/formats/mod.ts";
import { widen } from "../kernels/half.ts";
import { deltaOf } from "../src/adapters/apply.ts";
import { methodOf } from "../src/adapters/method_list.ts";
import { dora } from "../src/adapters/methods/dora.ts";
import { lora } from "../src/adapters/methods/lora.ts";
import { camelCase, trainableMethods } from "../src/adapters/options.ts";
import { AdapterRegistry } from "../src/adapters/registry.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { quantizeTensor, withTensors } from "../src/models/weights.ts";
import { openFolder } from "../src/runtime/file.ts";
import { tensor } from "../src/tensor.ts";
import { devicesForLongTests } from "./devices.ts";
import {
  baseOn,
  filesGiveItBack,
  linears,
  mergedAndBack,
  mergedRowsAreTheSame,
  mixedRows,
  randomAdapter,
  refuses,
  slotsLeaveNothing,
  width,
} from "./method_contract.ts";
import { subjects } from "./subjects.ts";
import { gradientsAreTheLoss, learnsAndResumes } from "./training_contract.ts";

/** Weights in a format, and the numbers that they stand for. */
function quantized(device: Device, format: WeightFormat) {
  return baseOn(device, (floats) => {
    const weight = quantizeTensor(tensor(floats, [width, 40]), { name: "w", format });
    const { words, scales } = weight.tensors;
    const numbers = format.rows(
      { words: words.data, scales: widen(scales.data, scales.dtype) },
      weight.shape,
    );
    return { weight: withTensors(weight, (t) => device.upload(t)), floats: numbers };
  });
}

for (const device of [...await devicesForLongTests(), cpuDevice({ wasm: false })]) {
  test(`methods on ${device.description}: rows of all of them in one step are each row's own weight`, async () => {
    await mixedRows(device, baseOn(device), { subjects });
  });
}

for (
  const device of [...await devicesForLongTests()].filter(({ kind }) => kind !== "cpu").concat(
    cpuDevice({ wasm: false }),
  )
) {
  for (const format of [q8_32, q4_32]) {
    test(`methods on ${device.kind}: the same on weights of ${format.name}`, async () => {
      // On a GPU, quantised products of few rows and of many round in other places.
      await mixedRows(device, quantized(device, format), {
        subjects,
        limit: device.kind === "cpu" ? 2e-6 : 2e-5,
      });
    });
  }
}

const device = cpuDevice();
for (const subject of subjects) {
  const { method: { name, training } } = subject;
  test(`${name}: what is merged is W + dW, and can be taken out again`, async () => {
    await mergedAndBack(device, baseOn(device), subject);
  });
  test(`${name}: rows by the merged weight are the rows with its own steps`, async () => {
    await mergedRowsAreTheSame(device, baseOn(device), subject);
  });
  test(`${name}: a slot that was freed leaves nothing`, async () => {
    await slotsLeaveNothing(device, baseOn(device), subject);
  });
  test(`${name}: a wrong shape and numbers that are none are refused by name`, async () => {
    await refuses(device, baseOn(device), subject);
  });
  if (!training) continue;
  test(`${name}: PEFT's files give the same adapter again`, async () => {
    await filesGiveItBack(device, baseOn(device), subject);
  });
  test(`${name}: gradients are those of the loss`, async () => {
    await gradientsAreTheLoss(baseOn(cpuDevice({ wasm: false })), subject);
  });
}

const tinyBase = fileURLToPath(new URL("fixtures/methods/base", import.meta.url));
/** Options of new adapters that suit so small a model. */
const small = { n_frequency: 100, r: 4, num_vectors: 24, vector_length: 8, block_size: 16 };
for (const method of trainableMethods(exported)) {
  test(`${method.name}: a new adapter learns, and goes on where a run stopped`, async () => {
    const given = Object.entries(small).filter(([field]) => field in method.training.options);
    const options = Object.fromEntries(given.map(([field, value]) => [camelCase(field), value]));
    await learnsAndResumes(device, { method, folder: await openFolder(tinyBase), options });
  });
}

test("deltaOf refuses a method that acts on the product without the base's weight", async () => {
  const { baseOf } = baseOn(device);
  const adapter = await randomAdapter(device, { method: dora }, { adapted: [0], seed: 1, baseOf });
  const [{ path, shape }] = linears;
  await assert.rejects(
    deltaOf(device, { method: dora, module: adapter.modules.get(path)!, shape }),
    /^ConfigError: Cannot tell what an adapter of DoRA adds to a weight without that weight/,
  );
});

test("methodOf takes the last method of a list that claims an adapter", () => {
  const config = { peft_type: "LORA" };
  assert.equal(methodOf(exported, config, []), lora);
  assert.equal(methodOf(exported, { ...config, use_dora: true }, []), dora);
  const mine = {
    ...lora,
    name: "mine",
    claims: (_: unknown, names: readonly string[]) => names.includes("x"),
  };
  assert.equal(methodOf([...exported, mine], config, ["x"]), mine);
  assert.equal(methodOf([...exported, mine], config, ["y"]), lora);
  assert.throws(
    () => methodOf([mine], config, ["y"]),
    /^ConfigError: Cannot read an adapter of peft_type "LORA": it is none of mine/,
  );
});

test("AdapterRegistry refuses two methods of one name", () => {
  const store = { list: () => Promise.resolve([]), open: () => Promise.resolve(undefined) };
  assert.throws(
    () => new AdapterRegistry(device, store, { methods: [lora, { ...dora, name: "lora" }], linears }),
    /^RangeError: Cannot use a list with two adapter methods of the name "lora"/,
  );
});
