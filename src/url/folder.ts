/**
 * Folders behind URLs, for pages, Workers and all that has `fetch`: large files are read by ranges, or kept in a cache.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { isPlainName, MissingFileError, type ReadableFolder, readTextBy } from "../folder.ts";
import type { ByteSource } from "../safetensors/mod.ts";
import type { UrlCache } from "./cache.ts";
import { answerOf, lengthOf, partsOf, refused, type RemoteFile } from "./remote.ts";

/** How far a file has come. */
export interface UrlProgress {
  /** The file's name in its folder. */
  readonly file: string;
  readonly doneBytes: number;
  /** Undefined where the server does not say. */
  readonly totalBytes?: number;
}

/** How a folder behind URLs is opened. */
export interface OpenUrlFolderOptions {
  /**
   * Where whole files are kept, so that they come once: a `Cache` (`await caches.open("models")`), or a folder of the
   * origin's private file system (`await navigator.storage.getDirectory()`). Kept files are not asked for again: their
   * URLs should name a revision. By default nothing is kept, and large files are read by ranges.
   */
  readonly cache?: UrlCache;
  /** Told as bytes of a file come. */
  readonly onProgress?: (progress: UrlProgress) => void;
  /** By default the runtime's. */
  readonly fetch?: typeof fetch;
}

/** The first answer of a file: small files come whole with it. */
const firstBytes = 2 ** 20;

async function wholeOf(file: RemoteFile, response: Response, total?: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let done = 0;
  for await (const part of partsOf(file, response)) {
    parts.push(part);
    file.tell(done += part.length, total);
  }
  const bytes = new Uint8Array(done);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** What a `Content-Range` says: the first byte of an answer, and the file's length. */
function rangeOf(response: Response): { first: number; sizeBytes: number } | undefined {
  const match = /^bytes (?:(\d+)-\d+|\*)\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  return match ? { first: Number(match[1] ?? 0), sizeBytes: Number(match[2]) } : undefined;
}

/** Opens a file by ranges; the whole of it is taken where it is short, or the server takes no ranges. */
async function openByRanges(file: RemoteFile): Promise<ByteSource> {
  const first = await answerOf(file, { range: `bytes=0-${firstBytes - 1}` });
  const range = rangeOf(first);
  if (first.status === 416) {
    await first.body?.cancel();
    if (range?.sizeBytes === 0) return { sizeBytes: 0, read: () => Promise.resolve(new Uint8Array(0)) };
    throw refused(file, "the server says 416");
  }
  const sizeBytes = first.status === 206 ? range?.sizeBytes : undefined;
  if (first.status === 206 && (sizeBytes === undefined || range?.first !== 0)) {
    await first.body?.cancel();
    throw refused(file, "the server's answer to a range has no Content-Range that a page may read");
  }
  const head = await wholeOf(file, first, sizeBytes ?? lengthOf(first));
  const size = sizeBytes ?? head.length;
  if (head.length < Math.min(size, firstBytes)) throw refused(file, `it ends at byte ${head.length}`);
  const version = first.headers.get("etag");
  return {
    sizeBytes: size,
    async read(at, count) {
      if (at + count <= head.length) return head.slice(at, at + count);
      const response = await answerOf(file, { range: `bytes=${at}-${at + count - 1}` });
      const isSame = response.status === 206 && rangeOf(response)?.first === at &&
        rangeOf(response)?.sizeBytes === size && response.headers.get("etag") === version;
      if (!isSame) {
        await response.body?.cancel();
        throw refused(file, "it has changed while it was read");
      }
      const bytes = await wholeOf({ ...file, tell: (done) => file.tell(at + done, size) }, response);
      if (bytes.length === count) return bytes;
      throw refused(file, `${count} bytes from ${at} on were asked for, ${bytes.length} came`);
    },
  };
}

/**
 * Opens the files under a URL as a folder. Each is looked up when it is opened. A missing file is one that the server
 * answers with 404, 410 or a page (`text/html`). Folders in the folder are not found: servers do not list.
 *
 * @param url The folder's; a slash is added where none ends it.
 * @throws ConfigError when it is no `http:` or `https:` URL.
 */
export function openUrlFolder(url: string | URL, options: OpenUrlFolderOptions = {}): ReadableFolder {
  const { cache, onProgress, fetch = globalThis.fetch.bind(globalThis) } = options;
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new ConfigError(`Cannot open folder ${JSON.stringify(String(url))}: it is no http or https URL`);
  }
  const base = new URL(url);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  const fileOf = (name: string): RemoteFile => {
    if (!isPlainName(name)) {
      throw new ConfigError(
        `Cannot fetch ${JSON.stringify(name)}: the rule is a plain name, without folders`,
      );
    }
    // The query of a signed URL goes with every file.
    const own = new URL(base);
    own.pathname += encodeURIComponent(name);
    return {
      name,
      url: own.href,
      fetch,
      tell: (doneBytes, totalBytes) => onProgress?.({ file: name, doneBytes, totalBytes }),
    };
  };
  const open: ReadableFolder["open"] = async (name) => {
    const file = fileOf(name);
    if (!cache) return await openByRanges(file);
    return await (await import("./cache.ts")).keptFile(cache, file);
  };
  return {
    open,
    readText: (name, options) => readTextBy(open, name, options),
    async exists(name) {
      const file = fileOf(name);
      if (cache && await (await import("./cache.ts")).isKept(cache, file)) return true;
      try {
        // One byte: servers are met that do not know HEAD.
        await (await answerOf(file, { range: "bytes=0-0" })).body?.cancel();
        return true;
      } catch (error) {
        if (error instanceof MissingFileError) return false;
        throw error;
      }
    },
  };
}
