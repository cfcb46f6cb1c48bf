/**
 * Goldens too long to read, kept as JSON in gzip files.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/** What `fixtures/<name>.json.gz` holds. `gzip -dc` shows it. */
export function packedGolden<T>(name: string): T {
  const file = readFileSync(new URL(`./fixtures/${name}.json.gz`, import.meta.url));
  return JSON.parse(new TextDecoder().decode(gunzipSync(file))) as T;
}
