// The package's declarations, as programs that use them are checked: two compilers, both resolutions, libraries included.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";

/** Fails to compile where a type of the package is lost: each `@ts-expect-error` is an error where nothing is wrong. */
const user = `
import {
  type ChatMessage, deltaOf, type Device, fourierft, fourierModule, generateText, type Model, openModel,
  type ReadableFolder, type TextToken, type Tokenizer,
} from "fourierft";
import { attention, fourierLinears, type Kernel, kernels, normals, rmsNorm } from "fourierft/kernels";
import { parseSafetensors } from "fourierft/safetensors";
import { createApp } from "fourierft/server";
import { shapes, type SpectralReconstruction, spectralProperties } from "fourierft/testing";

type IsAny<T> = 0 extends 1 & T ? true : false;
const isTyped = <T>(_: T, any: IsAny<T>): void => void any;

export async function check(device: Device, folder: ReadableFolder, message: ChatMessage): Promise<Model> {
  const module = fourierModule({ coefficients: new Float32Array(4), seed: 1, scaling: 2 });
  const delta = await deltaOf(device, { method: fourierft, module, shape: { out: 4, in: 4 } });
  // @ts-expect-error: a shape is made of numbers
  const wrong: string = delta.shape[0];
  isTyped(fourierLinears, false);
  isTyped(attention, false);
  isTyped(kernels[0], false);
  isTyped(normals, false);
  isTyped(parseSafetensors, false);
  isTyped(createApp, false);
  isTyped(shapes, false);
  // @ts-expect-error: an implementation answers with numbers
  const reconstruct: SpectralReconstruction = () => "dW";
  void spectralProperties.linearity(reconstruct, { shapes: shapes({ longest: 8 }) });
  const kernel: Kernel = kernels[0];
  // @ts-expect-error: a kernel's buffers have names
  void rmsNorm.buffers.nothing;
  const opened = await openModel(device, { folder });
  isTyped(opened, false);
  const tokenizer: Tokenizer = opened.tokenizer;
  // @ts-expect-error: an adapter's name is a text
  void generateText(opened.engine, { promptTokenIds: [1], adapter: 1, maxTokens: 1 }, { tokenizer });
  const app = createApp({
    model: { id: "x", createdUnixSeconds: 0, engine: opened.engine, tokenizer },
    adapters: opened.registry,
  });
  const response: Response = await app.fetch(new Request("http://x"));
  void [wrong, kernel, response, message, {} as TextToken];
  return opened.model;
}
`;

/** For programs with the types of WebGPU: they are the package's own. */
const userOfGpu = `
import { type OpenGpu, webgpuDevice } from "fourierft";
import { openGpu } from "fourierft/node";
export async function open(own: GPUDevice, gpu: OpenGpu): Promise<void> {
  webgpuDevice(own).destroy();
  const device: GPUDevice = (await openGpu()).device;
  gpu.device.queue.submit([]);
  // @ts-expect-error: a device is no text
  webgpuDevice("gpu");
  void device;
}
`;

const own = "node_modules/fourierft";
const documents = [
  "README.md",
  ...readdirSync(`${own}/docs`).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`),
];
// Parts of examples with packages of their own are checked there.
const documented = documents.flatMap((path) =>
  [...readFileSync(`${own}/${path}`, "utf8").matchAll(/^```(?:ts|js)\b(?!.* examples\/).*\n([\s\S]*?)^```/gm)]
    .map((
      [, code],
    ) => code)
);
const inDocuments = documented.map((code, i) => {
  writeFileSync(`document_${i}.ts`, `${code}\nexport {};\n`);
  return `document_${i}.ts`;
});
writeFileSync("user.ts", user);
writeFileSync("user_gpu.ts", userOfGpu);

const examples = [
  "examples/kernels_alone.ts",
  "examples/train.ts",
  "examples/worker.ts",
];

function compile(version, { resolution, files, lib, exact = false }) {
  const module = resolution === "bundler" ? "esnext" : "nodenext";
  const config = {
    compilerOptions: {
      strict: true,
      noEmit: true,
      skipLibCheck: false,
      exactOptionalPropertyTypes: exact,
      target: "es2024",
      module,
      moduleResolution: resolution,
      allowImportingTsExtensions: true,
      types: ["node"],
      ...(lib ? { lib } : {}),
    },
    files,
  };
  const path = `tsconfig.${version}.${resolution}.${lib ? "plain" : "dom"}.json`;
  writeFileSync(path, JSON.stringify(config));
  const compiler = `node_modules/typescript-${version}/lib/tsc.js`;
  return spawnSync("node", [compiler, "-p", path], { encoding: "utf8" });
}

for (const version of ["6", "7"]) {
  for (const resolution of ["bundler", "nodenext"]) {
    test(`types: TypeScript ${version} (${resolution}) checks programs, documents and examples, libraries too`, () => {
      assert.ok(inDocuments.length >= 6);
      const files = ["user.ts", "user_gpu.ts", ...inDocuments, ...examples];
      const { status, stdout } = compile(version, { resolution, files });
      assert.equal(status, 0, stdout);
    });
  }
  test(`types: TypeScript ${version} checks a program without the types of pages, by exact optional properties`, () => {
    const { status, stdout } = compile(version, {
      resolution: "nodenext",
      files: ["user.ts"],
      lib: ["es2024"],
      exact: true,
    });
    assert.equal(status, 0, stdout);
  });
}

test("types: attw finds no fault in any door", async () => {
  const tarball = createPackageFromTarballData(new Uint8Array(readFileSync(process.env.TARBALL)));
  const { problems, entrypoints } = await checkPackage(tarball);
  assert.ok(Object.keys(entrypoints).length >= 4);
  // The package is for import alone: require() of it needs Node 22.
  const faults = problems.filter(({ kind }) => kind !== "CJSResolvesToESM" && kind !== "NoResolution");
  assert.deepEqual(faults, []);
  const unresolved = problems.filter(({ kind }) => kind === "NoResolution").map((
    { entrypoint, resolutionKind },
  ) => `${entrypoint} ${resolutionKind}`);
  // The oldest resolution does not read exports; the WASM file has no types.
  assert.deepEqual(unresolved.filter((one) => !/node10$|kernels\.wasm/.test(one)), []);
});

test("types: publint finds no fault in the package", async () => {
  const { messages } = await publint({ pkgDir: "node_modules/fourierft", strict: true });
  assert.deepEqual(messages, []);
});
