/**
 * Faults of devices and of clients, under streams.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { type Device, openModel, webgpuDevice } from "../../mod.ts";
import type { Engine } from "../../src/engine/generate.ts";
import { uniforms } from "../../src/engine/random.ts";
import { withFallback } from "../../src/failover.ts";
import { openGpu } from "../../src/runtime/gpu.ts";
import { openCpuDevice, serveApp } from "../../src/runtime/mod.ts";
import { contents, nameOf, prompts, type Tally, tokens, withWorld } from "./world.ts";

const streams = 16;

/** The engine, which calls `lose` when it has made so many tokens. */
function losing(engine: Engine, atToken: number, lose: () => void): Engine {
  let made = 0;
  return {
    maxModelLen: engine.maxModelLen,
    vocabSize: engine.vocabSize,
    generate: (request) =>
      engine.generate({
        ...request,
        onToken() {
          request.onToken?.();
          if (++made === atToken) lose();
        },
      }),
  };
}

/** A device, what takes it away, and what frees what is left of it. */
interface Losable {
  readonly device: Device;
  readonly lose: () => void;
  readonly free?: () => void;
}

/** Requests at once, and a device that goes amid their tokens. */
async function deviceGoes(
  seed: number,
  { open, mostTokens }: {
    readonly open: () => Promise<Losable>;
    /** The device goes at one of these tokens. */
    readonly mostTokens: number;
  },
): Promise<Tally> {
  const first = await open(), next = await openCpuDevice();
  const atToken = 1 + Math.floor(uniforms(seed)() * mostTokens);
  let isLost = false;
  const lose = (): void => {
    isLost = true;
    first.lose();
  };
  try {
    return await withWorld({
      seed,
      open: async ({ base, store }) => {
        const on = (device: Device) => openModel(device, { folder: base, adapters: store });
        const { engine, registry } = withFallback(await on(first.device), { reopen: [() => on(next)] });
        return { engine: losing(engine, atToken, lose), registry };
      },
    }, async (world) => {
      await Promise.all(Array.from({ length: streams }, async (_, i) => {
        await delay(10 * world.random());
        const right = await world.ask(nameOf(i), i % prompts.length, [i % contents.length]);
        if (!right) throw new Error(`${nameOf(i)} is refused, though another device is there`);
      }));
      if (!isLost) throw new Error("the device was not lost: nothing was shown");
      await world.askAll((i) => [i % contents.length]);
    });
  } finally {
    first.free?.();
    next.destroy();
  }
}

/** The CPU device's threads end under load. */
export async function threadsEnd(seed: number): Promise<Tally> {
  const open = async (): Promise<Losable> => {
    const device = await openCpuDevice({ threads: 2 });
    return { device, lose: () => device.destroy() };
  };
  return await deviceGoes(seed, { open, mostTokens: Math.floor(streams * tokens * 0.9) });
}

/** A GPU is destroyed under load: Dawn's, on the software driver that `run.ts` brings. */
export async function gpuGoes(seed: number): Promise<Tally> {
  const open = async (): Promise<Losable> => {
    const { device: gpu, destroy } = await openGpu({ features: [], prefer: "dawn" });
    return { device: webgpuDevice(gpu), lose: () => gpu.destroy(), free: destroy };
  };
  // A software GPU takes long for each step.
  return await deviceGoes(seed, { open, mostTokens: streams });
}

/** Half of the clients leave amid their streams: the others' texts are right, and nothing is left of those that left. */
export async function clientsLeave(seed: number): Promise<Tally> {
  return await withWorld({ seed }, async (world) => {
    const server = await serveApp((request) => world.app.fetch(request), { port: 0, hostname: "127.0.0.1" });
    const url = `http://127.0.0.1:${server.port}`;
    try {
      await Promise.all(Array.from({ length: 2 * streams }, async (_, i) => {
        const leaves = i % 2 === 1, after = Math.floor(tokens * world.random());
        const text = await streamed(url, i, leaves ? after : Infinity);
        if (leaves) return;
        if (text !== world.text(i % contents.length, i % prompts.length)) {
          throw new Error(`a wrong answer of ${nameOf(i)}: ${JSON.stringify(text)}`);
        }
        world.tally.right++;
      }));
      await atRest(url);
    } finally {
      await server.close();
    }
    await world.askAll((i) => [i % contents.length]);
  });
}

/** A stream's text, until its end or until its reader has had so many events. */
async function streamed(url: string, i: number, most: number): Promise<string> {
  const leaving = new AbortController(),
    body = {
      ...{ model: nameOf(i), prompt: prompts[i % prompts.length], temperature: 0, max_tokens: tokens },
      stream: true,
    };
  let text = "", held = "", events = 0;
  try {
    const response = await fetch(`${url}/v1/completions`, {
      ...{ method: "POST", body: JSON.stringify(body), signal: leaving.signal },
    });
    if (response.status !== 200) throw new Error(`status ${response.status}: ${await response.text()}`);
    if (events >= most) leaving.abort();
    for await (const bytes of response.body!.pipeThrough(new TextDecoderStream())) {
      const parts = (held + bytes).split("\n\n");
      held = parts.pop()!;
      for (const part of parts) {
        if (part === "data: [DONE]") return text;
        text += JSON.parse(part.slice("data: ".length)).choices[0]?.text ?? "";
        if (++events >= most) leaving.abort();
      }
    }
    throw new Error("a stream ended without [DONE]");
  } catch (error) {
    if (leaving.signal.aborted) return text;
    throw error;
  }
}

const gauges =
  /^(?:fourierft:(?:open_requests|request_memory_bytes)|vllm:num_requests_(?:running|waiting)\{.*\}) (.+)$/gm;

/** Waits until nothing of all requests is left. */
async function atRest(url: string): Promise<void> {
  for (const end = performance.now() + 60_000;;) {
    const found = [...(await (await fetch(`${url}/metrics`)).text()).matchAll(gauges)];
    if (found.length === 4 && found.every(([, value]) => value === "0")) return;
    if (performance.now() > end) throw new Error(`requests are left: ${found.map(([line]) => line)}`);
    await delay(20);
  }
}
