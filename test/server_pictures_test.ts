/**
 * The server's routes of pictures: what they tell are the numbers of the adapter's own files.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { AdapterRegistry, cosineOf, cpuDevice, ownProducts } from "../mod.ts";
import { createClient } from "../src/client/mod.ts";
import { modelLinears, readConfig } from "../src/models/families.ts";
import { openFolder } from "../src/runtime/file.ts";
import { openAdapterStore } from "../src/runtime/mod.ts";
import { createApp } from "../src/server/mod.ts";
import { root } from "./architecture.ts";
import { fakeAdapters } from "./server_fakes.ts";

const demo = join(root, "examples/demo");
const registry = new AdapterRegistry(cpuDevice(), await openAdapterStore(join(demo, "adapters")), {
  linears: modelLinears(await readConfig(await openFolder(join(demo, "base")))),
});
const app = createApp({ adapters: registry });
const client = createClient({
  baseUrl: "http://localhost/",
  fetch: (input, init) => Promise.resolve(app.fetch(new Request(input, init))),
});
const module = "model.layers.0.self_attn.k_proj";

test("GET /v1/adapters/{id}/modules lists the modules", async () => {
  const { data } = await client.adapterModules("fourierft-kjv");
  assert.equal(data.length, 56);
  assert.ok(data.some(({ id }) => id === module));
});

test("GET /v1/adapters/{id}/picture tells the file's coefficients and dW", async () => {
  const picture = await client.modulePicture("fourierft-kjv", module);
  const { shape, spectrum, delta, distribution, singular_values: singular } = picture;
  assert.deepEqual([shape, singular], [[128, 256], null]);
  const { module: read } = await registry.module("fourierft-kjv", module);
  assert.deepEqual(spectrum!.c, Array.from(read.coefficients!, (c) => Number(c.toPrecision(6))));
  assert.deepEqual([spectrum!.total, spectrum!.wavelet, distribution.total], [1000, null, 1000]);
  const { data } = await registry.delta("fourierft-kjv", module);
  assert.deepEqual([delta.rows, delta.columns, delta.block, delta.reduction], [128, 256, 1, null]);
  assert.deepEqual(delta.values, Array.from(data, (value) => Number(value.toPrecision(6))));
  const lora = await client.modulePicture("lora-kjv", module);
  assert.deepEqual([lora.spectrum, lora.singular_values!.length], [null, 8]);
});

test("GET /v1/adapters/{id}/norms tells norms, and cosines beside another adapter", async () => {
  const { data, left_out: leftOut } = await client.moduleNorms("lora-kjv");
  assert.deepEqual([data.length, leftOut], [56, 0]);
  const { data: delta } = await registry.delta("lora-kjv", module);
  const squares = Array.from(delta).reduce((sum, value) => sum + value * value, 0);
  const norm = data.find(({ id }) => id === module)!.value;
  assert.ok(Math.abs(norm - Math.sqrt(squares)) < 1e-5 * norm, `${norm}`);
  const beside = await client.moduleNorms("fourierft-kjv", { beside: "fourierft-jargon" });
  const [a, b] = await Promise.all(
    ["fourierft-kjv", "fourierft-jargon"].map((id) => registry.module(id, module)),
  );
  assert.equal(beside.data.find(({ id }) => id === module)!.value, cosineOf((await ownProducts(a, b))!));
});

test("routes of pictures refuse what they cannot tell", async () => {
  await assert.rejects(client.modulePicture("fourierft-kjv", "model.nothing"), { status: 404 });
  await assert.rejects(client.modulePicture("fourierft-kjv", ""), { status: 400, param: "module" });
  await assert.rejects(client.moduleNorms("fourierft-kjv", { beside: "nobody" }), { status: 404 });
  const closed = createApp({ adapters: fakeAdapters() });
  const inside = await closed.request("/v1/adapters/kjv/norms");
  assert.equal(inside.status, 404);
  assert.match((await inside.json()).error.message, /these adapters keep them inside/);
});
