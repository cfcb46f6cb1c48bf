/**
 * How a folder of sentence-transformers says that embeddings are made: modules.json, and the folders it names.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import { isJsonObject, parseJsonObject } from "../json.ts";

/** How an embedding is made of hidden states. */
export interface Pooling {
  readonly mode: "mean" | "cls";
  /** Whether embeddings are scaled to length 1. */
  readonly normalize: boolean;
}

function modulesOf(text: string): readonly { readonly type: string; readonly path: string }[] {
  const fail = (): never => {
    throw new ConfigError("Cannot read modules.json: it must be a list of modules with a type and a path");
  };
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    return fail();
  }
  if (!Array.isArray(list)) return fail();
  return list.map((one) => {
    const { type, path = "" } = isJsonObject(one) ? one : fail();
    return typeof type === "string" && typeof path === "string" ? { type, path } : fail();
  });
}

async function modeOf(folder: ReadableFolder, path: string): Promise<Pooling["mode"]> {
  const inner = await folder.folder?.(path), name = `${path}/config.json`;
  if (!inner || !await inner.exists("config.json")) {
    throw new ConfigError(`Cannot find ${name}, which modules.json names`);
  }
  const fields = parseJsonObject(await inner.readText("config.json"), name);
  const on = Object.keys(fields).filter((field) =>
    field.startsWith("pooling_mode_") && fields[field] === true
  );
  if (on.length === 1 && on[0] === "pooling_mode_mean_tokens") return "mean";
  if (on.length === 1 && on[0] === "pooling_mode_cls_token") return "cls";
  throw new ConfigError(
    `Cannot pool as ${name} says (${
      on.join(", ") || "no mode"
    }): supported are pooling_mode_mean_tokens and pooling_mode_cls_token`,
  );
}

/**
 * How a folder's embeddings are made: the mean of the hidden states, where no file says otherwise.
 *
 * @throws ConfigError for modules and modes that are not supported.
 */
export async function readPooling(folder: ReadableFolder): Promise<Pooling> {
  let pooling: Pooling = { mode: "mean", normalize: false };
  if (!await folder.exists("modules.json")) return pooling;
  for (const { type, path } of modulesOf(await folder.readText("modules.json"))) {
    const kind = type.split(".").at(-1)!;
    if (kind === "Pooling") pooling = { ...pooling, mode: await modeOf(folder, path) };
    else if (kind === "Normalize") pooling = { ...pooling, normalize: true };
    else if (kind !== "Transformer") {
      throw new ConfigError(
        `Cannot embed by a module of type "${type}": supported are Transformer, Pooling and Normalize`,
      );
    }
  }
  return pooling;
}
