/**
 * What tells one model from another, for a run that goes on: its configuration, its tokenizer and the start of its weights.
 *
 * @module
 */
import type { ReadableFolder } from "fourierft";

/** Bytes of a file of weights that are looked at: its names and shapes, and its first numbers. */
const mostBytes = 2 ** 20;

const indexName = "model.safetensors.index.json";

/** The first file of weights; undefined where they are in no file of that kind. */
async function weightsOf(folder: ReadableFolder): Promise<string | undefined> {
  if (await folder.exists("model.safetensors")) return "model.safetensors";
  if (!await folder.exists(indexName)) return undefined;
  const { weight_map: files = {} } = JSON.parse(await folder.readText(indexName));
  return (Object.values(files) as string[]).sort()[0];
}

async function startOf(folder: ReadableFolder, name: string): Promise<Uint8Array> {
  const source = await folder.open(name);
  try {
    return await source.read(0, Math.min(source.sizeBytes, mostBytes));
  } finally {
    await source.close?.();
  }
}

/** SHA-256 in hexadecimal. */
export async function modelKey(folder: ReadableFolder): Promise<string> {
  const weights = await weightsOf(folder);
  const names = ["config.json", "tokenizer.json", ...(weights === undefined ? [] : [weights])];
  const parts: BlobPart[] = [];
  for (const name of names) {
    if (!await folder.exists(name)) continue;
    parts.push(`${name}\n`, await startOf(folder, name) as Uint8Array<ArrayBuffer>);
  }
  const digest = await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
