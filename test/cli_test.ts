import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { decode } from "fast-png";
import { cpuDevice, deltaOf, loadAdapter } from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { parseSafetensors, toFloat32, writeSafetensors } from "../src/safetensors/mod.ts";
import { type GoldenCase, goldenCases } from "./demo_model.ts";
import { fakeHub } from "./fake_hub.ts";
import { distance } from "./kernel_contract.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const model = join(root, "examples/demo/base");
const adapters = join(root, "examples/demo/adapters");
const adapter = join(adapters, "fourierft-kjv");
const q = "model.layers.0.self_attn.q_proj";

/** The command line as a process of the runtime that runs this test. */
function start(args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
  const main = "src/cli/main.ts";
  const command = "Deno" in globalThis ? ["run", "-A", "--no-check", main] : [main];
  return spawn(process.execPath, [...command, ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function ended(child: ChildProcess): Promise<Ended> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout!.on("data", (data) => out.push(data));
  child.stderr!.on("data", (data) => err.push(data));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once(
      "close",
      (code) =>
        resolve({ code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    );
  });
}

const run = (...args: string[]): Promise<Ended> => ended(start(args));

async function succeeds(...args: string[]): Promise<Ended> {
  const result = await run(...args);
  assert.equal(result.code, 0, result.stderr);
  return result;
}

/** A command that must end with a code, nothing on standard output, and one line that says why. */
async function endsWith(wanted: number, rule: RegExp, args: readonly string[]): Promise<void> {
  const { code, stdout, stderr } = await run(...args);
  assert.equal(code, wanted, stderr);
  assert.equal(stdout, "");
  assert.match(stderr, rule);
  assert.match(stderr, /(^|\n)fourierft: Cannot [^\n]*\n$/);
  assert.doesNotMatch(stderr, /\n\s+at /, "a stack is for programmers");
}

/** A command that must fail. */
const fails = (rule: RegExp, ...args: string[]): Promise<void> => endsWith(1, rule, args);

/** A command line that cannot be followed: a flag's value is none. */
const misuses = (rule: RegExp, ...args: string[]): Promise<void> => endsWith(2, rule, args);

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "fourierft-test-"));
  try {
    await body(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

type NamedCase = GoldenCase & { readonly adapter: string | null };

function goldenOf(name: string | null): NamedCase {
  return (goldenCases() as readonly NamedCase[]).find((one) => one.adapter === name)!;
}

async function demoDelta(shape: { out: number; in: number }): Promise<Float32Array> {
  const { method, modules } = await loadAdapter(await openFolder(adapter));
  const delta = await deltaOf(cpuDevice(), { method, module: modules.get(q)!, shape });
  return delta.data as Float32Array;
}

test("inspect tells what an adapter holds, a line for each kind of module", async () => {
  const { stdout } = await succeeds("inspect", adapter);
  assert.match(stdout, /^peft_type +FOURIERFT$/m);
  assert.match(stdout, /^parameters +56000$/m);
  assert.match(stdout, /^sha256 +[0-9a-f]{64}$/m);
  assert.match(stdout, /^modules +56$/m);
  assert.match(stdout, /^ +8 +model\.layers\.\*\.self_attn\.q_proj: n = 1000, seed 777, scaling 150$/m);
  assert.equal(stdout.match(/^ +8 +model\.layers/gm)?.length, 7);
  const events = (await succeeds("inspect", adapter, "--json")).stdout.trimEnd().split("\n");
  const [told, done] = events.map((line) => JSON.parse(line));
  assert.deepEqual([told.event, told.peft_type, told.parameters, done], ["adapter", "FOURIERFT", 56000, {
    event: "done",
  }]);
  assert.deepEqual([told.modules.length, told.modules[0].parameters], [56, 1000]);
  const lora = await succeeds("inspect", join(adapters, "lora-kjv"));
  assert.match(lora.stdout, /^peft_type +LORA$/m);
  assert.match(lora.stdout, /mlp\.down_proj: r = 8, scale 2$/m);
});

test("delta without the base's weights names the module that needs them", async () => {
  const svft = "test/fixtures/methods/svft-banded", module = "model.layers.0.self_attn.q_proj";
  await inFolder(async (folder) => {
    const args = ["delta", "--adapter", svft, "--module", module, "--shape", "64x64", "--device", "cpu"];
    await fails(
      /Cannot use module "model\.layers\.0\.self_attn\.q_proj" without its base model's weight: SVFT depends on it/,
      ...args,
      "--out",
      join(folder, "delta.safetensors"),
    );
  });
});

test("delta of a DoRA adapter is that of its base's weights, and is refused without them", async () => {
  await inFolder(async (folder) => {
    const out = join(folder, "delta.safetensors"), dora = join(adapters, "dora-kjv-r2");
    const args = ["delta", "--adapter", dora, "--module", q, "--out", out, "--device", "cpu"];
    await fails(/Cannot tell what an adapter of DoRA adds to a weight without that weight/, ...args);
    await succeeds(...args, "--model", model);
    const { read } = parseSafetensors(new Uint8Array(await readFile(out)));
    const base = parseSafetensors(new Uint8Array(await readFile(join(model, "model.safetensors"))));
    const own = parseSafetensors(new Uint8Array(await readFile(join(dora, "adapter_model.safetensors"))));
    const weight = toFloat32(base.read(`${q}.weight`)), delta = toFloat32(read("delta_weight"));
    const magnitudes = toFloat32(own.read(`base_model.model.${q}.lora_magnitude_vector`));
    // Each row of W + dW has the magnitude as its norm.
    magnitudes.forEach((magnitude, row) => {
      let square = 0;
      for (let i = 256 * row; i < 256 * (row + 1); i++) square += (weight[i] + delta[i]) ** 2;
      assert.ok(Math.abs(Math.sqrt(square) - Math.abs(magnitude)) < 1e-5 * Math.abs(magnitude), `row ${row}`);
    });
  });
});

test("inspect --out draws a folder of pictures: SVG with dW's own elements, and PNG of the width asked", async () => {
  await inFolder(async (folder) => {
    const out = join(folder, "pictures");
    const { stderr } = await succeeds(
      ...["inspect", adapter, "--module", q, "--shape", "256x256", "--out", out, "--width", "200"],
    );
    assert.match(stderr, /norms of all modules are left out: --model DIR would tell/);
    assert.deepEqual(
      (await readdir(out)).sort(),
      ["delta", "distribution", "spectrum"].flatMap((name) => [`${name}.png`, `${name}.svg`]),
    );
    for (const name of ["delta", "distribution", "spectrum"]) {
      assert.equal(decode(await readFile(join(out, `${name}.png`))).width, 200);
      assert.match(
        await readFile(join(out, `${name}.svg`), "utf8"),
        /^<svg [\s\S]*<title>fourierft-kjv: model/,
      );
    }
    const svg = await readFile(join(out, "delta.svg"), "utf8");
    const image = /href="data:image\/png;base64,([^"]+)"/.exec(svg)![1];
    const { width, height, data, palette } = decode(Buffer.from(image, "base64"));
    assert.deepEqual([width, height, palette?.length], [256, 256, 256]);
    const delta = await demoDelta({ out: 256, in: 256 });
    const limit = 3 * Math.sqrt(delta.reduce((sum, value) => sum + value * value, 0) / delta.length);
    delta.forEach((value, i) => {
      const [red, , blue, alpha] = palette![data[i]];
      const level = Math.min(127, Math.round(Math.abs(value) * (127 / limit)));
      assert.equal(alpha, Math.round(255 * level / 127), `element ${i}`);
      if (level > 0) assert.equal(red > blue, value > 0, `element ${i}`);
    });
  });
});

