// A program of a user on Node: runs beside an installed package, with no TypeScript and no project around it.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { applyModule, cpuDevice, deltaOf, fourierft, fourierModule, openModel, tensor } from "fourierft";
import { openCpuDevice, openDevice, openFolder, openGpu } from "fourierft/node";
import { frequencies, kernelRunner, kernels, portableLimits, scale } from "fourierft/kernels";
import { parseSafetensors, writeSafetensors } from "fourierft/safetensors";
import { createApp } from "fourierft/server";
import { drawnProperties } from "fourierft/testing";

const shape = { out: 6, in: 9 };
const seed = 2024;
const scaling = 150;
const coefficients = new Float32Array([0.5, -1, 2, 0.25, -0.125]);
const linear = { method: fourierft, module: fourierModule({ coefficients, seed, scaling }), shape };

/** dW by the paper's formula: the real part of an inverse DFT with the n coefficients at their frequencies. */
function definition() {
  const { u, v } = frequencies(coefficients.length, shape, { seed });
  return Float32Array.from({ length: shape.out * shape.in }, (_, i) => {
    const [j, k] = [Math.floor(i / shape.in), i % shape.in];
    const terms = Array.from(
      coefficients,
      (c, l) => c * Math.cos(2 * Math.PI * (u[l] * j / shape.out + v[l] * k / shape.in)),
    );
    return scaling / (shape.out * shape.in) * terms.reduce((a, b) => a + b, 0);
  });
}

function close(actual, expected) {
  assert.equal(actual.length, expected.length);
  const most = Math.max(...expected.map(Math.abs));
  actual.forEach((x, i) =>
    assert.ok(Math.abs(x - expected[i]) <= 2e-6 * most, `${x} is not ${expected[i]} at ${i}`)
  );
}

test("deltaOf: the CPU device has the definition's numbers", async () => {
  close((await deltaOf(cpuDevice(), linear)).data, definition());
});

test("cpuDevice: the package's kernels.wasm, compiled by the caller, has the definition's numbers", async () => {
  const wasm = new WebAssembly.Module(readFileSync(new URL(import.meta.resolve("fourierft/kernels.wasm"))));
  const device = cpuDevice({ wasm });
  assert.equal(device.description, "CPU (WASM SIMD, one thread)");
  close((await deltaOf(device, linear)).data, definition());
});

test("openCpuDevice: its threads have the definition's numbers", async () => {
  for (const [threads, words] of [[1, "one thread"], [3, "3 threads"]]) {
    const device = await openCpuDevice({ threads });
    assert.match(device.description, new RegExp(`^CPU \\(WASM (relaxed )?SIMD, ${words} of its own\\)$`));
    close((await deltaOf(device, linear)).data, definition());
    device.destroy();
  }
});

test("openCpuDevice: a product has equal bits with 1 and 3 threads", async () => {
  const rows = 96, size = 256, uniforms = { rows, in: size, out: size, accumulate: 0 };
  const filled = (count, seed) => Float32Array.from({ length: count }, (_, i) => Math.sin(i * seed));
  const product = async (threads) => {
    const device = await openCpuDevice({ threads });
    const x = device.upload(tensor(filled(rows * size, 0.3), [rows, size]));
    const weight = device.upload(tensor(filled(size * size, 0.7), [size, size]));
    const y = device.alloc([rows, size], "float32");
    const kernel = kernels.find(({ name }) => name === "linear");
    const program = await device.prepare([{ kernel, buffers: { x, weight, y }, uniforms }]);
    const numbers = await device.runAndRead(program, y);
    device.destroy();
    return numbers;
  };
  assert.deepEqual(await product(3), await product(1));
});

test("openCpuDevice: a program that forgets its device ends", () => {
  const program = `import { openCpuDevice } from "fourierft/node";
    const device = await openCpuDevice();
    console.log((await device.read(device.alloc([2], "float32"))).join());`;
  const options = { encoding: "utf8", timeout: 60_000 };
  const printed = execFileSync(process.execPath, ["--input-type=module", "--eval", program], options);
  assert.equal(printed, "0,0\n");
});

