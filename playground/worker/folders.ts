/**
 * Model folders of a page: files that the user chose, URLs, and the Hugging Face hub.
 *
 * @module
 */
import { ConfigError, MissingFileError, openUrlFolder, type ReadableFolder, readTextBy } from "fourierft";
import type { NamedFile } from "../backend/backend.ts";
import type { ModelSource, OpenProgress } from "./protocol.ts";

/** A model's folder, and the name that the page shows. */
export interface NamedFolder {
  readonly name: string;
  readonly folder: ReadableFolder;
}

const hubAddress = "https://huggingface.co";

const isGguf = (name: string): boolean => /\.gguf$/i.test(name);

const quoted = (text: string): string => JSON.stringify(text);

async function openGguf(folder: ReadableFolder, name: string): Promise<ReadableFolder> {
  return await (await import("./gguf.ts")).openGguf(folder, name);
}

/** Files of one folder by their names; files of folders in it are left out. */
export function folderOfFiles(files: readonly NamedFile[]): ReadableFolder {
  const byName = new Map(files.map(({ path, file }) => [path, file]));
  const open: ReadableFolder["open"] = (name) => {
    const file = byName.get(name);
    if (!file) {
      return Promise.reject(
        new MissingFileError(`Cannot open file ${quoted(name)}: the folder has none of that name`),
      );
    }
    return Promise.resolve({
      sizeBytes: file.size,
      read: async (at: number, count: number) =>
        new Uint8Array(await file.slice(at, at + count).arrayBuffer()),
    });
  };
  return {
    open,
    readText: (name, options) => readTextBy(open, name, options),
    exists: (name) => Promise.resolve(byName.has(name)),
  };
}

async function ofFiles(files: readonly NamedFile[]): Promise<NamedFolder> {
  const folder = folderOfFiles(files);
  const models = files.filter(({ path }) => isGguf(path));
  if (await folder.exists("config.json")) {
    return { name: "the chosen folder", folder };
  }
  if (models.length !== 1) {
    throw new ConfigError(
      models.length === 0
        ? "Cannot open these files as a model: there is no config.json and no .gguf file among them"
        : `Cannot open these files as a model: there are ${models.length} .gguf files, choose one`,
    );
  }
  const [{ path }] = models;
  return { name: path.replace(/\.gguf$/i, ""), folder: await openGguf(folder, path) };
}

/** A progress of downloads: what comes now, and how far. */
function reporter(tell: (progress: OpenProgress) => void) {
  return ({ file, doneBytes, totalBytes }: {
    readonly file: string;
    readonly doneBytes: number;
    readonly totalBytes?: number;
  }): void => {
    const of = totalBytes === undefined ? "" : ` of ${(totalBytes / 1e6).toFixed(1)}`;
    tell({
      text: `${file}: ${(doneBytes / 1e6).toFixed(1)}${of} MB`,
      ...(totalBytes ? { part: doneBytes / totalBytes } : {}),
    });
  };
}

/** The end of a URL's path, without slashes. */
function lastName(url: string): string {
  const parts = new URL(url).pathname.split("/").filter(Boolean);
  try {
    return decodeURIComponent(parts[parts.length - 1] ?? new URL(url).hostname);
  } catch {
    throw new ConfigError(`Cannot open ${quoted(url)}: its last name has a "%" that encodes no text`);
  }
}

async function ofUrl(
  { url, name }: Extract<ModelSource, { kind: "url" }>,
  tell: (progress: OpenProgress) => void,
): Promise<NamedFolder> {
  if (!URL.canParse(url)) throw new ConfigError(`Cannot open ${quoted(url)}: it is no URL`);
  const onProgress = reporter(tell);
  if (!isGguf(new URL(url).pathname)) {
    return { name: name ?? lastName(url), folder: openUrlFolder(url, { onProgress }) };
  }
  const file = lastName(url);
  const folder = openUrlFolder(new URL(".", url), { onProgress });
  return { name: name ?? file.replace(/\.gguf$/i, ""), folder: await openGguf(folder, file) };
}

interface Repository {
  /** The commit. */
  readonly sha: string;
  readonly siblings: readonly { readonly rfilename: string }[];
}

async function repositoryOf(name: string, revision: string): Promise<Repository> {
  const address = `${hubAddress}/api/models/${name}/revision/${encodeURIComponent(revision)}`;
  let response: Response;
  try {
    response = await fetch(address);
  } catch (error) {
    throw new ConfigError(
      `Cannot open ${quoted(name)}: ${hubAddress} cannot be reached (${(error as Error).message})`,
    );
  }
  if (response.ok) return await response.json();
  const why = response.status === 401 || response.status === 404
    ? "there is no such model, or it is not public"
    : `the hub says ${response.status}`;
  throw new ConfigError(`Cannot open ${quoted(name)} of the Hugging Face hub: ${why}`);
}

/** The hub's files of one commit, kept in the browser's cache: they come once. */
async function ofHub(text: string, tell: (progress: OpenProgress) => void): Promise<NamedFolder> {
  const match = /^([\w.-]+\/[\w.-]+)(?:@([\w./-]+))?$/.exec(text.trim());
  if (!match) {
    throw new ConfigError(
      `Cannot open ${quoted(text)}: a name of the hub is like org/name or org/name@revision`,
    );
  }
  const [, name, revision = "main"] = match;
  tell({ text: `asking ${hubAddress} for ${name}` });
  const { sha, siblings } = await repositoryOf(name, revision);
  const folder = openUrlFolder(`${hubAddress}/${name}/resolve/${sha}/`, {
    cache: await caches.open("fourierft-models"),
    onProgress: reporter(tell),
  });
  const files = siblings.map(({ rfilename }) => rfilename);
  if (files.includes("config.json")) return { name, folder };
  const models = files.filter(isGguf);
  if (models.length === 1) return { name, folder: await openGguf(folder, models[0]) };
  throw new ConfigError(
    models.length === 0
      ? `Cannot open ${quoted(name)}: it has no config.json and no .gguf file`
      : `Cannot open ${quoted(name)}: it has ${models.length} .gguf files; give the URL of one`,
  );
}

/**
 * Opens the folder of a model.
 *
 * @throws ConfigError that names what is missing, or wrong.
 */
export async function openSource(
  source: ModelSource,
  tell: (progress: OpenProgress) => void,
): Promise<NamedFolder> {
  if (source.kind === "files") return await ofFiles(source.files);
  return source.kind === "hub" ? await ofHub(source.name, tell) : await ofUrl(source, tell);
}