test("inspect --out FILE draws one card, and tells which picture a method has not", async () => {
  await inFolder(async (folder) => {
    const file = join(folder, "card.svg"), other = join(adapters, "fourierft-jargon");
    const of = (...more: string[]): string[] => ["inspect", ...more, "--model", model, "--out", file];
    await succeeds(...of(adapter, "--picture", "norms"));
    const norms = await readFile(file, "utf8");
    assert.match(norms, />Frobenius norms of 56 modules, together [\d.]+</);
    assert.equal(norms.match(/<circle/g)?.length, 56 + 7);
    await succeeds(...of(adapter, "--beside", other, "--picture", "cosines"));
    assert.match(
      await readFile(file, "utf8"),
      />fourierft-kjv and fourierft-jargon, 56 modules that both adapt</,
    );
    const lora = join(adapters, "lora-kjv");
    await fails(
      /Cannot draw the picture "spectrum" of module ".*": LoRA has none/,
      ...of(lora, "--picture", "spectrum"),
    );
    await misuses(/Cannot draw cosines without --beside/, ...of(adapter, "--picture", "cosines"));
    await misuses(
      /Cannot read --picture "dw": it must be one of spectrum, delta,/,
      ...of(adapter, "--picture", "dw"),
    );
    await misuses(/Cannot read --theme "grey"/, ...of(adapter, "--theme", "grey"));
    await misuses(/Cannot use --theme without --out/, "inspect", adapter, "--theme", "dark");
  });
});

