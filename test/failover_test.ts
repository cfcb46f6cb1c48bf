import { test } from "node:test";
import assert from "node:assert/strict";
import { DeviceError } from "../src/device/device.ts";
import type { Engine, GenerateEvent, GenerateRequest } from "../src/engine/generate.ts";
import { type Served, withFallback } from "../src/failover.ts";

const request: GenerateRequest = {
  promptTokenIds: [1],
  maxTokens: 2,
  sampling: { temperature: 0, topP: 1, topK: 0 },
};

/** A model whose engine reports tokens `id`, and throws `error` before event `failsAt`. */
function served(id: number, failsAt = Infinity, error: unknown = new DeviceError("lost")): Served {
  const engine: Engine = {
    maxModelLen: 8,
    vocabSize: 9,
    async *generate(): AsyncGenerator<GenerateEvent> {
      for (let i = 0; i < 2; i++) {
        if (i >= failsAt) throw error;
        await Promise.resolve();
        yield { kind: "token", tokenId: id };
      }
      yield { kind: "end", finishReason: "length" };
    },
  };
  const list = () => failsAt < Infinity ? Promise.reject(error) : Promise.resolve([]);
  return { engine, registry: { list } as unknown as Served["registry"] };
}

async function tokens({ engine }: Served): Promise<number[]> {
  const ids: number[] = [];
  for await (const event of engine.generate(request)) if (event.kind === "token") ids.push(event.tokenId);
  return ids;
}

test("withFallback: requests that had not begun when the device was lost run on the replacement, opened once", async () => {
  let opened = 0;
  const lines: string[] = [];
  const model = withFallback(served(1, 0), {
    reopen: () => Promise.resolve((opened++, served(2))),
    log: (line) => lines.push(line),
  });
  assert.deepEqual(await Promise.all([tokens(model), tokens(model)]), [[2, 2], [2, 2]]);
  assert.deepEqual(await model.registry.list(), []);
  assert.equal(opened, 1);
  assert.equal(lines.length, 1);
});

test("withFallback: a request that had begun fails with the device's error, and the next one runs", async () => {
  const model = withFallback(served(1, 1), { reopen: () => Promise.resolve(served(2)) });
  await assert.rejects(tokens(model), DeviceError);
  assert.deepEqual(await tokens(model), [2, 2]);
});

test("withFallback: other errors pass, and a lost replacement is not replaced", async () => {
  let opened = 0;
  const reopen = () => Promise.resolve((opened++, served(2, 0)));
  await assert.rejects(tokens(withFallback(served(1, 0, new RangeError("bad")), { reopen })), RangeError);
  assert.equal(opened, 0);
  await assert.rejects(tokens(withFallback(served(1, 0), { reopen })), DeviceError);
  assert.equal(opened, 1);
});
