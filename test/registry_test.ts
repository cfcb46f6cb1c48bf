/**
 * The registry under everything that may happen between two of its looks, and against a simple model.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { normals } from "../kernels/kernel.ts";
import {
  AdapterRegistry,
  type AdapterStore,
  cpuDevice,
  type Lease,
  MissingFileError,
  NotFoundError,
  OverloadedError,
  type StoredAdapter,
  tensor,
} from "../mod.ts";
import { bytesSource, fromTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { randomSource } from "./kernel_contract.ts";
import { untilEqual } from "./until.ts";

const linears = ["a", "b", "c"].map((path) => ({ path, shape: { out: 6, in: 4 } }));

/** What an adapter's files hold: its numbers come of `seed`, and which linears it adapts. */
interface Content {
  readonly seed: number;
  readonly adapts: readonly boolean[];
}

const config = JSON.stringify({ peft_type: "FOURIERFT", n_frequency: 5, random_loc_seed: 3, scaling: 9 });

function weightsOf({ seed, adapts }: Content): Uint8Array {
  const adapted = linears.filter((_, i) => adapts[i]);
  return writeSafetensors(adapted.map(({ path }, i) =>
    fromTensor(
      `base_model.model.${path}.fourierft_spectrum`,
      tensor(normals(5, randomSource(100 * seed + i + 1))),
    )
  ));
}

interface Versioned {
  readonly content: Content;
  readonly version: number;
}

/** Files as they are at each read; `before` may hold a read or a look up. */
class FakeStore implements AdapterStore {
  readonly files = new Map<string, Versioned>();
  readonly opened: string[] = [];
  /** Called at each step; what it gives is waited for. A look has seen what it tells once it is `looked`. */
  before: (what: "look" | "looked" | "config" | "weights", id: string) => Promise<void> | undefined = () =>
    undefined;
  lists = 0;
  #versions = 0;