test("inspect and delta take shapes from --model, and refuse a --shape that it contradicts", async () => {
  await inFolder(async (folder) => {
    const down = "model.layers.0.mlp.down_proj", out = join(folder, "pictures");
    const { stdout } = await succeeds("inspect", adapter, "--model", model);
    assert.match(stdout, /^ +8 +model\.layers\.\*\.mlp\.down_proj \(256, 768\): n = 1000/m);
    const file = join(folder, "delta.safetensors"), svg = join(folder, "delta.svg");
    await succeeds(
      ...["inspect", adapter, "--module", down, "--model", model, "--picture", "delta", "--out", svg],
    );
    assert.match(await readFile(svg, "utf8"), />256 × 768, every element</);
    const contradicted = ["--module", down, "--model", model, "--shape", "256x256"];
    const rule = /Cannot use --shape 256x256: the model makes it 256x768/;
    await fails(rule, "inspect", adapter, ...contradicted, "--out", out);
    await fails(rule, "delta", "--adapter", adapter, ...contradicted, "--out", file);
    await fails(/Cannot tell the shape/, "delta", "--adapter", adapter, "--module", down, "--out", file);
    await misuses(/Cannot use --shape without --out/, "inspect", adapter, "--shape", "4x4");
    const known = ["delta", "--adapter", adapter, "--module", down, "--out", file, "--device", "cpu"];
    assert.doesNotMatch((await succeeds(...known, "--model", model)).stderr, /trust/);
    const { tensors } = parseSafetensors(new Uint8Array(await readFile(file)));
    assert.deepEqual(tensors.get("delta_weight")?.shape, [256, 768]);
    assert.match(
      (await succeeds(...known, "--shape", "256x768")).stderr,
      /--shape 256x768 is taken on trust/,
    );
    // A LoRA's factors say their shape.
    const lora = ["delta", "--adapter", join(adapters, "lora-kjv"), "--module", down, "--out", file];
    await succeeds(...lora, "--device", "cpu");
    await fails(/Cannot use --shape 4x4: module ".*" makes it 256x768/, ...lora, "--shape", "4x4");
  });
});

test("delta writes dW as a safetensors file, the same from the CPU and, within rounding, from a GPU", async () => {
  await inFolder(async (folder) => {
    const expected = await demoDelta({ out: 256, in: 256 });
    for (const device of ["cpu", "webgpu"]) {
      const file = join(folder, `${device}.safetensors`);
      const common = ["--adapter", adapter, "--module", q, "--shape", "256x256", "--out", file];
      await succeeds("delta", ...common, "--device", device);
      const { tensors, read } = parseSafetensors(new Uint8Array(await readFile(file)));
      assert.deepEqual([...tensors.keys()], ["delta_weight"]);
      const view = read("delta_weight");
      assert.deepEqual([view.dtype, view.shape], ["F32", [256, 256]]);
      const found = toFloat32(view);
      if (device === "cpu") assert.deepEqual(found, expected);
      else assert.ok(distance(found, expected) <= 1e-6);
    }
  });
});

