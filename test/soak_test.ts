import assert from "node:assert/strict";
import { test } from "node:test";
import { soak } from "./soak.ts";

test("adapters that are replaced and unloaded under traffic give texts of one version, and leave", async () => {
  const { swaps, texts, residents } = await soak(40);
  assert.ok(texts >= swaps);
  assert.ok(residents <= 4, "versions of equal files are one resident");
});