  put(id: string, content: Content): void {
    this.files.set(id, { content, version: ++this.#versions });
  }

  list(): Promise<readonly string[]> {
    this.lists++;
    return Promise.resolve([...this.files.keys()]);
  }

  async open(id: string): Promise<StoredAdapter | undefined> {
    await this.before("look", id);
    const found = this.files.get(id);
    await this.before("looked", id);
    if (!found) return undefined;
    const now = (): Versioned => {
      const file = this.files.get(id);
      if (!file) throw new MissingFileError("Cannot open file: it is gone");
      return file;
    };
    return {
      folder: {
        open: async () => {
          await this.before("weights", id);
          this.opened.push(id);
          return bytesSource(weightsOf(now().content));
        },
        readText: async () => {
          await this.before("config", id);
          now();
          return config;
        },
        exists: (name) => Promise.resolve(this.files.has(id) && !name.endsWith(".bin")),
      },
      version: `${found.version}`,
      modifiedUnixSeconds: 1,
    };
  }
}

function opened(capacity = 2): { store: FakeStore; registry: AdapterRegistry; lines: string[] } {
  const store = new FakeStore(), lines: string[] = [];
  const log = (line: string): void => void lines.push(line);
  return { store, lines, registry: new AdapterRegistry(cpuDevice(), store, { linears, capacity, log }) };
}

const all = [true, true, true];

/** A promise, and what settles it. */
function gate(): { readonly passed: Promise<void>; readonly open: () => void } {
  let open = (): void => {};
  return { passed: new Promise<void>((resolve) => open = resolve), open: () => open() };
}

const device = cpuDevice();

/** What a bank of `device` adds to each linear for a slot. */
async function added({ bank, slot }: Pick<Lease, "bank" | "slot">): Promise<number[][]> {
  return await Promise.all(linears.map(async ({ shape }, first) => {
    const x = device.upload(tensor(Float32Array.of(1, -2, 3, 0.5)));
    const y = device.upload(tensor(new Float32Array(shape.out)));
    const slots = device.upload(tensor(Uint32Array.of(slot)));
    device.run(await device.prepare([bank.beside({ first, count: 1 }, { x, y, slots, rows: 1 })]));
    return [...await device.read(y)];
  }));
}

/** What a registry that has seen nothing else adds for these files. */
async function alone(content: Content): Promise<number[][]> {
  const store = new FakeStore();
  store.put("x", content);
  return await added(await new AdapterRegistry(device, store, { linears, capacity: 1 }).acquire("x"));
}

test("AdapterRegistry.acquire gives up at once when its signal aborts, holds nothing, and others get the adapter", async () => {
  for (const where of ["look", "looked", "config", "weights"] as const) {
    const { store, registry } = opened(1);
    store.put("a", { seed: 1, adapts: all });
    store.put("b", { seed: 2, adapts: all });
    const { passed, open } = gate();
    store.before = (what, id) => what === where && id === "a" ? passed : undefined;
    const abort = new AbortController();
    const left = registry.acquire("a", { signal: abort.signal });
    const stays = registry.acquire("a");
    abort.abort(new Error("left"));
    await assert.rejects(left, { message: "left" });
    await assert.rejects(registry.acquire("a", { signal: abort.signal }), { message: "left" });
    open();
    (await stays).release();
    assert.deepEqual(store.opened, ["a"], where);
    (await registry.acquire("b")).release();
  }
});

test("AdapterRegistry keeps what the later look saw when looks end in another order than they began", async () => {
  const { store, registry } = opened();
  store.put("a", { seed: 1, adapts: all });
  const { passed, open } = gate();
  let looks = 0;
  store.before = (what) => what === "looked" && looks++ === 0 ? passed : undefined;
  const early = registry.load("a");
  store.put("a", { seed: 2, adapts: all });
  const late = await registry.load("a");
  open();
  assert.equal((await early).digest, late.digest);
  assert.equal((await registry.load("a")).digest, late.digest);
  assert.equal((await registry.card("a")).digest, late.digest);
});

test("AdapterRegistry does not serve an adapter that was taken away while it was read", async () => {
  const { store, registry } = opened();
  store.put("a", { seed: 1, adapts: all });
  store.before = (what) => {
    // The last look, after all was read.
    if (what === "look" && store.opened.length > 0) store.files.delete("a");
    return undefined;
  };
  await assert.rejects(registry.acquire("a"), NotFoundError);
  await assert.rejects(registry.acquire("a"), NotFoundError);
});

test("AdapterRegistry reads replaced files, not a mixture, when they change between any two of its steps", async () => {
  // Look, looked, config, weights, look again.
  for (const at of [0, 1, 2, 3, 4]) {
    const { store, registry } = opened();
    store.put("a", { seed: 1, adapts: all });
    let steps = 0;
    store.before = () => {
      if (steps++ === at) store.put("a", { seed: 2, adapts: [true, false, false] });
      return undefined;
    };
    const lease = await registry.acquire("a");
    assert.deepEqual(await added(lease), await alone({ seed: 2, adapts: [true, false, false] }), `${at}`);
  }
});

test("AdapterRegistry knows files that are read again by what they hold now, though no version says so", async () => {
  const { WeakRef } = globalThis;
  // As after a collection: nothing is kept on the host.
  Object.assign(globalThis, {
    WeakRef: class {
      deref(): void {}
    },
  });
  try {
    const { store, registry } = opened(1);
    store.put("a", { seed: 1, adapts: all });
    store.put("b", { seed: 3, adapts: all });
    const old = (await registry.load("a")).digest;
    (await registry.acquire("a")).release();
    (await registry.acquire("b")).release();
    store.files.set("a", { ...store.files.get("a")!, content: { seed: 2, adapts: all } });
    const lease = await registry.acquire("a");
    assert.deepEqual(await added(lease), await alone({ seed: 2, adapts: all }));
    const card = await registry.card("a");
    assert.notEqual(card.digest, old);
    assert.equal(card.resident, true);
  } finally {
    Object.assign(globalThis, { WeakRef });
  }
});

test("AdapterRegistry gives a freed slot to an adapter of fewer linears, which adds nothing to the others", async () => {
  const { store, registry } = opened(1);
  store.put("a", { seed: 1, adapts: all });
  store.put("b", { seed: 2, adapts: [false, true, false] });
  (await registry.acquire("a")).release();
  const lease = await registry.acquire("b");
  const [first, second, third] = await added(lease);
  assert.deepEqual([first, third], [Array(6).fill(0), Array(6).fill(0)]);
  assert.ok(second.some((value) => value !== 0));
});

test("AdapterRegistry: a lease that is released twice gives back one hold, not another's", async () => {
  const { store, registry } = opened(1);
  store.put("a", { seed: 1, adapts: all });
  store.put("b", { seed: 2, adapts: all });
  const one = await registry.acquire("a"), other = await registry.acquire("a");
  one.release();
  one.release();
  await assert.rejects(registry.acquire("b"), OverloadedError);
  other.release();
  (await registry.acquire("b")).release();
});

test("AdapterRegistry.list reads headers of new adapters alone, each once, and broken ones once", async () => {
  const { store, registry, lines } = opened();
  for (let i = 0; i < 50; i++) store.put(`a${i}`, { seed: i, adapts: all });
  store.put("broken", { seed: 0, adapts: [false, false, false] });
  const bodies: number[] = [];
  const { open } = store;
  store.open = async (id) => {
    const found = await open.call(store, id);
    return found && {
      ...found,
      folder: {
        ...found.folder,
        open: async (name) => {
          const source = await found.folder.open(name);
          return { ...source, read: (at, count) => (bodies.push(at + count), source.read(at, count)) };
        },
      },
    };
  };
  const lists = await Promise.all(Array.from({ length: 20 }, () => registry.list()));
  assert.equal(store.lists, 1);
  for (let i = 0; i < 3; i++) lists.push(await registry.list());
  for (const list of lists) {
    assert.equal(list.length, 50);
    assert.ok(list.every(({ digest, resident }) => digest === undefined && !resident));
  }
  assert.equal(store.opened.length, 51);
  const { length } = weightsOf({ seed: 0, adapts: all });
  assert.ok(bodies.every((end) => end < length), "a body was read");
  assert.deepEqual(lines, [
    'adapter "broken" is left out: Cannot use adapter_model.safetensors: it holds no tensor',
  ]);
  await assert.rejects(registry.card("broken"), /it holds no tensor/);
  assert.equal(store.opened.length, 51);
  store.put("broken", { seed: 9, adapts: all });
  await untilEqual(async () => (await registry.list()).length, 51);
  const { sizeBytes } = await registry.card("a1");
  assert.equal((await registry.load("a1")).sizeBytes, sizeBytes);
});

test("AdapterRegistry.list leaves out an adapter whose config asks for what is not supported, with the reason", async () => {
  const { store, registry, lines } = opened();
  store.put("a", { seed: 1, adapts: all });
  const { open } = store;
  store.open = async (id) => {
    const found = await open.call(store, id);
    const readText = () => Promise.resolve(config.replace("{", '{"use_dora":true,'));
    return found && { ...found, folder: { ...found.folder, readText } };
  };
  assert.deepEqual(await registry.list(), []);
  assert.equal(lines.length, 1);
  assert.match(lines[0], /"a" is left out: Cannot read adapter_config\.json field "use_dora" = true/);
});

type Action =
  | { readonly kind: "acquire" | "release"; readonly id: string }
  | { readonly kind: "put"; readonly id: string; readonly content: Content }
  | { readonly kind: "remove"; readonly id: string };

const id = fc.constantFrom("p", "q", "r", "s");
const content = fc.record({
  seed: fc.integer({ min: 1, max: 4 }),
  adapts: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()).filter((flags) => flags.some(Boolean)),
});
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom("acquire", "release"), id }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("put"), id, content }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("remove"), id }) },
) as fc.Arbitrary<Action>;