test("generate continues a prompt greedily as transformers and PEFT do, with an adapter and without", async () => {
  for (const name of [null, "fourierft-kjv", "lora-kjv"]) {
    const { prompt, text } = goldenOf(name);
    const chosen = name === null ? [] : ["--adapter", join(adapters, name)];
    const { stdout } = await succeeds(
      "generate",
      "--model",
      model,
      ...chosen,
      "--prompt",
      prompt,
      "--device",
      "cpu",
    );
    assert.equal(stdout, `${prompt}${text}\n`);
  }
});

test("generate samples the same text for the same seed, and no more tokens than asked for", async () => {
  const common = ["generate", "--model", model, "--prompt", "The", "--device", "cpu", "--max-tokens", "9"];
  const sampled = async (seed: string): Promise<string> =>
    (await succeeds(...common, "--temperature", "1", "--seed", seed, "--threads", "1")).stdout;
  const [first, other] = [await sampled("1"), await sampled("2")];
  const shared = await succeeds(...common, "--temperature", "1", "--seed", "1", "--threads", "3"),
    again = shared.stdout;
  assert.match(shared.stderr, /3 threads of its own/);
  assert.equal(again, first);
  assert.notEqual(other, first);
  assert.equal((await succeeds(...common, "--max-tokens", "0")).stdout, "The\n");
});

test("generate --json tells text as events, and where the context has room for fewer tokens that is said", async () => {
  const { prompt, text } = goldenOf("fourierft-kjv");
  const common = ["generate", "--model", model, "--adapter", adapter, "--prompt", prompt, "--device", "cpu"];
  const { stdout, stderr } = await succeeds(...common, "--json");
  const events = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  const told = events.filter(({ event }) => event !== "progress");
  assert.ok(told.slice(0, -1).every(({ event }) => event === "text") && told.length > 20);
  assert.equal(told.map((event) => event.text).join(""), text);
  assert.equal(told.at(-1).event, "done");
  assert.equal(told.at(-1).finish_reason, "length");
  assert.equal(events.at(-1), told.at(-1));
  assert.doesNotMatch(stderr, /max-tokens/);
  // The demo model's context has 512 tokens.
  const long = "a ".repeat(505), cut = await succeeds(...common, "--prompt", long, "--max-tokens", "300");
  assert.match(
    cut.stderr,
    /--max-tokens 300 is more than there is room for: the context has 512 tokens, the prompt 50\d; \d new tokens? at most\n/,
  );
  const failed = await run(...common, "--adapter", "nowhere", "--json");
  assert.equal(failed.code, 1);
  assert.deepEqual(Object.keys(JSON.parse(failed.stdout)), ["event", "message"]);
});

test("generate takes an adapter from a folder of any name, and from links as the Hugging Face cache has them", async () => {
  await inFolder(async (folder) => {
    const { prompt, text } = goldenOf("fourierft-kjv");
    const names = ["My Adapter v1.0", "KJV", "Schl\u00fcssel-\u8bd7", "-dash", "snapshots/0abc"];
    for (const name of names) {
      const at = join(folder, name);
      await mkdir(at, { recursive: true });
      for (const file of await readdir(adapter)) {
        if (name.startsWith("snapshots")) await symlink(join(adapter, file), join(at, file));
        else await copyFile(join(adapter, file), join(at, file));
      }
    }
    await symlink(join(folder, "KJV"), join(folder, "a link"));
    for (const name of [...names, "a link", "KJV/"]) {
      const common = ["generate", "--model", model, "--prompt", prompt, "--device", "cpu"];
      const { stdout } = await succeeds(...common, "--adapter", `${folder}/${name}`, "--max-tokens", "8");
      const begun = stdout.slice(0, -1);
      assert.ok(
        begun.length > prompt.length + 4 && `${prompt}${text}`.startsWith(begun),
        `${name}: ${stdout}`,
      );
    }
  });
});

