// The Worker example in workerd, bundled as wrangler bundles it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { build } from "esbuild";
import { cpuDevice, deltaOf, fourierft, loadAdapter } from "fourierft";
import { openFolder } from "fourierft/node";
import { parseSafetensors } from "fourierft/safetensors";
import { Miniflare } from "miniflare";

const configText = readFileSync("examples/wrangler.toml", "utf8");
const setting = (name) => new RegExp(`^${name} = "(.*)"$`, "m").exec(configText)?.[1];
const wasm = "fourierft/kernels.wasm";
const demo = process.env.DEMO;
const path = "model.layers.0.self_attn.q_proj";

/** The demo's adapters behind a URL, as the example asks for them; the Worker reaches nothing else. */
function adapters(request) {
  const { origin, pathname } = new URL(request.url);
  try {
    assert.equal(`${origin}/adapters/`, setting("ADAPTERS"));
    return new Response(request.method === "HEAD" ? null : readFileSync(`${demo}${pathname}`));
  } catch {
    return new Response("none", { status: 404 });
  }
}

async function open() {
  const { outputFiles, warnings } = await build({
    entryPoints: [`examples/${setting("main")}`],
    bundle: true,
    format: "esm",
    target: "es2024",
    // Wrangler's: modules of the runtime are left to workerd, and so is WASM, which it compiles.
    platform: "browser",
    conditions: ["workerd", "worker", "browser"],
    external: ["node:*", wasm],
    write: false,
  });
  assert.deepEqual(warnings, []);
  const text = outputFiles[0].text;
  assert.doesNotMatch(text, /from "node:/);
  return new Miniflare({
    modules: [
      { type: "ESModule", path: "worker.js", contents: text },
      { type: "CompiledWasm", path: wasm, contents: readFileSync(`node_modules/${wasm}`) },
    ],
    compatibilityDate: setting("compatibility_date"),
    bindings: { ADAPTERS: setting("ADAPTERS"), ADAPTER_NAMES: setting("ADAPTER_NAMES") },
    outboundService: adapters,
  });
}

test("examples/worker.ts answers in workerd with the numbers of Node", async () => {
  const worker = await open();
  try {
    const models = await (await worker.dispatchFetch("http://worker/v1/models")).json();
    assert.deepEqual(models.data.map(({ id }) => id), setting("ADAPTER_NAMES").split(","));
    const at = `http://worker/v1/adapters/fourierft-kjv/delta?module=${path}&shape=256x256`;
    const response = await worker.dispatchFetch(at);
    assert.equal(response.status, 200);
    const file = parseSafetensors(new Uint8Array(await response.arrayBuffer()));
    const [name] = file.tensors.keys();
    const { bytes } = file.read(name);
    const found = new Float32Array(bytes.slice().buffer);
    const { modules } = await loadAdapter(await openFolder(`${demo}/adapters/fourierft-kjv`));
    const linear = { method: fourierft, module: modules.get(path), shape: { out: 256, in: 256 } };
    assert.deepEqual(found, (await deltaOf(cpuDevice(), linear)).data);
  } finally {
    await worker.dispose();
  }
});
