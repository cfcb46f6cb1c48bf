/**
 * `fourierft inspect`: what an adapter folder holds, in words and pictures.
 *
 * @module
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { defineCommand } from "citty";
import { encode } from "fast-png";
import { deltaOf } from "../adapters/apply.ts";
import type { AdapterModule, LinearShape } from "../adapters/method.ts";
import { loadAdapter } from "../adapters/peft.ts";
import { cpuDevice } from "../device/cpu.ts";
import { NotFoundError } from "../errors.ts";
import { openFolder } from "../runtime/file.ts";
import { log, parseShape } from "./open.ts";
import { deltaPicture, type Picture, spectrumPicture } from "./pictures.ts";

/** Modules whose names differ only in the layer, told as one line. */
function grouped(
  modules: ReadonlyMap<string, AdapterModule>,
): Map<string, { count: number; summary: string }> {
  const groups = new Map<string, { count: number; summary: string }>();
  for (const [path, { summary }] of modules) {
    const name = path.replace(/\.\d+\./g, ".*.");
    const key = `${name}: ${summary}`;
    const group = groups.get(key) ?? { count: 0, summary: key };
    group.count++;
    groups.set(key, group);
  }
  return groups;
}

/** See the module's documentation. */
export const inspect = defineCommand({
  meta: {
    name: "inspect",
    description: "Tell what an adapter folder holds; with --out, draw one module's spectrum and dW",
  },
  args: {
    adapter: {
      type: "positional",
      required: true,
      description: "PEFT adapter folder",
      valueHint: "ADAPTER_DIR",
    },
    module: { type: "string", description: "Module to draw; default: the first", valueHint: "PATH" },
    shape: {
      type: "string",
      description: "That module's weight shape, for the pictures",
      valueHint: "OUTxIN",
    },
    out: { type: "string", description: "Folder for spectrum.png and delta.png", valueHint: "DIR" },
  },
  async run({ args }) {
    const adapter = await loadAdapter(await openFolder(args.adapter));
    const { method, modules, sizeBytes, digest } = adapter;
    const parameters = [...modules.values()].reduce((sum, module) => sum + module.parameters, 0);
    console.log(`peft_type   ${method.peftType}`);
    console.log(`parameters  ${parameters}`);
    console.log(`bytes       ${sizeBytes}`);
    console.log(`sha256      ${digest}`);
    console.log(`modules     ${modules.size}`);
    for (const { count, summary } of grouped(modules).values()) {
      console.log(`  ${String(count).padStart(4)}  ${summary}`);
    }
    if (args.out === undefined) return;
    const path = args.module ?? [...modules.keys()][0];
    const module = modules.get(path);
    if (!module) throw new NotFoundError(`Cannot draw module "${path}": the adapter has no such module`);
    if (args.shape === undefined) {
      throw new RangeError(`Cannot draw module "${path}" without its weight's shape: give --shape OUTxIN`);
    }
    const shape = parseShape(args.shape);
    module.check(path, shape);
    await mkdir(args.out, { recursive: true });
    const pictures = await draw({ method, module, shape });
    for (const [name, picture] of Object.entries(pictures)) {
      const file = join(args.out, name);
      await writeFile(file, encode({ ...picture, channels: 3 }));
      log(`${file}: ${path}, ${picture.width} x ${picture.height}`);
    }
  },
});

async function draw(
  { method, module, shape }: {
    method: Parameters<typeof deltaOf>[1]["method"];
    module: AdapterModule;
    shape: LinearShape;
  },
): Promise<Record<string, Picture>> {
  const delta = await deltaOf(cpuDevice(), { method, module, shape });
  const pictures: Record<string, Picture> = { "delta.png": deltaPicture(delta.data as Float32Array, shape) };
  const spectrum = module.spectrum?.(shape);
  if (spectrum) pictures["spectrum.png"] = spectrumPicture(spectrum, shape);
  return pictures;
}
