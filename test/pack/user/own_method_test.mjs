// An adapter method of a user's own, in plain JavaScript: it is served beside the package's methods.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  applyModule,
  baseLinear,
  cpuDevice,
  finiteFloats,
  loadAdapter,
  methods,
  openModel,
  refuseUnknown,
  step,
  tensor,
} from "fourierft";
import { openAdapterStore, openFolder } from "fourierft/node";
import { scaleOutputs } from "fourierft/kernels";
import { fromTensor, writeSafetensors } from "fourierft/safetensors";

/** Scales a linear's outputs before their bias. */
const scale = {
  name: "Scale",
  peftType: "SCALE",
  checkConfig: (config) => refuseUnknown(config, { known: [] }),
  read({ config, tensors }) {
    this.checkConfig(config);
    return new Map(
      [...tensors].map(([name, t]) => {
        const values = finiteFloats(name, t);
        return [name.replace(/^base_model\.model\.|\.scale$/g, ""), {
          parameters: values.length,
          summary: `${values.length} outputs`,
          check(path, { out }) {
            if (out !== values.length) throw new RangeError(`Cannot scale ${out} outputs of "${path}"`);
          },
          pack: () => ({ values, count: 1, scale: 1 }),
        }];
      }),
    );
  },
  after: ({ y, slots, records, values, outs: [out0, out1, out2], ...words }) =>
    step(scaleOutputs, { slots, records, values, y }, { ...words, out0, out1, out2, factors: 0 }),
};

const path = "model.layers.0.self_attn.q_proj";
const all = [...methods, scale];

/** A PEFT folder of the method: every output of one module times a factor. */
function folderOf(factor) {
  const scales = fromTensor(`base_model.model.${path}.scale`, tensor(new Float32Array(256).fill(factor)));
  const bytes = writeSafetensors([scales]);
  return {
    open: () =>
      Promise.resolve({
        sizeBytes: bytes.length,
        read: (at, count) => Promise.resolve(bytes.slice(at, at + count)),
      }),
    readText: () => Promise.resolve(JSON.stringify({ peft_type: "SCALE" })),
    exists: () => Promise.resolve(true),
  };
}

test("loadAdapter: a method of the user's own is read, and one that is not in the list is refused by name", async () => {
  const { method, modules } = await loadAdapter(folderOf(3), { methods: all });
  assert.equal(method, scale);
  await assert.rejects(loadAdapter(folderOf(3)), /"peft_type" = "SCALE": supported are FOURIERFT, LORA/);
  const device = cpuDevice();
  const weight = device.upload(tensor(new Float32Array([1, 2, 3, 4]), [2, 2]));
  const module = modules.get(path);
  const own = { ...module, pack: () => ({ ...module.pack(), values: new Float32Array([3, 5]) }), check() {} };
  const linear = { method, module: own, shape: { out: 2, in: 2 }, base: baseLinear(device, weight) };
  // W x is [3, 7]; three and five times that, less once.
  const y = await applyModule(device, linear, { x: tensor(new Float32Array([1, 1]), [1, 2]) });
  assert.deepEqual([...y.data], [6, 28]);
});

test("openModel: adapters of the user's own method are served beside all others", async () => {
  const stored = await openAdapterStore(`${process.env.DEMO}/adapters`);
  const { engine, tokenizer } = await openModel(cpuDevice(), {
    folder: await openFolder(`${process.env.DEMO}/base`),
    adapters: {
      list: () => stored.list(),
      open: (id) =>
        /^x\d$/.test(id)
          ? Promise.resolve({ folder: folderOf(Number(id[1])), version: id, modifiedUnixSeconds: 0 })
          : stored.open(id),
    },
    registry: { methods: all },
  });
  async function answer(adapter) {
    const request = {
      promptTokenIds: tokenizer.encode("The king"),
      adapter,
      maxTokens: 8,
      sampling: { temperature: 0, topP: 1, topK: 0 },
    };
    const ids = [];
    for await (const event of engine.generate(request)) if (event.kind === "token") ids.push(event.tokenId);
    return ids;
  }
  const [plain, same, other, lora] = await Promise.all([undefined, "x1", "x9", "lora-kjv"].map(answer));
  assert.deepEqual(same, plain);
  assert.notDeepEqual(other, plain);
  assert.notDeepEqual(lora, plain);
});
