/**
 * `fourierft inspect`: what an adapter folder holds, in words and pictures.
 *
 * @module
 */
import type { AdapterModule, LinearShape } from "../adapters/method.ts";
import { loadAdapter } from "../adapters/peft.ts";
import type { Replacement, Replacements } from "../adapters/replacements.ts";
import { elements } from "../tensor.ts";
import { defineCommand } from "./command.ts";
import { openNamedFolder } from "./folder.ts";
import { drawArgs, drawingOf, drawnRows, nameOf, writeDrawing } from "./inspect_draw.ts";
import { emit, jsonArgs, print, tellsEvents } from "./log.ts";
import { modelShapes, readOptions, shapeInModel } from "./shape.ts";

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

/** See the module's documentation. */
export const inspect = defineCommand({
  meta: {
    name: "inspect",
    description: "Tell what an adapter folder holds; with --out, draw a module: spectrum, dW, norms",
  },
  args: {
    adapter: {
      type: "positional",
      required: true,
      description: "PEFT adapter folder",
      valueHint: "ADAPTER_DIR",
    },
    ...drawArgs,
    ...jsonArgs,
  },
  examples: [
    {
      does: "Tell what an adapter holds",
      line: "inspect examples/demo/adapters/fourierft-kjv",
    },
    {
      does: "Draw a module, its shape from the model",
      line: "inspect examples/demo/adapters/fourierft-kjv --model examples/demo/base --out kjv.png",
    },
    {
      does: "Draw how alike two adapters are",
      line: "inspect examples/demo/adapters/fourierft-kjv --model examples/demo/base " +
        "--beside examples/demo/adapters/fourierft-jargon --picture cosines --out cosines.svg",
    },
  ],
  async run({ args }) {
    const adapter = await loadAdapter(await openNamedFolder(args.adapter), await readOptions(args.model));
    const { method, modules, replacements, sizeBytes, digest } = adapter;
    // All is checked before the first line is written.
    const groups = grouped(modules, args.model === undefined ? undefined : await modelShapes(args.model));
    const drawing = await drawingOf({ ...adapter, name: nameOf(args.adapter) }, args);
    const rows = drawing && await drawnRows(drawing);
    const parameters = [...modules.values()].reduce((sum, module) => sum + module.parameters, 0) +
      [...replacements.values()].reduce((sum, one) => sum + numbersIn(one), 0);
    if (tellsEvents()) {
      emit("adapter", {
        ...{ peft_type: method.peftType, parameters, bytes: sizeBytes, sha256: digest },
        modules: [...modules].map(([path, { parameters, summary }]) => ({ path, parameters, summary })),
        replaced: [...replacements.keys()],
      });
      if (drawing && rows) await writeDrawing(drawing, rows);
      return emit("done", { out: args.out });
    }
    print(`peft_type   ${method.peftType}\n`);
    print(`parameters  ${parameters}\n`);
    print(`bytes       ${sizeBytes}\n`);
    print(`sha256      ${digest}\n`);
    print(`modules     ${modules.size}\n`);
    for (const [line, count] of groups) print(`  ${String(count).padStart(4)}  ${line}\n`);
    if (replacements.size > 0) print(`replaced    ${replacements.size}\n`);
    for (const [line, count] of replaced(replacements)) {
      print(`  ${String(count).padStart(4)}  ${line}\n`);
    }
    if (drawing && rows) await writeDrawing(drawing, rows);
  },
});