interface Held {
  readonly lease: Lease;
  readonly content: Content;
}

const sameFiles = (a: Content, b: Content): boolean => JSON.stringify(a) === JSON.stringify(b);

/** What an acquire must do while others are held: it fails where two other adapters are held, and else succeeds. */
async function acquires(
  registry: AdapterRegistry,
  { id, stored, held }: { id: string; stored: Content | undefined; held: Held[] },
): Promise<void> {
  const others = held.filter((one, i) => held.findIndex((two) => sameFiles(one.content, two.content)) === i);
  if (!stored) return await assert.rejects(registry.acquire(id), NotFoundError);
  const isHeld = others.some((one) => sameFiles(one.content, stored));
  if (!isHeld && others.length === 2) return await assert.rejects(registry.acquire(id), OverloadedError);
  held.push({ lease: await registry.acquire(id), content: stored });
}

test("AdapterRegistry holds what a simple model says, whoever acquires, releases, replaces and removes", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 40 }), async (actions) => {
      const { store, registry } = opened(2);
      const held: Held[] = [], gone: Held[] = [];
      for (const one of actions) {
        if (one.kind === "put") store.put(one.id, one.content);
        else if (one.kind === "remove") store.files.delete(one.id);
        else if (one.kind === "acquire") {
          await acquires(registry, { id: one.id, stored: store.files.get(one.id)?.content, held });
        } else {
          const at = held.findIndex(({ lease }) => lease.id === one.id);
          if (at < 0) { for (const { lease } of gone) lease.release(); }
          else {
            held[at].lease.release();
            gone.push(...held.splice(at, 1));
          }
        }
        assert.ok(registry.banks[0].size <= 2);
        for (const { lease, content } of held) assert.deepEqual(await added(lease), await alone(content));
      }
    }),
    { numRuns: 30 },
  );
});