test("generate --trace shows the last step launch by launch on standard error, and the text as it is", async () => {
  const common = ["generate", "--model", model, "--prompt", "The", "--device", "cpu", "--max-tokens", "2"];
  const [plain, traced] = [await succeeds(...common), await succeeds(...common, "--trace")];
  assert.equal(traced.stdout, plain.stdout);
  assert.doesNotMatch(plain.stderr, /last step/);
  assert.match(traced.stderr, /^The last step on CPU .*, by the host's clock:$/m);
  assert.match(traced.stderr, /^ +5 +rope_cache +[0-9.]+ +[0-9.]+$/m);
  assert.match(traced.stderr, /^ +linear +33 +[0-9.]+ +[0-9.]+ %$/m);
});

test("merge writes a model folder that speaks as the base with the adapter does", async () => {
  await inFolder(async (folder) => {
    const merged = join(folder, "merged");
    await succeeds("merge", "--model", model, "--adapter", adapter, "--out", merged, "--device", "cpu");
    assert.deepEqual((await readdir(merged)).sort(), (await readdir(model)).sort());
    const file = (at: string) =>
      parseSafetensors(new Uint8Array(readFileSync(join(at, "model.safetensors"))));
    const [before, after] = [file(model), file(merged)];
    assert.deepEqual([...after.tensors.keys()].sort(), [...before.tensors.keys()].sort());
    assert.deepEqual(after.read("model.norm.weight").bytes, before.read("model.norm.weight").bytes);
    const [old, sum] = [before, after].map((of) => of.read(`${q}.weight`));
    assert.deepEqual([sum.dtype, sum.shape], [old.dtype, old.shape]);
    const delta = await demoDelta({ out: 256, in: 256 });
    const expected = Float32Array.from(toFloat32(old), (value, i) => value + delta[i]);
    // The base is float16: the sum is rounded once, by 2^-11 at most.
    assert.ok(distance(toFloat32(sum), expected) < 2 ** -11);
    const { prompt, text } = goldenOf("fourierft-kjv");
    const { stdout } = await succeeds("generate", "--model", merged, "--prompt", prompt, "--device", "cpu");
    assert.equal(stdout, `${prompt}${text}\n`);
    await fails(
      /it holds files already/,
      ...["merge", "--model", model, "--adapter", adapter, "--out", merged, "--device", "cpu"],
    );
  });
});

test("a merge or quantize that fails leaves nothing: neither files nor the folders that it made", async () => {
  await inFolder(async (folder) => {
    const broken = join(folder, "broken"), there = join(folder, "there");
    for (const at of [broken, there]) await mkdir(at);
    for (const name of ["config.json", "tokenizer.json"]) {
      await writeFile(join(broken, name), await readFile(join(model, name)));
    }
    const weights = new Uint8Array(await readFile(join(model, "model.safetensors")));
    const file = parseSafetensors(weights);
    const views = [...file.tensors.keys()].map((name) => file.read(name));
    // The last layer's weight is found to be none when the first weights are written: float16 NaNs.
    const spoilt = views.map((view) =>
      view.name.includes("layers.7.mlp.up_proj")
        ? { ...view, bytes: new Uint8Array(new Uint16Array(view.bytes.length / 2).fill(0x7e00).buffer) }
        : view
    );
    await writeFile(join(broken, "model.safetensors"), writeSafetensors(spoilt));
    for (const out of [join(folder, "a", "b"), there]) {
      await fails(/element 0 = NaN/, "quantize", "--model", broken, "--out", out, "--bits", "8");
    }
    assert.deepEqual((await readdir(folder)).sort(), ["broken", "there"]);
    assert.deepEqual(await readdir(there), []);
    const merge = ["merge", "--model", model, "--adapter", adapter, "--device", "cpu", "--out"];
    const kept = join(there, "kept.txt");
    await writeFile(kept, "mine");
    await fails(/holds files already \(kept\.txt\)/, ...merge, there);
    assert.equal(await readFile(kept, "utf8"), "mine");
    await fails(/Cannot write to folder ".*kept\.txt": a file of that name is there/, ...merge, kept);
    await fails(/Cannot write to folder ".*x": a part of its path is a file/, ...merge, join(kept, "x"));
  });
});

test("delta and inspect say why --out cannot be written, and which dW is too large", async () => {
  await inFolder(async (folder) => {
    const one = ["delta", "--adapter", adapter, "--module", q, "--model", model, "--device", "cpu", "--out"];
    await fails(/Cannot write to file ".*": it is a folder/, ...one, folder);
    await fails(/Cannot write to file ".*": its folder is not there/, ...one, join(folder, "none", "a"));
    const file = join(folder, "file");
    await writeFile(file, "");
    const drawn = ["inspect", adapter, "--module", q, "--shape"];
    const { code, stderr } = await run(...drawn, "256x256", "--out", file);
    assert.equal(code, 1);
    assert.match(stderr, /Cannot write to folder ".*file": a file of that name is there/);
    const large = await run(...drawn, "9000000x9000000", "--out", join(folder, "large"));
    assert.equal(large.code, 1);
    assert.match(large.stderr, /Cannot build dW of \(9000000, 9000000\): no array of 324000000000000 bytes/);
    const train = [
      "train",
      "--model",
      model,
      "--data",
      "README.md",
      "--steps",
      "1",
      "--device",
      "cpu",
      "--out",
    ];
    await fails(/Cannot write to folder ".*file": a part of its path is a file/, ...train, file);
  });
});

test("combine writes a weighted sum that generates as the adapter whose parts are added up", async () => {
  await inFolder(async (folder) => {
    const out = join(folder, "sum"), { prompt, text } = goldenOf("fourierft-kjv");
    const parts = ["--adapter", `${adapter}=1.5`, "--adapter", `${adapter}=-1.5`, "--adapter", adapter];
    const { stderr } = await succeeds("combine", ...parts, "--out", out);
    assert.match(stderr, /sum: a FOURIERFT adapter of 56 modules/);
    const common = ["--prompt", prompt, "--device", "cpu"];
    const { stdout } = await succeeds("generate", "--model", model, "--adapter", out, ...common);
    assert.equal(stdout, `${prompt}${text}\n`);
    await fails(/it holds files already/, "combine", ...parts, "--out", out);
    await endsWith(
      2,
      /Cannot read --adapter "nowhere=x": its weight must be a number, it is "x"/,
      ["combine", "--adapter", "nowhere=x", "--out", join(folder, "x")],
    );
    await endsWith(
      2,
      /Cannot read --adapter "[^"]+=1e9": its weight must be from -1000 to 1000/,
      ["combine", "--adapter", `${adapter}=1e9`, "--out", join(folder, "y")],
    );
    await endsWith(
      2,
      /Cannot read --pattern "bad": it must be banded, random, top_k/,
      ["convert", "--model", model, "--base", model, "--pattern", "bad", "--out", join(folder, "z")],
    );
  });
});

