/**
 * Fused models back to SVFT adapters: the same model again, or a refusal that says why.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { loadAdapter } from "../src/adapters/peft.ts";
import { type ConvertedModule, convertFused, type ConvertOptions } from "../src/convert.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { ReadableFolder, WritableFolder } from "../src/folder.ts";
import { folderOptions, mergeFolder } from "../src/merge.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { bytesSource, fromTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { memoryFolder } from "../src/testing/mod.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";
import { narrow, widen } from "../kernels/half.ts";
import { distance } from "./kernel_contract.ts";
import { methodFixture } from "./method_fixtures.ts";

const device = cpuDevice(), q = "model.layers.0.self_attn.q_proj.weight";

/** A model folder with some tensors changed. */
async function changed(
  folder: ReadableFolder,
  change: (name: string, t: HostTensor) => HostTensor | undefined,
): Promise<ReadableFolder> {
  const source = await openCheckpoint(folder), views = [];
  for (const name of source.names) {
    const made = change(name, await source.read(name));
    if (made) views.push(fromTensor(name, made));
  }
  await source.close();
  const bytes = writeSafetensors(views);
  return {
    open: (name) => name === "model.safetensors" ? Promise.resolve(bytesSource(bytes)) : folder.open(name),
    readText: (name, options) => folder.readText(name, options),
    exists: (name) => folder.exists(name),
  };
}

/** A base with an adapter merged in, in memory. */
async function merged(adapter: ReadableFolder, base: ReadableFolder): Promise<ReadableFolder> {
  const files = new Map<string, Uint8Array>();
  const out: WritableFolder = {
    folder: () => Promise.resolve(out),
    async write(name, parts) {
      const chunks: Uint8Array[] = [];
      for await (const part of parts) chunks.push(part.slice());
      const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
      let at = 0;
      for (const chunk of chunks) {
        bytes.set(chunk, at);
        at += chunk.length;
      }
      files.set(name, bytes);
    },
  };
  await mergeFolder(device, {
    model: base,
    adapter: await loadAdapter(adapter, await folderOptions(base)),
    out,
  });
  return memoryFolder(files);
}

/** Fuses an adapter, converts what comes out, and fuses that again: how far both are apart, in terms of dW. */
async function thereAndBack(
  name: string,
  options: Partial<ConvertOptions>,
  dtype: "float32" | "bfloat16" = "float32",
) {
  const as = (_: string, t: HostTensor): HostTensor => ({
    ...t,
    dtype,
    data: narrow(widen(t.data, t.dtype), dtype),
  });
  const base = await changed(await methodFixture("base"), as);
  const model = await merged(await methodFixture(name), base), modules: ConvertedModule[] = [];
  const files = await convertFused({ model, base, ...options, onModule: (module) => modules.push(module) });
  const again = await openCheckpoint(await merged(memoryFolder(files), base));
  const [was, now] = [await openCheckpoint(base), await openCheckpoint(model)];
  const numbers = async (source: typeof was, of: string) => {
    const { data, dtype } = await source.read(of);
    return widen(data, dtype);
  };
  for (const { path, residual, rounding } of modules) {
    const weight = await numbers(was, `${path}.weight`);
    const [expected, found] = [await numbers(now, `${path}.weight`), await numbers(again, `${path}.weight`)]
      .map((values) => values.map((value, i) => value - weight[i]));
    // What the entries leave, and the rounding of both models.
    const error = distance(found, expected), limit = 1.1 * residual + 3 * rounding;
    assert.ok(error < limit, `${name}, ${path}: ${error}`);
  }
  return { modules, files };
}

