/**
 * Makes the tables in docs/methods.md, between their markers, from the methods' own values and from PEFT's adapters of them.
 *
 *     deno task docs:methods
 *
 * The prose above the markers is by hand. A test compares the file with what this makes.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { baseOptions } from "../src/adapters/base_options.ts";
import { phasesOf } from "../src/adapters/bank.ts";
import type { Method, MethodFacts } from "../src/adapters/method.ts";
import { methods } from "../src/adapters/methods/mod.ts";
import { loadAdapter, type LoadedAdapter } from "../src/adapters/peft.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { readyFor } from "../src/engine/base.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { loadModel } from "../src/models/model.ts";
import { openFolder } from "../src/runtime/file.ts";
import { escaped, withMade } from "./made.ts";
import { methodFixture } from "../test/method_fixtures.ts";

const folder = dirname(fileURLToPath(import.meta.url));
const file = join(folder, "methods.md");
const adapters = join(folder, "../test/fixtures/methods");

/** The linear of the base model that examples are of. */
const example = "model.layers.0.self_attn.q_proj";

/** An adapter made by PEFT or by a method's formula, and what its example linear takes. */
interface Example {
  readonly method: Method;
  readonly summary: string;
  readonly trained: number;
  /** On the device: its own, and what modules of an equal key share. */
  readonly bytes: number;
  readonly shared: number;
  /** Whether it is served as LoRA's factors. */
  readonly hasFactors: boolean;
}

function exampleOf({ method, modules }: LoadedAdapter): Example | undefined {
  const module = modules.get(example);
  if (!module) return undefined;
  const { values, table } = module.pack({ out: 64, in: 64 });
  return {
    method,
    summary: module.summary,
    trained: module.parameters,
    bytes: values.byteLength,
    shared: table?.words().byteLength ?? 0,
    hasFactors: module.factors !== undefined,
  };
}

/** An example of every method that the fixtures have: of the first adapter, by name. */
async function examples(): Promise<Map<Method, Example>> {
  const device = cpuDevice(), base = await openFolder(join(adapters, "base"));
  const config = await readConfig(base), source = await openWeights(base, config);
  const model = await loadModel(device, { config, source });
  await source.close();
  const found = new Map<Method, Example>();
  for (const name of readdirSync(adapters).sort()) {
    if (!existsSync(join(adapters, name, "adapter_config.json"))) continue;
    const adapter = await loadAdapter(await methodFixture(name), baseOptions(model.linears));
    if (found.has(adapter.method)) continue;
    const one = exampleOf(await readyFor(device, model, adapter));
    if (one) found.set(adapter.method, one);
  }
  return found;
}

/** What a method's table needs. */
function factsOf({ name, facts }: Method): MethodFacts {
  if (facts) return facts;
  throw new Error(`Cannot make docs/methods.md: the method ${name} has no facts`);
}

const row = (cells: readonly string[]): string => `| ${cells.map(escaped).join(" | ")} |`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");

/** How adapters of a method are added up, and whether a file holds the sum. */
function sumsOf({ before, after, sum, takesScale, combined }: Method, hasFactors: boolean): [string, string] {
  if (before || after) return ["no", "no"];
  if (!sum && !takesScale) return ["at scale 1", "no"];
  return [sum ? "one for all" : "one each", combined ? "its own" : hasFactors ? "LoRA" : "no"];
}

/** Methods of linears: those that have none replace parameters alone, which docs/formats.md tells of. */
export const linearMethods: readonly Method[] = methods.filter((method) => phasesOf(method).length > 0);

/** The names of methods that cost as much as W itself. */
const denseOf = (listed: readonly Method[]): string =>
  new Intl.ListFormat("en").format(listed.filter(({ facts }) => facts?.ofBase).map(({ name }) => name));

/** The tables: each method's formula and its cost. */
export async function methodTables(listed: readonly Method[] = linearMethods): Promise<string> {
  const found = await examples();
  const told = listed.map((method) => {
    const facts = factsOf(method), one = found.get(method);
    if (one) return { method, one, facts };
    throw new Error(`Cannot make docs/methods.md: no adapter of ${method.name} in test/fixtures/methods`);
  });
  return [
    `${listed.length} methods.`,
    "### Files and formulas",
    table(
      ["method", "`peft_type`", "tensors of a linear", "formula", "refused, by name"],
      told.map(({ method: { name, peftType }, facts: { tensors, formula, refused = "" } }) => [
        name,
        `\`${peftType}\``,
        tensors.map((text) => text.replace(/\w*_\w+(?:\.weight)?/g, "`$&`")).join(", "),
        formula,
        refused,
      ]),
    ),
    "### Costs",
    `A row takes as many multiplications as W itself, or more, with ${denseOf(listed)}.`,
    table(
      [
        "method",
        "acts",
        "step of a sum",
        "file of a sum",
        "trained here",
        "multiplications of a row",
        "of W's own",
        "numbers on the device",
        "example",
        "trained",
        "bytes there",
      ],
      told.map(({ method, one, facts: { cost, ofBase = "less", numbers } }) => [
        method.name,
        phasesOf(method).join(", ") + (method.changesBias ? "; on the bias, too" : ""),
        ...sumsOf(method, one.hasFactors),
        method.training ? "yes" : "no",
        cost,
        ofBase,
        numbers,
        one.summary,
        `${one.trained}`,
        `${one.bytes}${one.shared > 0 ? `, ${one.shared} shared` : ""}`,
      ]),
    ),
  ].join("\n\n");
}

/**
 * A document with the tables between its markers made anew.
 *
 * @throws Error when a marker is missing, or a method has no facts or no adapter among the fixtures.
 */
export async function withMethods(document: string): Promise<string> {
  return withMade(document, { name: "docs/methods.md", task: "docs:methods", made: await methodTables() });
}

/** docs/methods.md as it is. */
export function readMethods(): string {
  return readFileSync(file, "utf8");
}

if (import.meta.main) writeFileSync(file, await withMethods(readMethods()));
