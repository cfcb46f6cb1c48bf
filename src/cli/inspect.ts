/**
 * `fourierft inspect`: what an adapter folder holds, in words and pictures.
 *
 * @module
 */
import { join } from "node:path";
import { encode } from "fast-png";
import { type AdaptedLinear, deltaOf } from "../adapters/apply.ts";
import type { AdapterModule, LinearShape } from "../adapters/method.ts";
import { loadAdapter } from "../adapters/peft.ts";
import type { Replacement, Replacements } from "../adapters/replacements.ts";
import { elements } from "../tensor.ts";
import { cpuDevice } from "../device/cpu.ts";
import { NotFoundError } from "../errors.ts";
import { UsageError } from "./arguments.ts";
import { makeFolder, writeNamedFile } from "../runtime/output.ts";
import { defineCommand } from "./command.ts";
import { openNamedFolder } from "./folder.ts";
import { baseOfModule } from "./base.ts";
import { log } from "./open.ts";
import { deltaPicture, type Picture, spectrumPicture } from "./pictures.ts";
import { modelShapes, readOptions, shapeArgs, shapeInModel, shapeOfModule } from "./shape.ts";

const device = cpuDevice();

/** Modules whose names differ only in the layer, told as one line; with their shapes, where a model says them. */
function grouped(
  modules: ReadonlyMap<string, AdapterModule>,
  shapes: ReadonlyMap<string, LinearShape> | undefined,
): Map<string, number> {
  const groups = new Map<string, number>();
  for (const [path, module] of modules) {
    const shape = shapes && shapeInModel(shapes, { path, module });
    const name = path.replace(/\.\d+\./g, ".*.");
    const key = `${name}${shape ? ` (${shape.out}, ${shape.in})` : ""}: ${module.summary}`;
    groups.set(key, (groups.get(key) ?? 0) + 1);
  }
  return groups;
}

/** Trained numbers. */
function numbersIn(one: Replacement): number {
  if (one.kind === "whole") return elements(one.data.shape);
  return one.kind === "rows" ? one.values.length : one.a.length + one.b.length;
}

/** The base model's parameters that an adapter has its own of; those whose names differ only in the layer as one line. */
function replaced(replacements: Replacements): Map<string, number> {
  const groups = new Map<string, number>();
  for (const [name, one] of replacements) {
    const what = one.kind === "whole"
      ? `(${one.data.shape.join(", ")})`
      : one.kind === "rows"
      ? `${one.ids.length} rows`
      : `factors, r = ${one.rank}, scale ${one.scale}`;
    const line = `${name.replace(/\.\d+\./g, ".*.")}: ${what}`;
    groups.set(line, (groups.get(line) ?? 0) + 1);
  }
  return groups;
}

/** A module to draw, and its linear's shape. */
interface Drawn {
  readonly path: string;
  readonly module: AdapterModule;
  readonly shape: LinearShape;
}

/** The module that the arguments ask to draw; none without a folder to draw to. */
async function drawnModule(
  modules: ReadonlyMap<string, AdapterModule>,
  args: { readonly module?: string; readonly shape?: string; readonly model?: string; readonly out?: string },
): Promise<Drawn | undefined> {
  if (args.out === undefined) {
    const unused = (["module", "shape"] as const).find((name) => args[name] !== undefined);
    if (unused) throw new UsageError(`Cannot use --${unused} without --out: it says what is drawn`);
    return undefined;
  }
  const path = args.module ?? [...modules.keys()][0];
  if (path === undefined) throw new NotFoundError("Cannot draw a module: the adapter adapts no linear");
  const module = modules.get(path);
  if (!module) throw new NotFoundError(`Cannot draw module "${path}": the adapter has no such module`);
  return { path, module, shape: await shapeOfModule({ path, module }, args) };
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
    ...shapeArgs,
    out: { type: "string", description: "Folder for spectrum.png and delta.png", valueHint: "DIR" },
  },
  examples: [
    {
      does: "Tell what an adapter holds",
      line: "inspect examples/demo/adapters/fourierft-kjv",
    },
    {
      does: "Draw a module, its shape from the model",
      line: "inspect examples/demo/adapters/fourierft-kjv --model examples/demo/base --out pictures",
    },
  ],
  async run({ args }) {
    const adapter = await loadAdapter(await openNamedFolder(args.adapter), await readOptions(args.model));
    const { method, modules, replacements, sizeBytes, digest } = adapter;
    // All is checked before the first line is written.
    const groups = grouped(modules, args.model === undefined ? undefined : await modelShapes(args.model));
    const drawn = await drawnModule(modules, args);
    const parameters = [...modules.values()].reduce((sum, module) => sum + module.parameters, 0) +
      [...replacements.values()].reduce((sum, one) => sum + numbersIn(one), 0);
    console.log(`peft_type   ${method.peftType}`);
    console.log(`parameters  ${parameters}`);
    console.log(`bytes       ${sizeBytes}`);
    console.log(`sha256      ${digest}`);
    console.log(`modules     ${modules.size}`);
    for (const [line, count] of groups) console.log(`  ${String(count).padStart(4)}  ${line}`);
    if (replacements.size > 0) console.log(`replaced    ${replacements.size}`);
    for (const [line, count] of replaced(replacements)) {
      console.log(`  ${String(count).padStart(4)}  ${line}`);
    }
    if (drawn && args.out !== undefined) {
      const base = await baseOfModule(device, { method, ...drawn }, args.model);
      await drawTo(args.out, { method, ...drawn, base });
    }
  },
});

async function drawTo(out: string, drawn: Drawn & Pick<AdaptedLinear, "method" | "base">): Promise<void> {
  await makeFolder(out);
  for (const [name, picture] of Object.entries(await draw(drawn))) {
    const file = join(out, name);
    await writeNamedFile(file, encode({ ...picture, channels: 3 }));
    log(`${file}: ${drawn.path}, ${picture.width} x ${picture.height} pixels`);
  }
}

async function draw(linear: AdaptedLinear): Promise<Record<string, Picture>> {
  const { module, shape } = linear;
  const delta = await deltaOf(device, linear);
  const pictures: Record<string, Picture> = { "delta.png": deltaPicture(delta.data as Float32Array, shape) };
  const spectrum = module.spectrum?.(shape);
  if (spectrum) pictures["spectrum.png"] = spectrumPicture(spectrum, shape);
  return pictures;
}
