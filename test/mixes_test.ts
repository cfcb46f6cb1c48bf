/**
 * Batches of many methods at random: every row's tokens are those that it has alone, which are float64's.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { type OpenModel, openModel } from "../src/open.ts";
import { devicesForLongTests } from "./devices.ts";
import { methodFixture, methodStore } from "./method_fixtures.ts";

const path = (name: string): string => fileURLToPath(new URL(`fixtures/methods/${name}`, import.meta.url));

interface Golden {
  readonly cases: readonly { readonly prompt: readonly number[]; readonly greedy: readonly number[] }[];
}

const goldens = new Map(
  readdirSync(path("golden")).filter((file) => file.endsWith(".json")).sort().map((file) => {
    const name = file.slice(0, -".json".length);
    return [name, JSON.parse(readFileSync(path(`golden/${file}`), "utf8")) as Golden];
  }),
);

/** Adapters of each method, by the method's name. */
async function adaptersByMethod({ registry }: OpenModel): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const name of [...goldens.keys()].filter((one) => existsSync(path(`${one}/adapter_config.json`)))) {
    const { method } = await registry.load(name);
    found.set(method.name, [...found.get(method.name) ?? [], name]);
  }
  return found;
}

/** A row: an adapter or none, a prompt, and how many of its greedy tokens the prompt has already. */
interface Row {
  readonly adapter: string | undefined;
  readonly which: number;
  readonly known: number;
}

const tokens = 3;

/** The prompt of a row, and the tokens that follow; each is the greatest by 0.01 or more. */
function golden({ adapter = "base", which, known }: Row) {
  const { prompt, greedy } = goldens.get(adapter)!.cases[which];
  return { prompt: [...prompt, ...greedy.slice(0, known)], next: greedy.slice(known, known + tokens) };
}

async function generated({ engine }: OpenModel, row: Row): Promise<number[]> {
  const ids: number[] = [];
  const events = engine.generate({
    promptTokenIds: golden(row).prompt,
    adapter: row.adapter,
    maxTokens: tokens,
    sampling: { temperature: 0, topP: 1, topK: 0 },
    ignoreEos: true,
  });
  for await (const event of events) if (event.kind === "token") ids.push(event.tokenId);
  return ids;
}

/** Rows of so many methods; each method has one adapter of its own in a mix, and some rows have none. */
function mixes(
  methods: ReadonlyMap<string, readonly string[]>,
  { rows, of, cases }: { readonly rows: number; readonly of: number; readonly cases: number },
): fc.Arbitrary<Row[]> {
  const adapters = fc.tuple(...[...methods.values()].map((names) => fc.constantFrom(...names)));
  return adapters.chain((all) => fc.shuffledSubarray(all, { minLength: of, maxLength: of })).chain((chosen) =>
    fc.array(
      fc.record({
        adapter: fc.constantFrom(...chosen, undefined),
        which: fc.nat(cases - 1),
        known: fc.nat(12 - tokens),
      }),
      { minLength: rows - of, maxLength: rows - of },
      // Every method has a row.
    ).map((more) => [...chosen.map((adapter) => ({ adapter, which: 0, known: 0 })), ...more])
  );
}

async function open(device: Device, maxSequences: number): Promise<OpenModel> {
  return await openModel(device, {
    folder: await methodFixture("base"),
    adapters: await methodStore(),
    engine: { maxSequences },
  });
}

for (const device of await devicesForLongTests()) {
  const isCpu = device.kind === "cpu";
  const size = isCpu ? { rows: 64, of: 20, cases: 3 } : { rows: 12, of: 8, cases: 1 };
  test(`engine on ${device.kind}: ${size.rows} rows of ${size.of} methods in a batch have the tokens that each has alone`, async () => {
    const opened = await open(device, size.rows), alone = new Map<string, number[]>();
    // Alone they run on a CPU: a software GPU would take seconds for each.
    const single = await open(cpuDevice(), 1);
    const methods = await adaptersByMethod(single);
    assert.ok(methods.size >= size.of, `${methods.size} methods`);
    await fc.assert(
      fc.asyncProperty(mixes(methods, size), async (rows) => {
        const together = await Promise.all(rows.map((row) => generated(opened, row)));
        for (const [i, row] of rows.entries()) {
          const key = JSON.stringify(row);
          if (!alone.has(key)) alone.set(key, await generated(single, row));
          assert.deepEqual(together[i], alone.get(key), `row ${i}, ${key}`);
          assert.deepEqual(together[i], golden(row).next, `row ${i}, ${key}: float64`);
        }
      }),
      { numRuns: isCpu ? 8 : 1 },
    );
  });
}
