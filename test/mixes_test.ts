/**
 * Batches of many methods at random: every row's tokens are those that it has alone, which are float64's.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { isSum } from "../src/adapters/alone.ts";
import type { AdapterTerm } from "../src/adapters/registry.ts";
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

/** The log-probabilities of a prompt's tokens but the first. */
async function scored(
  { engine }: OpenModel,
  { adapter, which }: {
    readonly adapter: string | readonly AdapterTerm[] | undefined;
    readonly which: number;
  },
): Promise<number[]> {
  const events = engine.generate({
    ...{ promptTokenIds: goldens.get("base")!.cases[which].prompt, adapter, maxTokens: 1 },
    sampling: { temperature: 0, topP: 1, topK: 0 },
    ...{ promptLogprobs: true, logprobs: 1 },
  });
  let found: number[] = [];
  for await (const event of events) {
    if (event.kind === "prompt") found = event.logprobs.slice(1).map((one) => one!.logprob);
  }
  return found;
}

test("engine on cpu: 64 rows of adapters and of scaled sums of 20 methods have the numbers that each has alone", async () => {
  const opened = await open(cpuDevice(), 64), single = await open(cpuDevice(), 1);
  const methods = await adaptersByMethod(single), all = [...methods.values()].flat();
  const adding: string[] = [];
  for (const name of all) {
    const { method, replacements, modules } = await single.registry.load(name);
    const hasOwn = replacements.size > 0 || [...modules.values()].some(({ bias }) => bias);
    if (isSum(method) && !hasOwn) adding.push(name);
  }
  const term = fc.record({
    id: fc.constantFrom(...adding),
    scale: fc.oneof(fc.constantFrom(1, -1, 0), fc.float({ min: -1.5, max: 1.5, noNaN: true })),
  });
  const adapter = fc.oneof(
    fc.constantFrom(...all, undefined),
    fc.array(term, { minLength: 1, maxLength: 4 }),
  );
  const row = fc.record({ adapter, which: fc.nat(2) });
  // Every method has a row, and every one that adds is in a sum.
  const fixed = [...methods.values()].map(([first]) => ({ adapter: first, which: 0 }));
  const rest = 64 - fixed.length;
  await fc.assert(
    fc.asyncProperty(fc.array(row, { minLength: rest, maxLength: rest }), async (more) => {
      const rows = [...fixed, ...more];
      const together = await Promise.all(rows.map((one) => scored(opened, one)));
      for (const [i, one] of rows.entries()) {
        const alone = await scored(single, one);
        assert.equal(together[i].length, alone.length);
        const off = Math.max(...alone.map((value, at) => Math.abs(value - together[i][at])));
        assert.ok(off < 1e-4, `row ${i}, ${JSON.stringify(one)}: ${off}`);
      }
    }),
    { numRuns: 4 },
  );
});
