/**
 * Publishes two adapters in turn into one folder until it is killed; for hot_reload_test.ts.
 *
 * Arguments: the folder, then the two adapters' folders.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { openCheckpoints } from "../src/runtime/checkpoints.ts";

const [out, ...adapters] = process.argv.slice(2);
const names = ["adapter_config.json", "adapter_model.safetensors"];
const files = await Promise.all(adapters.map(async (folder) =>
  new Map(
    await Promise.all(
      names.map(async (name) => [name, new Uint8Array(await readFile(join(folder, name)))] as const),
    ),
  )
));
const { publish } = await openCheckpoints(out);
for (let i = 0;; i++) await publish(files[i % files.length]);
