/**
 * Adapters that are replaced under traffic: every text is that of one version, and memory stays. `deno task soak [SWAPS]`.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { cpuDevice, generateText, ObjectStore, openModel } from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { HandStorage } from "./hand_storage.ts";
import { trainingFixture, withTinyModel } from "./train_process.ts";

const contents = ["fourierft/trained", "fourierft/start", "lora/trained", "lora/start"];
const names = 6, workers = 4, prompt = "w5 w17 w29";

/** How often an adapter was replaced, texts that were compared, and bytes in use at a quarter and at the end. */
export interface Soaked {
  readonly swaps: number;
  readonly texts: number;
  readonly residents: number;
  readonly quarterBytes: number;
  readonly endBytes: number;
}

/** Bytes of heap and buffers, after a collection where the runtime has one to ask for. */
function bytesInUse(): number {
  (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/**
 * Replaces adapters so many times, while others generate.
 *
 * @param onSwap Told after each replacement how many there were, and how many texts were compared.
 */
export async function soak(
  swaps: number,
  onSwap: (swaps: number, texts: number) => void = () => {},
): Promise<Soaked> {
  let result: Soaked | undefined;
  await withTinyModel(async (folder) => {
    const folders = await Promise.all(contents.map((one) => openFolder(trainingFixture(one))));
    // Records are looked at again at every request.
    const storage = new HandStorage(), store = new ObjectStore(storage, { ttlSeconds: 1e-9 });
    const device = cpuDevice();
    const { engine, tokenizer, registry } = await openModel(device, {
      folder: await openFolder(join(folder, "base")),
      adapters: store,
    });
    const promptTokenIds = tokenizer.encode(prompt), sampling = { temperature: 0, topP: 1, topK: 0 };
    const textOf = async (adapter: string): Promise<string> => {
      let text = "";
      const request = { promptTokenIds, adapter, maxTokens: 4, sampling };
      for await (const event of generateText(engine, request, { tokenizer })) text += event.text;
      return text;
    };
    const goldens = new Set<string>();
    for (const [i, one] of folders.entries()) {
      await store.publish(`golden-${i}`, one);
      goldens.add(await textOf(`golden-${i}`));
    }
    for (let i = 0; i < names; i++) await store.publish(`name-${i}`, folders[i % folders.length]);
    let over = false, texts = 0, quarterBytes = 0;
    const traffic = async (worker: number): Promise<void> => {
      for (let i = worker; !over; i++) {
        const text = await textOf(`name-${i % names}`);
        assert.ok(goldens.has(text), `the text of no version: ${JSON.stringify(text)}`);
        texts++;
      }
    };
    const exchange = async (): Promise<void> => {
      try {
        for (let i = 0; i < swaps; i++) {
          const before = texts;
          await store.publish(`name-${i % names}`, folders[(i + Math.floor(i / names)) % folders.length]);
          if (i % 3 === 0) await registry.unload(`name-${(i + 1) % names}`);
          // Each version meets traffic.
          while (texts === before) await textOf(`name-${i % names}`).then(() => texts++);
          if (i === Math.floor(swaps / 4)) quarterBytes = bytesInUse();
          // The storage notes its calls: the test's own growth.
          storage.calls.length = 0;
          onSwap(i + 1, texts);
        }
      } finally {
        over = true;
      }
    };
    await Promise.all([exchange(), ...Array.from({ length: workers }, (_, i) => traffic(i))]);
    const { resident } = registry.stats();
    assert.equal(resident.filter(({ level }) => level === "in_use").length, 0, "nothing is held any more");
    result = { swaps, texts, residents: resident.length, quarterBytes, endBytes: bytesInUse() };
    device.destroy();
  });
  return result!;
}

if (import.meta.main) {
  const swaps = Number(process.argv[2] ?? 10_000), beganMs = performance.now();
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const { quarterBytes, endBytes, ...rest } = await soak(swaps, (done, texts) => {
    if (done % Math.ceil(swaps / 20) !== 0) return;
    const seconds = Math.round((performance.now() - beganMs) / 1000);
    console.error(`${done} of ${swaps} swaps, ${texts} texts, ${mib(bytesInUse())}, ${seconds} s`);
  });
  console.log({ ...rest, atAQuarter: mib(quarterBytes), atTheEnd: mib(endBytes) });
  assert.ok(endBytes < 1.1 * quarterBytes + 2 ** 22, "memory grew");
  process.exit(0);
}
