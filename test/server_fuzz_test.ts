import assert from "node:assert/strict";
import { test } from "node:test";
import { checkAtRest, fuzz, fuzzedApp } from "./server_fuzz.ts";

test("createApp() answers requests made at random from its own document, and keeps nothing of them", async () => {
  const fuzzed = await fuzzedApp();
  const counts = await fuzz(fuzzed, { runs: 300, seed: 20261130 });
  await checkAtRest(fuzzed);
  // Not all are noise, and not all are right.
  for (const status of [200, 400, 404]) assert.ok(counts[status] > 0, JSON.stringify(counts));
  fuzzed.close();
});
