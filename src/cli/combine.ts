/**
 * `fourierft combine`: the weighted sum of adapters as one PEFT folder.
 *
 * @module
 */
import { stat } from "node:fs/promises";
import { parseArgs } from "node:util";
import { maxScale } from "../adapters/combination.ts";
import { withoutCopies } from "../adapters/copies.ts";
import { loadAdapter } from "../adapters/peft.ts";
import { combineAdapters, type WeightedAdapter } from "../combine.ts";
import { copyFaults } from "../models/copies.ts";
import { fillFolder } from "../runtime/output.ts";
import { UsageError } from "./arguments.ts";
import { defineCommand } from "./command.ts";
import { openNamedFolder } from "./folder.ts";
import { jsonArgs, tell } from "./open.ts";
import { readOptions, shapeArgs } from "./shape.ts";
import { counted } from "./words.ts";

/** A folder, and its weight: the number after the last `=`, or 1. A folder may have `=` in its own name. */
async function weightedFolder(text: string): Promise<{ readonly folder: string; readonly weight: number }> {
  const [, folder, number] = /^(.+)=([^=]*)$/s.exec(text) ?? [], weight = Number(number);
  if (folder === undefined) return { folder: text, weight: 1 };
  if (number.trim() === "" || !Number.isFinite(weight)) {
    if (await stat(text).then(() => true, () => false)) return { folder: text, weight: 1 };
    throw new UsageError(`Cannot read --adapter "${text}": its weight must be a number, it is "${number}"`);
  }
  if (Math.abs(weight) <= maxScale) return { folder, weight };
  throw new UsageError(
    `Cannot read --adapter "${text}": its weight must be from -${maxScale} to ${maxScale}`,
  );
}

/** Every `--adapter`: citty keeps only the last. */
function everyAdapter(rawArgs: readonly string[]): readonly string[] {
  const options = { adapter: { type: "string", multiple: true } } as const;
  return parseArgs({ args: [...rawArgs], options, strict: false }).values.adapter as string[];
}

/** See the module's documentation. */
export const combine = defineCommand({
  meta: {
    name: "combine",
    description: "Write a weighted sum of adapters as one PEFT adapter folder",
  },
  args: {
    adapter: {
      type: "string",
      required: true,
      description: "PEFT adapter folder and its weight, default 1; may be repeated",
      valueHint: "DIR=WEIGHT...",
    },
    out: { type: "string", required: true, description: "New folder to write", valueHint: "DIR" },
    model: shapeArgs.model,
    ...jsonArgs,
  },
  examples: [
    {
      does: "Add seven tenths of an adapter to another",
      line: "combine --adapter law=0.7 --adapter tone --out both",
    },
  ],
  async run({ args, rawArgs }) {
    const given = await Promise.all(everyAdapter(rawArgs).map(weightedFolder));
    const options = await readOptions(args.model);
    const fault = args.model === undefined ? undefined : copyFaults(await openNamedFolder(args.model));
    const adapters: WeightedAdapter[] = [];
    for (const { folder, weight } of given) {
      const adapter = await loadAdapter(await openNamedFolder(folder), options);
      adapters.push({ name: folder, weight, adapter: await withoutCopies(adapter, fault) });
    }
    await fillFolder(args.out, async (out) => {
      const { peftType, modules } = await combineAdapters({ adapters, out, ...options });
      tell("done", `${args.out}: a ${peftType} adapter of ${counted(modules, "module")}`, {
        out: args.out,
        peft_type: peftType,
        modules,
      });
    });
  },
});