test("convertFused makes of each pattern's fused model the adapter again", async () => {
  const { modules } = await thereAndBack("svft-banded", { offDiag: 2 });
  assert.equal(modules.length, 6);
  for (const { residual, rounding } of modules) {
    assert.ok(residual < 1e-4 && rounding < 1e-6, `${residual}, ${rounding}`);
  }
  await thereAndBack("svft-plain", {});
  await thereAndBack("svft-random", { pattern: "random", offDiag: 2 });
  await thereAndBack("svft-topk", { pattern: "top_k", offDiag: 1 });
  await thereAndBack("svft-rank", { offDiag: 1 });
});

test("convertFused takes a model of bfloat16, and says what rounding leaves", async () => {
  const { modules } = await thereAndBack("svft-plain-slim", {}, "bfloat16");
  for (const { residual, rounding } of modules) {
    assert.ok(residual > 1e-4 && residual < 1.5 * rounding + 1e-3, `${residual}, ${rounding}`);
  }
});

test("convertFused writes singular vectors where it is told to", async () => {
  const { files } = await thereAndBack("svft-banded", { offDiag: 2, vectors: true });
  const { modules } = await loadAdapter(memoryFolder(files));
  assert.deepEqual(modules.get("model.layers.0.mlp.down_proj")!.shape, { out: 64, in: 96 });
});

test("convertFused refuses a change that the pattern does not have, with what is left of it", async () => {
  const base = await methodFixture("base");
  const narrow = convertFused({
    model: await merged(await methodFixture("svft-banded"), base),
    base,
    offDiag: 1,
  });
  await assert.rejects(
    narrow,
    /^ConfigError: Cannot convert "model\.layers\.0\.self_attn\.q_proj\.weight" as SVFT with "pattern" = "banded" and "off_diag" = 1: the entries leave 0\.64/,
  );
  const lora = await merged(await methodFixture("lora"), base);
  await assert.rejects(
    convertFused({ model: lora, base, offDiag: 2 }),
    /the entries leave 0\.9\d+ of its change/,
  );
  await assert.rejects(
    convertFused({ model: lora, base, pattern: "top_k", offDiag: 2 }),
    /the entries leave 0\.\d/,
  );
  await convertFused({ model: lora, base, offDiag: 2, maxResidual: 1 });
});

test("convertFused refuses a change that rounding hides", async () => {
  const base = await methodFixture("base");
  const model = await changed(base, (name, t) => {
    if (name !== q) return t;
    const data = (t.data as Float32Array).map((value) => value * (1 + 2 ** -12));
    return { ...t, dtype: "bfloat16", data: narrow(data, "bfloat16") };
  });
  await assert.rejects(
    convertFused({ model, base }),
    /rounding it to bfloat16 is expected to be [\d.]+ of its change/,
  );
});

test("convertFused refuses models that differ elsewhere, and those that do not differ", async () => {
  const base = await methodFixture("base"), model = await merged(await methodFixture("svft-plain"), base);
  const more = await changed(model, (name, t) => {
    if (name !== "model.norm.weight") return t;
    const data = t.data.slice();
    data[3] += 1;
    return { ...t, data };
  });
  await assert.rejects(
    convertFused({ model: more, base }),
    /its "model\.norm\.weight" is not the base's, and SVFT/,
  );
  await assert.rejects(
    convertFused({ model: base, base }),
    /Cannot convert the model: its linears are the base's/,
  );
  const without = (of: ReadableFolder) => changed(of, (name, t) => name === q ? undefined : t);
  await assert.rejects(
    convertFused({ model: await without(model), base }),
    /it has no "model.*q_proj\.weight"/,
  );
  await assert.rejects(
    convertFused({ model, base: await without(base) }),
    /its base has no "model.*q_proj\.weight"/,
  );
  const small = await changed(model, (name, t) => name === q ? tensor(new Float32Array(64), [8, 8]) : t);
  await assert.rejects(convertFused({ model: small, base }), /its shape is \[8,8\], the base's \[64,64\]/);
  const endless = await changed(model, (name, t) => {
    if (name === q) t.data[5] = Infinity;
    return t;
  });
  await assert.rejects(convertFused({ model: endless, base }), /element 5 is not finite in both/);
});