test("quantize writes a folder that says what the model says when it is quantized at load", async () => {
  await inFolder(async (folder) => {
    const out = join(folder, "int4");
    await succeeds("quantize", "--model", model, "--out", out, "--bits", "4");
    assert.deepEqual((await readdir(out)).sort(), (await readdir(model)).sort());
    const generate = async (at: string, ...more: string[]): Promise<string> => {
      const args = ["--prompt", "The king", "--max-tokens", "12", "--device", "cpu", "--adapter", adapter];
      return (await succeeds("generate", "--model", at, ...args, ...more)).stdout;
    };
    assert.equal(await generate(out), await generate(model, "--quantize", "int4"));
    const text = join(folder, "text.txt");
    await writeFile(text, "And the king said unto the woman, What aileth thee?");
    const told = async (at: string, ...more: string[]): Promise<string> => {
      const args = ["--data", text, "--context-length", "8", "--device", "cpu"];
      return (await succeeds("perplexity", "--model", at, ...args, ...more)).stdout;
    };
    const saved = await told(out);
    assert.match(saved, /^loss +\d\.\d{4}\nperplexity +\d+\.\d{3}\n$/);
    assert.equal(await told(model, "--quantize", "int4"), saved);
    assert.notEqual(await told(model), saved);
    await fails(/of q4_32 already/, "quantize", "--model", out, "--out", join(folder, "x"), "--bits", "8");
    await misuses(/Cannot read --bits "3"/, "quantize", "--model", model, "--out", out, "--bits", "3");
    await misuses(/Cannot read --quantize "fp8"/, "serve", "--model", model, "--quantize", "fp8");
    const asked = ["generate", "--model", model, "--prompt", "The", "--kv-cache-dtype", "fp8"];
    await misuses(/Cannot read --kv-cache-dtype "fp8": it must be float32, float16 or int8/, ...asked);
  });
});

