/**
 * Publishes two adapters in turn by one name into a store until it is killed; for object_storage_test.ts.
 *
 * Arguments: the store's URL, then the two adapters' folders.
 *
 * @module
 */
import process from "node:process";
import { openFolder, openObjectStore } from "../src/runtime/mod.ts";

const [url, ...paths] = process.argv.slice(2);
const store = await openObjectStore(url);
const folders = await Promise.all(paths.map((path) => openFolder(path)));
for (let i = 0;; i++) {
  await store.publish("x", folders[i % folders.length]);
  if (i === 2) console.error("publishing");
}
