/**
 * A repository of the Hugging Face hub as a folder: its files come to the standard cache as they are asked for.
 *
 * The cache is that of Python's `huggingface_hub`: each finds what the other has downloaded.
 *
 * @module
 */
import { copyFile, mkdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, relative } from "node:path";
import process from "node:process";
import { ConfigError } from "../../errors.ts";
import { isPlainName, MissingFileError, type ReadableFolder, readTextBy } from "../../folder.ts";
import { openFolder } from "../file.ts";
import { downloadFileTo } from "./download.ts";
import {
  type Hub,
  type HubFile,
  type HubName,
  HubUnreachableError,
  parseHubName,
  type Snapshot,
  snapshotOf,
} from "./repository.ts";

/** How a repository is opened. What is left out is read from the environment, as `huggingface_hub` reads it. */
export interface OpenHubFolderOptions {
  /** A branch, a tag or a commit; by default `main`. */
  readonly revision?: string;
  /** The hub or a mirror; by default `HF_ENDPOINT`, else `https://huggingface.co`. */
  readonly endpoint?: string;
  /** An access token; by default `HF_TOKEN`, else what `hf auth login` stored. */
  readonly token?: string;
  /** The cache's folder; by default `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`. */
  readonly cache?: string;
  /** Whether only the cache is read; by default so when `HF_HUB_OFFLINE` is 1. */
  readonly offline?: boolean;
  /** Told as bytes of a file come. */
  readonly onProgress?: (progress: HubProgress) => void;
  /** Takes a line where the cache serves because the hub does not answer. */
  readonly log?: (line: string) => void;
  readonly fetch?: typeof fetch;
  /** Waited before a broken download is tried again, in milliseconds; it doubles. By default 500. */
  readonly pauseMs?: number;
  /** Milliseconds without a byte after which a connection is given up; by default 60,000. */
  readonly stallMs?: number;
}

/** How far the download of a file is. */
export interface HubProgress {
  readonly file: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** Where a repository's files are in the cache. */
interface Place {
  readonly blobs: string;
  readonly refs: string;
  readonly snapshots: string;
}

/** Files that are read to know a model: they come before the first is asked for, so that the cache alone serves later. */
const smallFile = /\.(json|jinja|txt|model)$/;
const mostSmallBytes = 2 ** 25;

async function textAt(path: string): Promise<string | undefined> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.trim() || undefined;
}

const isSwitchedOn = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? "");

async function hubOf({ endpoint, token, fetch = globalThis.fetch }: OpenHubFolderOptions): Promise<Hub> {
  const { env } = process;
  const home = env.HF_HOME ?? join(env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "huggingface");
  const found = token ?? env.HF_TOKEN ?? env.HUGGING_FACE_HUB_TOKEN ??
    await textAt(env.HF_TOKEN_PATH ?? join(home, "token"));
  const at = endpoint ?? (env.HF_ENDPOINT || "https://huggingface.co");
  if (!URL.canParse(at)) throw new ConfigError(`Cannot open a hub at ${JSON.stringify(at)}: it is no URL`);
  return { endpoint: at.replace(/\/+$/, ""), token: found || undefined, fetch };
}

async function placeOf({ repo }: HubName, cache: string | undefined): Promise<Place> {
  const { getHFHubCachePath, getRepoFolderName } = await import("@huggingface/hub");
  const root = join(cache ?? getHFHubCachePath(), getRepoFolderName({ type: "model", name: repo }));
  return { blobs: join(root, "blobs"), refs: join(root, "refs"), snapshots: join(root, "snapshots") };
}

/** The folder of a revision that the cache has; undefined where there is none. */
async function cachedFolder(place: Place, revision: string): Promise<ReadableFolder | undefined> {
  const commit = /^[0-9a-f]{40}$/.test(revision) ? revision : await textAt(join(place.refs, revision));
  if (commit === undefined) return undefined;
  const path = join(place.snapshots, commit);
  return (await stat(path).catch(() => undefined))?.isDirectory() ? await openFolder(path) : undefined;
}

const isThere = (path: string): Promise<boolean> => stat(path).then(() => true, () => false);

/** Makes a file of a snapshot out of its blob: a link, or a copy where a system has no links. */
async function link(blob: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  try {
    await symlink(relative(dirname(path), blob), path);
  } catch (error) {
    if ((error as { code?: string }).code !== "EEXIST") await copyFile(blob, path);
  }
}

/** A repository's files at a commit: downloaded as they are asked for. */
class Repository {
  readonly #name: HubName;
  readonly #hub: Hub;
  readonly #place: Place;
  readonly #snapshot: Snapshot;
  readonly #options: OpenHubFolderOptions;
  /** Downloads under way: many may ask for one file. */
  readonly #coming = new Map<string, Promise<void>>();

  constructor(
    { name, hub, place, snapshot, options }: {
      name: HubName;
      hub: Hub;
      place: Place;
      snapshot: Snapshot;
      options: OpenHubFolderOptions;
    },
  ) {
    this.#name = name;
    this.#hub = hub;
    this.#place = place;
    this.#snapshot = snapshot;
    this.#options = options;
  }