/** Waits for the address a server says it listens on. */
function listening(child: ChildProcess): Promise<string> {
  let text = "";
  return new Promise((resolve, reject) => {
    child.stderr!.on("data", (data) => {
      text += data;
      const found = /listening on (http:\/\/[\d.]+:\d+)\n/.exec(text);
      if (found) resolve(found[1]);
    });
    child.once("close", (code) => reject(new Error(`the server ended with ${code}: ${text}`)));
  });
}

test("serve answers over HTTP on a free port, refuses a port in use, and ends in peace on SIGTERM", async () => {
  const common = ["serve", "--model", model, "--adapters", adapters, "--device", "cpu"];
  const child = start([...common, "--port", "0", "--name", "demo"]);
  const end = ended(child);
  try {
    const address = await listening(child);
    const { data } = await (await fetch(`${address}/v1/models`)).json() as { data: { id: string }[] };
    const ids = data.map(({ id }) => id);
    assert.ok(
      ids.includes("demo") && ids.includes("fourierft-kjv") && ids.includes("dora-kjv-r2"),
      `${ids}`,
    );
    const { prompt, text } = goldenOf("fourierft-kjv");
    const response = await fetch(`${address}/v1/completions`, {
      method: "POST",
      body: JSON.stringify({ model: "fourierft-kjv", prompt, temperature: 0, max_tokens: 60 }),
    });
    assert.equal(response.status, 200);
    const { choices } = await response.json() as { choices: { text: string }[] };
    assert.equal(choices[0].text, text);
    const { port } = new URL(address);
    await fails(new RegExp(`Cannot listen on port ${port}: it is in use`), ...common, "--port", port);
  } finally {
    // Not child.kill: Deno then reports the signal it sent, however the child ended.
    process.kill(child.pid!, "SIGTERM");
  }
  const { code, stderr } = await end;
  assert.equal(code, 0, stderr);
  assert.match(stderr, /stopping/);
});

test("fourierft without a command shows its usage; an unknown command is an error", async () => {
  const help = await succeeds("--help");
  for (
    const command of ["serve", "inspect", "delta", "merge", "combine", "generate", "quantize", "perplexity"]
  ) {
    assert.match(help.stdout, new RegExp(`\\b${command}\\b`));
  }
  const bare = await run();
  assert.equal(bare.code, 2);
  assert.match(bare.stdout, /serve/);
  const unknown = await run("fly");
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /^fourierft: Cannot run command "fly": there is none\n$/);
  const one = await succeeds("merge", "--help");
  assert.match(one.stdout, /--adapter/);
  assert.match(
    (await succeeds("combine", "--help")).stdout,
    /EXAMPLES\n[^]*\n {4}fourierft combine --adapter law=0\.7 --adapter tone --out both\n/,
  );
});

