/**
 * Where files behind URLs are kept: the Cache API, or the origin's private file system.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { ByteSource } from "../safetensors/mod.ts";
import { answerOf, lengthOf, partsOf, type RemoteFile } from "./remote.ts";

/** What is asked of a `Cache` of the Cache API. */
export interface ResponseCache {
  match(url: string): Promise<Response | undefined>;
  put(url: string, response: Response): Promise<void>;
}

/** What is asked of a `FileSystemFileHandle`. */
export interface FileHandleLike {
  getFile(): Promise<Blob>;
  createWritable(options: { readonly keepExistingData: boolean }): Promise<{
    seek(position: number): Promise<void>;
    write(data: Uint8Array<ArrayBuffer>): Promise<void>;
    close(): Promise<void>;
  }>;
}

/** What is asked of a `FileSystemDirectoryHandle`. */
export interface FolderHandleLike {
  getFileHandle(name: string, options?: { readonly create: boolean }): Promise<FileHandleLike>;
  removeEntry(name: string): Promise<void>;
}

/** A `Cache` of the Cache API, or a folder of the origin's private file system. */
export type UrlCache = ResponseCache | FolderHandleLike;

/** A file of the private file system is made safe after so many bytes: a broken download goes on from there. */
const safeBytes = 2 ** 26;

const isFolder = (cache: UrlCache): cache is FolderHandleLike => "getFileHandle" in cache;

function sourceOf(blob: Blob): ByteSource {
  return {
    sizeBytes: blob.size,
    read: async (at, count) => new Uint8Array(await blob.slice(at, at + count).arrayBuffer()),
  };
}

/** @throws ConfigError when an answer ended before the length that it states. */
function checkLength({ name }: RemoteFile, done: number, total: number | undefined): void {
  if (total === undefined || done === total) return;
  throw new ConfigError(`Cannot fetch ${JSON.stringify(name)}: ${done} of its ${total} bytes came`);
}

async function keptInCache(cache: ResponseCache, file: RemoteFile): Promise<Blob> {
  const kept = await cache.match(file.url);
  if (kept) return await kept.blob();
  const response = await answerOf(file);
  const total = lengthOf(response);
  let done = 0;
  // A stream that fails keeps the cache from keeping the file.
  const parts = partsOf(file, response);
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const { value } = await parts.next();
      if (value) {
        file.tell(done += value.length, total);
        controller.enqueue(value);
        return;
      }
      checkLength(file, done, total);
      controller.close();
    },
    cancel: () => void response.body?.cancel().catch(() => {}),
  });
  await cache.put(file.url, new Response(body));
  const written = await cache.match(file.url);
  if (written) return await written.blob();
  throw new ConfigError(`Cannot keep ${JSON.stringify(file.name)}: the cache has no room`);
}

/** A name for a URL that every file system takes. */
async function hashOf(url: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(url));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A file of a folder; undefined where it is not there. */
async function handleIn(folder: FolderHandleLike, name: string): Promise<
  FileHandleLike | undefined
> {
  try {
    return await folder.getFileHandle(name);
  } catch (error) {
    if ((error as Error).name === "NotFoundError") return undefined;
    throw error;
  }
}

/** What a file beside a download says: the version that was begun, and whether it is whole. */
interface Progress {
  readonly etag: string | null;
  readonly done: boolean;
}

async function progressIn(folder: FolderHandleLike, name: string): Promise<Progress | undefined> {
  const text = await (await (await handleIn(folder, name))?.getFile())?.text();
  return text ? JSON.parse(text) : undefined;
}

async function write(
  handle: FileHandleLike,
  { at, parts }: { readonly at: number; readonly parts: readonly Uint8Array<ArrayBuffer>[] },
): Promise<void> {
  const writer = await handle.createWritable({ keepExistingData: at > 0 });
  await writer.seek(at);
  for (const part of parts) await writer.write(part);
  await writer.close();
}

async function keptInFolder(folder: FolderHandleLike, file: RemoteFile): Promise<Blob> {
  const name = await hashOf(file.url);
  const note = `${name}.json`;
  const before = await progressIn(folder, note);
  const handle = await folder.getFileHandle(name, { create: true });
  if (before?.done) return await handle.getFile();
  const { size } = await handle.getFile();
  // If-Range: a file that has changed comes whole.
  const goOn = size > 0 && before?.etag;
  const response = await answerOf(file, goOn ? { range: `bytes=${size}-`, "if-range": goOn } : {});
  let at = response.status === 206 ? size : 0;
  if (response.status === 416) {
    await response.body?.cancel();
    await folder.removeEntry(name);
    return await keptInFolder(folder, file);
  }
  const length = lengthOf(response);
  const total = length === undefined ? undefined : at + length;
  const etag = response.headers.get("etag");
  const noteAs = async (progress: Progress) =>
    write(await folder.getFileHandle(note, { create: true }), {
      at: 0,
      parts: [new TextEncoder().encode(JSON.stringify(progress))],
    });
  await noteAs({ etag, done: false });
  let parts: Uint8Array<ArrayBuffer>[] = [], held = 0;
  const flush = async () => {
    await write(handle, { at, parts });
    at += held;
    parts = [];
    held = 0;
  };
  try {
    for await (const part of partsOf(file, response)) {
      parts.push(part);
      held += part.length;
      file.tell(at + held, total);
      if (held >= safeBytes) await flush();
    }
  } finally {
    await flush();
  }
  checkLength(file, at, total);
  await noteAs({ etag, done: true });
  return await handle.getFile();
}

/** Whether a cache has a whole file. */
export async function isKept(cache: UrlCache, { url }: RemoteFile): Promise<boolean> {
  if (!isFolder(cache)) return await cache.match(url) !== undefined;
  return (await progressIn(cache, `${await hashOf(url)}.json`))?.done === true;
}

/** A file of a cache, fetched first where the cache does not have it. */
export async function keptFile(cache: UrlCache, file: RemoteFile): Promise<ByteSource> {
  return sourceOf(await (isFolder(cache) ? keptInFolder(cache, file) : keptInCache(cache, file)));
}