  #blobOf({ hash }: HubFile): string {
    return join(this.#place.blobs, hash.digest);
  }

  #pathOf({ path }: HubFile): string {
    return join(this.#place.snapshots, this.#snapshot.commit, path);
  }

  async #download(file: HubFile): Promise<void> {
    const { onProgress, pauseMs, stallMs } = this.#options;
    if (await isThere(this.#pathOf(file))) return;
    await downloadFileTo({
      hub: this.#hub,
      repo: this.#name.repo,
      revision: this.#snapshot.commit,
      file,
      path: this.#blobOf(file),
      onBytes: (doneBytes) => onProgress?.({ file: file.path, doneBytes, totalBytes: file.sizeBytes }),
      pauseMs,
      stallMs,
    });
  }

  /** Downloads files, then puts all of them into the snapshot: an interrupted call leaves none of them there. */
  async #bring(files: readonly HubFile[]): Promise<void> {
    for (const file of files) {
      const { path } = file;
      const coming = this.#coming.get(path) ?? this.#download(file).finally(() => this.#coming.delete(path));
      this.#coming.set(path, coming);
      await coming;
    }
    for (const file of files) {
      if (!await isThere(this.#pathOf(file))) await link(this.#blobOf(file), this.#pathOf(file));
    }
  }

  /** A folder of the repository, with its small files there. `under` is empty, or ends in a slash. */
  async folder(under = ""): Promise<ReadableFolder> {
    const { commit, files } = this.#snapshot;
    const own = [...files.values()].filter(({ path }) =>
      path.startsWith(under) && !path.slice(under.length).includes("/")
    );
    await this.#bring(
      own.filter(({ path, sizeBytes }) => smallFile.test(path) && sizeBytes <= mostSmallBytes),
    );
    const at = join(this.#place.snapshots, commit, under);
    await mkdir(at, { recursive: true });
    const local = await openFolder(at);
    const checked = (name: string): string => {
      if (isPlainName(name)) return under + name;
      throw new ConfigError(
        `Cannot open file ${JSON.stringify(name)}: the rule is a plain name, without folders`,
      );
    };
    const open: ReadableFolder["open"] = async (name) => {
      const file = files.get(checked(name));
      if (!file) {
        throw new MissingFileError(`Cannot open file ${JSON.stringify(name)}: there is no such file`);
      }
      await this.#bring([file]);
      return await local.open(name);
    };
    return {
      open,
      readText: (name, options) => readTextBy(open, name, options),
      exists: (name) => Promise.resolve(files.has(checked(name))),
      folder: async (name) => {
        const inner = `${checked(name)}/`;
        const there = [...files.keys()].some((path) => path.startsWith(inner));
        return there ? await this.folder(inner) : undefined;
      },
    };
  }
}

/**
 * Opens a repository of models or adapters on the Hugging Face hub, `org/name`. Files come to the standard cache when
 * they are opened, and go on where an earlier download ended. Each is checked by its hash. Where the hub does not answer,
 * the cache serves what it has, and a line is logged.
 *
 * @throws ConfigError when there is no such repository or revision, or the token may not read it.
 * @throws HubUnreachableError when the hub does not answer, and the cache does not have the model.
 */
export async function openHubFolder(
  repo: string,
  options: OpenHubFolderOptions = {},
): Promise<ReadableFolder> {
  const name = parseHubName(`${repo}@${options.revision ?? "main"}`);
  if (!name) {
    throw new ConfigError(
      `Cannot open model ${JSON.stringify(repo)} at revision ${
        JSON.stringify(options.revision ?? "main")
      }: ` +
        "a repository is called org/name, and a revision is a branch, a tag or a commit",
    );
  }
  const place = await placeOf(name, options.cache);
  const hub = await hubOf(options);
  const cached = () => cachedFolder(place, name.revision);
  const what = `Cannot open model "${repo}" at revision "${name.revision}"`;
  if (options.offline ?? isSwitchedOn(process.env.HF_HUB_OFFLINE)) {
    const folder = await cached();
    if (folder) return folder;
    throw new ConfigError(`${what}: it is not in the cache, and HF_HUB_OFFLINE forbids to ask for it`);
  }
  try {
    const snapshot = await snapshotOf(hub, name, options.stallMs);
    const folder = await new Repository({ name, hub, place, snapshot, options }).folder();
    // Written last: without the network a revision counts that has all its small files.
    const ref = join(place.refs, name.revision);
    await mkdir(dirname(ref), { recursive: true });
    if (name.revision !== snapshot.commit) await writeFile(ref, snapshot.commit);
    return folder;
  } catch (error) {
    if (!(error instanceof HubUnreachableError)) throw error;
    const folder = await cached();
    if (!folder) throw error;
    options.log?.(`${error.message}; the cached files are used`);
    return folder;
  }
}
