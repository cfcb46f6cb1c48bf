/**
 * A server of the tiny model in this process, whose store a fault may break, and the texts that are right.
 *
 * @module
 */
import { join } from "node:path";
import type { Hono } from "hono";
import { type AdapterService, cpuDevice, type Device, ObjectStore, openModel } from "../../mod.ts";
import type { Engine } from "../../src/engine/generate.ts";
import { uniforms } from "../../src/engine/random.ts";
import type { ReadableFolder } from "../../src/folder.ts";
import { openFolder } from "../../src/runtime/mod.ts";
import { createApp } from "../../src/server/mod.ts";
import { HandStorage } from "../hand_storage.ts";
import { trainingFixture, withTinyModel } from "../train_process.ts";

/** Folders of adapters in the fixtures of training. */
export const contents = ["fourierft/trained", "fourierft/start", "lora/trained", "lora/start"] as const;
export const prompts = ["w5 w17 w29", "w1", "w9 w9 w30 w2"] as const;
/** New tokens of a request. */
export const tokens = 12;

const names = 8;
export const nameOf = (i: number): string => `name-${i % names}`;

/** What came of some requests. Wrong answers and lost requests are no numbers: they end the run. */
export interface Tally {
  right: number;
  /** Refused by a status that says so, and right when they were asked again. */
  refused: number;
}

/** Where a fault is made, and requests are asked. */
export interface World {
  /** Between 0 and 1, another for each run. */
  readonly random: () => number;
  readonly folder: string;
  readonly adapters: readonly ReadableFolder[];
  readonly storage: HandStorage;
  readonly store: ObjectStore;
  readonly app: Hono;
  readonly tally: Tally;
  /** The right text of an adapter's content, by the content's and the prompt's place. */
  text(content: number, prompt: number): string;
  /** Asks a name, whose adapter is one of some contents: true for a right answer, false where it was refused. */
  ask(name: string, prompt: number, contents: readonly number[]): Promise<boolean>;
  /** Asks each name once more, and those that were refused: now each must be right. */
  askAll(contentsOf: (i: number) => readonly number[]): Promise<void>;
}

/** Statuses of a fault: a broken adapter, a store that is away, a deadline. */
const refusals = [422, 503, 504];

/** A model that is served. */
export interface Opened {
  readonly engine: Engine;
  readonly registry: AdapterService;
}

/** How a world is opened. */
export interface WorldOptions {
  readonly seed: number;
  /** Opens what is served; by default the model on the CPU. */
  readonly open?: (parts: { readonly base: ReadableFolder; readonly store: ObjectStore }) => Promise<Opened>;
}

/** The server's own model, and one on another device. */
export async function openOn(
  device: Device,
  { base, store }: { readonly base: ReadableFolder; readonly store: ObjectStore },
) {
  return await openModel(device, { folder: base, adapters: store });
}

/** Texts of every content and prompt, of a server that nothing disturbs. */
async function goldens(app: Hono): Promise<readonly (readonly string[])[]> {
  return await Promise.all(
    contents.map((_, i) => Promise.all(prompts.map((_, prompt) => textOf(app, `golden-${i}`, prompt)))),
  );
}

async function completion(app: Hono, model: string, prompt: number): Promise<Response> {
  const body = { model, prompt: prompts[prompt], temperature: 0, max_tokens: tokens };
  return await app.request("/v1/completions", { method: "POST", body: JSON.stringify(body) });
}

async function textOf(app: Hono, model: string, prompt: number): Promise<string> {
  const response = await completion(app, model, prompt), text = await response.text();
  if (response.status !== 200) throw new Error(`status ${response.status} for ${model}: ${text}`);
  return JSON.parse(text).choices[0].text;
}

/** Runs `body` in a new world, and gives what came of it. */
export async function withWorld(
  { seed, open }: WorldOptions,
  body: (world: World) => Promise<void>,
): Promise<Tally> {
  const tally: Tally = { right: 0, refused: 0 };
  await withTinyModel(async (folder) => {
    const adapters = await Promise.all(contents.map((one) => openFolder(trainingFixture(one))));
    const base = await openFolder(join(folder, "base"));
    // Records are looked at again at every request, and objects are read whenever an adapter is.
    const storage = new HandStorage();
    const store = new ObjectStore(storage, {
      ...{ ttlSeconds: 1e-9, staleSeconds: 1e-9, timeoutSeconds: 0.2, cacheBytes: 0 },
    });
    for (const [i, adapter] of adapters.entries()) await store.publish(`golden-${i}`, adapter);
    for (let i = 0; i < names; i++) await store.publish(nameOf(i), adapters[i % adapters.length]);
    const device = cpuDevice();
    const appOf = ({ engine, registry }: Opened): Hono =>
      createApp({ model: { id: "base", createdUnixSeconds: 0, engine, tokenizer }, adapters: registry });
    const first = await openOn(device, { base, store }), { tokenizer } = first;
    const right = await goldens(appOf(first));
    // Another, that has read no adapter yet.
    const app = appOf(await (open ?? ((parts) => openOn(device, parts)))({ base, store }));
    const ask: World["ask"] = async (name, prompt, contents) => {
      const response = await completion(app, name, prompt), text = await response.text();
      if (refusals.includes(response.status)) return false;
      if (response.status !== 200) throw new Error(`status ${response.status} for ${name}: ${text}`);
      const found = JSON.parse(text).choices[0].text;
      if (!contents.some((content) => right[content][prompt] === found)) {
        throw new Error(`a wrong answer of ${name}: ${JSON.stringify(found)}`);
      }
      tally.right++;
      return true;
    };
    await body({
      ...{ random: uniforms(seed), folder, adapters, storage, store, app, tally, ask },
      text: (content, prompt) => right[content][prompt],
      async askAll(contentsOf) {
        for (let i = 0; i < names; i++) {
          for (let prompt = 0; prompt < prompts.length; prompt++) {
            if (!await ask(nameOf(i), prompt, contentsOf(i))) {
              throw new Error(`${nameOf(i)} is refused though the fault is over`);
            }
          }
        }
      },
    });
    device.destroy();
  });
  return tally;
}
