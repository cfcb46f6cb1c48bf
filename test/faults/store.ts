/**
 * Faults of a store, of adapters in use, and of the clock, under requests.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { contents, nameOf, prompts, type Tally, withWorld, type World } from "./world.ts";

/** Requests of a run, and of these at once. */
const requests = 48, atOnce = 6;

const own = (i: number): readonly number[] => [i % contents.length];

/** Asks names at random while a fault goes on; those that are refused are asked again when `mend` has ended the fault. */
async function under(world: World, mend: () => void): Promise<void> {
  const again: [number, number][] = [];
  let next = 0;
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (next++ < requests) {
      const i = Math.floor(8 * world.random()), prompt = Math.floor(prompts.length * world.random());
      if (!await world.ask(nameOf(i), prompt, own(i))) again.push([i, prompt]);
    }
  }));
  mend();
  for (const [i, prompt] of again) {
    if (!await world.ask(nameOf(i), prompt, own(i))) throw new Error(`${nameOf(i)} is lost: refused again`);
    world.tally.refused++;
  }
  await world.askAll(own);
}

/** Calls of the store fail, three of ten. */
export async function storeFails(seed: number): Promise<Tally> {
  return await withWorld({ seed }, async (world) => {
    world.storage.before = () => {
      if (world.random() < 0.3) throw new Error("the store is away");
    };
    await under(world, () => world.storage.before = () => {});
  });
}

/** Calls of the store take their time, one of twenty more than the server waits. */
export async function storeIsSlow(seed: number): Promise<Tally> {
  return await withWorld({ seed }, async (world) => {
    world.storage.before = async () => await delay(world.random() < 0.05 ? 400 : 10 * world.random());
    await under(world, () => world.storage.before = () => {});
  });
}

/** Reads of objects end early, four of ten: one in six twice in a row. */
export async function objectsAreCut(seed: number): Promise<Tally> {
  return await withWorld({ seed }, async (world) => {
    world.storage.garble = (bytes) =>
      world.random() < 0.4 ? bytes.slice(0, Math.floor(bytes.length * world.random())) : bytes;
    await under(world, () => world.storage.garble = (bytes) => bytes);
  });
}

/** A bit of an object is another one, in four of ten reads. */
export async function objectsAreChanged(seed: number): Promise<Tally> {
  return await withWorld({ seed }, async (world) => {
    world.storage.garble = (bytes) => {
      if (world.random() >= 0.4) return bytes;
      const changed = bytes.slice();
      changed[Math.floor(bytes.length * world.random())] ^= 1 << Math.floor(8 * world.random());
      return changed;
    };
    await under(world, () => world.storage.garble = (bytes) => bytes);
  });
}

/** Adapters are replaced while they are used: each text is one version's, and at the end the last's. */
export async function adaptersAreReplaced(seed: number): Promise<Tally> {
  return await withWorld({ seed }, async (world) => {
    const last = new Map<number, number>();
    let over = false;
    const all = contents.map((_, i) => i);
    const replacing = async (): Promise<void> => {
      for (let swap = 0; swap < 24; swap++) {
        const i = swap % 8, content = Math.floor(contents.length * world.random());
        await world.store.publish(nameOf(i), world.adapters[content]);
        last.set(i, content);
        await delay(5 * world.random());
      }
      over = true;
    };
    const asking = async (): Promise<void> => {
      while (!over) {
        const i = Math.floor(8 * world.random()), prompt = Math.floor(prompts.length * world.random());
        if (!await world.ask(nameOf(i), prompt, all)) {
          throw new Error(`${nameOf(i)} is refused while replaced`);
        }
      }
    };
    await Promise.all([replacing(), ...Array.from({ length: atOnce }, asking)]);
    await world.askAll((i) => [last.get(i)!]);
  });
}

/** The wall's clock goes back and forth by up to a year, while adapters are asked for and published. */
export async function clockJumps(seed: number): Promise<Tally> {
  const { now } = Date;
  try {
    return await withWorld({ seed }, async (world) => {
      let offset = 0;
      Object.assign(Date, { now: () => now() + offset });
      world.storage.before = () => void (offset = 3.2e10 * (2 * world.random() - 1));
      const content = Math.floor(contents.length * world.random());
      await under(world, () => {});
      await world.store.publish(nameOf(0), world.adapters[content]);
      await world.askAll((i) => i === 0 ? [content] : own(i));
    });
  } finally {
    Object.assign(Date, { now });
  }
}