test("deltaOf and applyModule: a GPU opened by Dawn has the definition's numbers", async () => {
  const device = await openDevice({ kind: "webgpu" });
  close((await deltaOf(device, linear)).data, definition());
  const x = {
    shape: [1, shape.in],
    dtype: "float32",
    data: Float32Array.from({ length: shape.in }, (_, i) => i === 4 ? 1 : 0),
  };
  const y = await applyModule(device, linear, { x });
  close(y.data, definition().filter((_, i) => i % shape.in === 4));
  device.destroy();
});

test("fourierft/kernels: every kernel prints its WGSL", () => {
  assert.ok(kernels.length > 10);
  for (const kernel of kernels) {
    assert.ok(!("cases" in kernel), `${kernel.name} has test cases`);
    const dtypes = Object.fromEntries(Object.entries(kernel.buffers).map(([name, b]) => [name, b.dtypes[0]]));
    // Places are 0, and whatever has a size has one of 64.
    const uniforms = Object.fromEntries(
      Object.entries(kernel.uniforms).map((
        [name, type],
      ) => [name, type === "f32" ? 1 : name === "first" ? 0 : 64]),
    );
    const launch = kernel.launch({ uniforms, dtypes }, portableLimits);
    for (const { wgsl } of launch.dispatches) assert.match(wgsl, /fn main\(/);
  }
});

test("fourierft/testing: the CPU device has every property of spectral reconstruction", async () => {
  const device = cpuDevice();
  for (const property of Object.values(drawnProperties)) {
    await property(async (spectrum, shape) => {
      const { data } = await deltaOf(device, { method: fourierft, module: fourierModule(spectrum), shape });
      return data;
    }, { drawn: true, numRuns: 10 });
  }
});

test("fourierft/kernels: a kernel runs on a GPUDevice of the caller", async () => {
  const gpu = await openGpu();
  const runner = kernelRunner(gpu.device);
  const buffers = {
    y: runner.upload(Float32Array.of(1, -2, 3)),
    factor: runner.upload(Float32Array.of(0.5)),
  };
  await runner.run(scale, { buffers, uniforms: { count: 3 } });
  assert.deepEqual([...new Float32Array(await runner.read(buffers.y)).subarray(0, 3)], [0.5, -1, 1.5]);
  gpu.destroy();
});

test("fourierft/safetensors: what is written is read", () => {
  const bytes = new Uint8Array(new Float32Array([1, -2, 3]).buffer);
  const file = parseSafetensors(writeSafetensors([{ name: "w", dtype: "F32", shape: [3], bytes }]));
  assert.deepEqual(file.tensors.get("w")?.shape, [3]);
});

test("fourierft/server: the demo model answers a request with an adapter", async () => {
  const model = await openModel(cpuDevice(), { folder: await openFolder(`${process.env.DEMO}/base`) });
  const { engine, tokenizer, registry } = model;
  const app = createApp({
    model: { id: "demo", createdUnixSeconds: 0, engine, tokenizer },
    adapters: registry,
  });
  const response = await app.request("/v1/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "demo", prompt: "The king", max_tokens: 4, temperature: 0 }),
  });
  const body = await response.json();
  assert.equal(response.status, 200, JSON.stringify(body));
  assert.equal(body.usage.completion_tokens, 4);
});

test("fourierft: the command is installed", () => {
  assert.match(execFileSync("npx", ["--no-install", "fourierft", "--help"], { encoding: "utf8" }), /serve/);
});

test("fourierft serve: the package has the playground at /", async () => {
  const args = ["node_modules/fourierft/src/cli/main.js", "serve", "--model", `${process.env.DEMO}/base`];
  const server = spawn(process.execPath, [...args, "--device", "cpu", "--port", "0"], {
    stdio: ["ignore", "inherit", "pipe"],
  });
  try {
    let log = "";
    const address = await new Promise((resolve, reject) => {
      server.on("exit", (code) => reject(new Error(`serve ended with ${code}: ${log}`)));
      server.stderr.on("data", (chunk) => {
        log += chunk;
        const found = /^listening on (\S+)$/m.exec(log);
        if (found) resolve(found[1]);
      });
    });
    const page = await fetch(`${address}/`);
    assert.equal(page.headers.get("content-type"), "text/html; charset=utf-8");
    const [, script] = /src="([^"]+)"/.exec(await page.text());
    assert.equal((await fetch(`${address}/${script}`)).status, 200);
  } finally {
    server.kill();
  }
});