test("commands refuse broken folders, modules, shapes and devices in one line", async () => {
  await inFolder(async (folder) => {
    const generate = (at: string) => ["generate", "--model", at, "--prompt", "The", "--device", "cpu"];
    await fails(/Cannot find config\.json in the model's folder/, ...generate(folder));
    await fails(/Cannot open folder ".*nowhere": it is not a folder/, ...generate(join(folder, "nowhere")));
    await writeFile(join(folder, "config.json"), '{"model_type": "gptj"}');
    await fails(/"model_type" = "gptj"/, ...generate(folder));
    // As Python's json writes a NaN, whose place runtimes quote with the lines around it.
    await writeFile(
      join(folder, "config.json"),
      '{\n  "model_type": "llama",\n  "rope_theta": NaN,\n  "vocab_size": 1\n}\n',
    );
    await fails(/Cannot read config\.json as JSON: /, ...generate(folder));
    await fails(/Cannot find adapter_config\.json/, "inspect", folder);
    await fails(
      /Cannot open adapters ".*": it is not a folder/,
      "serve",
      "--model",
      model,
      "--adapters",
      folder + "x",
    );
    const delta = (module: string, shape: string, device = "cpu") => [
      ...["delta", "--adapter", adapter, "--module", module, "--shape", shape],
      ...["--out", join(folder, "x.safetensors"), "--device", device],
    ];
    await fails(
      /Cannot find module "q_proj" in the adapter: of its 56 modules the nearest are model\.layers\.0\.self_attn\.q_proj, (\S+q_proj(, )?){2}\n/,
      ...delta("q_proj", "4x4"),
    );
    await misuses(/Cannot read shape "4": it must be OUTxIN/, ...delta(q, "4"));
    await fails(/Cannot place 1000 frequencies in module ".*q_proj"/, ...delta(q, "4x4"));
    await misuses(/Cannot open device "tpu"/, ...delta(q, "64x64", "tpu"));
    await misuses(/Cannot read --threads "0": .* from 1 to 64/, ...generate(model), "--threads", "0");
    await misuses(
      /Cannot use --threads 2 with --device webgpu/,
      ...delta(q, "64x64", "webgpu"),
      "--threads",
      "2",
    );
    await fails(
      /Cannot open adapter ".*nobody": it is not a folder/,
      ...[...generate(model), "--adapter", join(adapters, "nobody")],
    );
    await fails(
      /Cannot open adapter ".*": it has no adapter_config\.json/,
      ...[...generate(model), "--adapter", folder],
    );
    await misuses(/Cannot read --max-tokens "many"/, ...generate(model), "--max-tokens", "many");
    await misuses(/Cannot read --port "99999"/, "serve", "--model", model, "--port", "99999");
  });
});

async function filesOf(path: string): Promise<Map<string, Uint8Array>> {
  const names = await readdir(path);
  return new Map(
    await Promise.all(names.map(async (name) => [name, await readFile(join(path, name))] as const)),
  );
}

test("models and adapters are taken from the hub where no folder has the name", () =>
  inFolder(async (cache) => {
    const files = new Map([...await filesOf(model), ...await filesOf(adapter)]);
    const hub = await fakeHub("org/demo", files);
    const ask = (...args: string[]) =>
      ended(start(args, { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: cache, HF_TOKEN: "" }));
    try {
      const [here, there] = await Promise.all([
        succeeds("inspect", adapter, "--model", model),
        ask("inspect", "org/demo@v1", "--model", "org/demo"),
      ]);
      assert.equal(there.code, 0, there.stderr);
      assert.equal(there.stdout, here.stdout);
      const { code, stderr } = await ask("inspect", "org/none");
      assert.equal(code, 1);
      assert.match(stderr, /no such repository.*no folder here is called "org\/none"/);
    } finally {
      await hub.close();
    }
  }));
