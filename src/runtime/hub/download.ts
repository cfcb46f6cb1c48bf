/**
 * Downloads a file of a hub to a place on a disk: goes on where an earlier download ended, and checks the file's hash.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import process from "node:process";
import { ConfigError } from "../../errors.ts";
import { type Hub, type HubFile, type HubName, HubUnreachableError, refusalOf } from "./repository.ts";

/** A download. */
export interface Download extends HubName {
  readonly hub: Hub;
  readonly file: HubFile;
  /** Where the file goes when it is complete. */
  readonly path: string;
  readonly onBytes?: (done: number) => void;
  /** A connection that brings nothing for so long is given up. */
  readonly stallMs?: number;
  /** Waited before another try; it doubles. */
  readonly pauseMs?: number;
}

/** Tries in a row that bring little, and what is not little: a server may drip for ever. */
const mostTries = 4, muchBytes = 2 ** 20;

function hashOf({ hash, sizeBytes }: HubFile): Hash {
  return hash.algorithm === "sha256"
    ? createHash("sha256")
    : createHash("sha1").update(`blob ${sizeBytes}\0`);
}

/** Whether the process that wrote a lock is gone; one of another machine counts as there. */
async function isStale(lock: string): Promise<boolean> {
  const [host, pid] = (await readFile(lock, "utf8").catch(() => "")).split(" ");
  if (host !== hostname() || !(Number(pid) > 0)) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as { code?: string }).code === "ESRCH";
  }
}

/** Claims a partial file for this process; undefined while another one has it. */
async function claim(partial: string): Promise<(() => Promise<void>) | undefined> {
  const lock = `${partial}.lock`;
  for (let again = false;; again = true) {
    try {
      const file = await open(lock, "wx");
      await file.writeFile(`${hostname()} ${process.pid}`);
      await file.close();
      return () => rm(lock, { force: true });
    } catch (error) {
      if ((error as { code?: string }).code !== "EEXIST") throw error;
    }
    if (again || !await isStale(lock)) return undefined;
    await rm(lock, { force: true });
  }
}

/** `fetch` that ends when nothing came for a while; `touch` says that something came. */
function watched(hub: Hub, stallMs: number): { fetch: typeof fetch; touch: () => void; stop: () => void } {
  const stop = new AbortController();
  let timer: ReturnType<typeof setTimeout>;
  const touch = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(new Error(`nothing came for ${stallMs / 1000} s`)), stallMs);
  };
  touch();
  return {
    fetch: ((input, init) => hub.fetch(input, { ...init, signal: stop.signal })) as typeof fetch,
    touch,
    stop: () => clearTimeout(timer),
  };
}

/** Appends what is missing; returns the bytes that are there now, and why it ended early. */
async function append(
  to: FileHandle,
  have: number,
  { hub, file, repo, revision, onBytes, stallMs = 60_000 }: Download,
): Promise<{ have: number; failure?: unknown }> {
  const { downloadFile } = await import("@huggingface/hub");
  const { fetch, touch, stop } = watched(hub, stallMs);
  try {
    const blob = await downloadFile({
      repo: { type: "model", name: repo },
      path: file.path,
      revision,
      hubUrl: hub.endpoint,
      accessToken: hub.token,
      fetch,
    });
    if (!blob) throw new ConfigError(`Cannot download "${file.path}": ${hub.endpoint} has no such file`);
    for await (const part of blob.slice(have, file.sizeBytes).stream()) {
      touch();
      // A server that takes no ranges sends the file from its start: the hash tells.
      await to.write(part, 0, part.length, have);
      have += part.length;
      onBytes?.(Math.min(have, file.sizeBytes));
      if (have > file.sizeBytes) break;
    }
    return {
      have,
      failure: have < file.sizeBytes ? new Error(`the answer ended at byte ${have}`) : undefined,
    };
  } catch (failure) {
    if (failure instanceof ConfigError) throw failure;
    return { have, failure: failure ?? new Error("the connection broke") };
  } finally {
    stop();
  }
}

/** Brings a partial file to its full size, over broken connections. */
async function fill(partial: string, download: Download): Promise<void> {
  const { file, pauseMs = 500 } = download;
  const to = await open(partial, "a").then(async (made) => {
    await made.close();
    return await open(partial, "r+");
  });
  try {
    let { size: have } = await to.stat();
    if (have > file.sizeBytes) await to.truncate(have = 0);
    for (let tries = 0; have < file.sizeBytes;) {
      const before = have;
      const got = await append(to, have, download);
      have = got.have;
      if (!got.failure) break;
      const refusal = refusalOf(got.failure, download, download.hub);
      tries = have - before >= muchBytes ? 0 : tries + 1;
      if (!(refusal instanceof HubUnreachableError) || tries === mostTries) throw refusal;
      await new Promise((resolve) => setTimeout(resolve, pauseMs * 2 ** tries));
    }
    await to.sync();
  } finally {
    await to.close();
  }
}

async function isWhole(partial: string, file: HubFile): Promise<boolean> {
  if ((await stat(partial)).size !== file.sizeBytes) return false;
  const hash = hashOf(file);
  for await (const part of createReadStream(partial)) hash.update(part);
  return hash.digest("hex") === file.hash.digest;
}

/**
 * Downloads a file, if it is not there yet. What an earlier download left is kept and gone on with; of two processes one
 * goes on with it.
 *
 * @throws HubUnreachableError when the hub stops answering; ConfigError when the file is not what the hub said.
 */
export async function downloadFileTo(download: Download): Promise<void> {
  const { path, file } = download;
  if (await stat(path).then(() => true, () => false)) return;
  await mkdir(dirname(path), { recursive: true });
  const shared = `${path}.incomplete`;
  const release = await claim(shared);
  const partial = release ? shared : `${path}.${process.pid}.incomplete`;
  try {
    // What was there before may be of no use: then once more from the start.
    for (let fresh = false;; fresh = true) {
      await fill(partial, download);
      if (await isWhole(partial, file)) break;
      await rm(partial, { force: true });
      if (fresh) {
        throw new ConfigError(
          `Cannot download "${file.path}" of "${download.repo}": its ${file.hash.algorithm} is not ${file.hash.digest}`,
        );
      }
    }
    await rename(partial, path);
  } catch (error) {
    const { code } = error as { code?: string };
    if (error instanceof ConfigError || code === undefined) throw error;
    throw new ConfigError(`Cannot write "${path}": the system says ${code}`);
  } finally {
    if (!release) await rm(partial, { force: true });
    await release?.();
  }
}
