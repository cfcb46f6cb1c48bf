/**
 * Files behind URLs on loopback, and caches in memory as browsers have them.
 *
 * @module
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { FileHandleLike, FolderHandleLike, ResponseCache, UrlCache } from "../mod.ts";

/** How a server of files is. */
export interface FileServerOptions {
  /** Whether ranges are taken; by default they are. */
  readonly ranges?: boolean;
  /** Whether a page answers for what is not there, as servers of pages do. */
  readonly pages?: boolean;
}

/** A server that a test asks. */
export interface FileServer {
  readonly url: string;
  /** What was asked for, with the range. */
  readonly asked: string[];
  /** Ends answers after so many bytes, so many times. */
  cut?: { readonly bytes: number; times: number };
  close(): Promise<void>;
}

/** Serves files below `url`; the map may change. An ETag tells a file's versions apart. */
export async function fileServer(
  files: ReadonlyMap<string, Uint8Array>,
  { ranges = true, pages = false }: FileServerOptions = {},
): Promise<FileServer> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, "http://server");
    const bytes = files.get(decodeURIComponent(pathname.slice("/files/".length)));
    asked.push(`${pathname} ${request.headers.range ?? ""}`.trim());
    if (!bytes) {
      if (pages) response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<p>A page");
      else response.writeHead(404).end();
      return;
    }
    const etag = `"${bytes.length}-${bytes[0]}"`;
    const { "if-range": version = etag, range } = request.headers;
    const match = ranges && version === etag ? /^bytes=(\d+)-(\d*)$/.exec(range ?? "") : undefined;
    const first = Number(match?.[1] ?? 0), last = Math.min(Number(match?.[2] || Infinity), bytes.length - 1);
    if (match && first >= bytes.length) {
      response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end();
      return;
    }
    response.writeHead(match ? 206 : 200, {
      etag,
      "content-length": last - first + 1,
      ...(match ? { "content-range": `bytes ${first}-${last}/${bytes.length}` } : {}),
    });
    const body = bytes.subarray(first, last + 1);
    const { cut } = served;
    if (!cut || cut.times === 0 || body.length <= cut.bytes) return void response.end(body);
    cut.times--;
    response.write(body.subarray(0, cut.bytes), () => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const served: FileServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/files`,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return served;
}

function memoryCache(): ResponseCache {
  const kept = new Map<string, Blob>();
  return {
    match: (url) => Promise.resolve(kept.has(url) ? new Response(kept.get(url)) : undefined),
    put: async (url, response) => void kept.set(url, await response.blob()),
  };
}

function memoryFile(): FileHandleLike {
  let bytes = new Uint8Array(0);
  return {
    getFile: () => Promise.resolve(new Blob([bytes])),
    createWritable({ keepExistingData }) {
      let next = keepExistingData ? bytes.slice() : new Uint8Array(0), at = 0;
      return Promise.resolve({
        seek: (position: number) => Promise.resolve(void (at = position)),
        write(data: Uint8Array) {
          const longer = new Uint8Array(Math.max(next.length, at + data.length));
          longer.set(next);
          longer.set(data, at);
          next = longer;
          at += data.length;
          return Promise.resolve();
        },
        close: () => Promise.resolve(void (bytes = next)),
      });
    },
  };
}

function memoryFolderHandle(): FolderHandleLike {
  const files = new Map<string, FileHandleLike>();
  return {
    getFileHandle(name, options) {
      const found = files.get(name) ?? (options?.create ? memoryFile() : undefined);
      if (!found) return Promise.reject(new DOMException("no such file", "NotFoundError"));
      files.set(name, found);
      return Promise.resolve(found);
    },
    removeEntry: (name) => Promise.resolve(void files.delete(name)),
  };
}

/** A cache in memory, of one of the two kinds. */
export function cacheOf(kind: "cache" | "folder" | undefined): UrlCache | undefined {
  if (kind === undefined) return undefined;
  return kind === "cache" ? memoryCache() : memoryFolderHandle();
}
