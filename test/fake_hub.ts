/**
 * A hub of models on loopback, which breaks as real ones do.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** How a hub misbehaves; each way is asked for by a test. */
export interface Faults {
  /** Ends a file's answers after so many bytes, so many times. */
  cut?: { readonly bytes: number; times: number };
  /** Answers with this status instead, so many times. */
  status?: { readonly code: number; times: number };
  /** Sends whole files, whatever range is asked for. */
  noRanges?: boolean;
  /** Sends files with other bytes than the list of files says. */
  wrongBytes?: boolean;
  /** Sends this in place of the list of files. */
  listing?: unknown;
  /** Takes requests, and says nothing. */
  silent?: boolean;
  /** Begins a file, and sends nothing more. */
  stall?: boolean;
}

/** A hub that a test asks. */
export interface FakeHub {
  readonly endpoint: string;
  readonly faults: Faults;
  /** Paths that were asked for, with the range. */
  readonly asked: string[];
  readonly commit: string;
  close(): Promise<void>;
}

/** The token that a private repository takes. */
export const goodToken = "hf_good";

const gitHash = (bytes: Uint8Array): string =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Files of 1,000 bytes and more are large: their list has a SHA-256. */
function entryOf([path, bytes]: readonly [string, Uint8Array]): unknown {
  const large = bytes.length >= 1000
    ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } }
    : {};
  return { type: "file", path, size: bytes.length, oid: gitHash(bytes), ...large };
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

function sendFile(
  { request, response, bytes, faults }: {
    request: IncomingMessage;
    response: ServerResponse;
    bytes: Uint8Array;
    faults: Faults;
  },
): void {
  const range = faults.noRanges && request.headers.range !== "bytes=0-0"
    ? undefined
    : /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  const first = range ? Number(range[1]) : 0;
  if (range && first >= bytes.length && bytes.length > 0) return void response.writeHead(416).end();
  const last = Math.min(range ? Number(range[2]) : Infinity, bytes.length - 1);
  const sent = faults.wrongBytes ? bytes.map((byte) => byte ^ 1) : bytes;
  response.writeHead(range ? 206 : 200, {
    "content-length": last - first + 1,
    etag: `"${gitHash(bytes)}"`,
    ...(range ? { "content-range": `bytes ${first}-${last}/${bytes.length}` } : {}),
  });
  const body = sent.subarray(first, last + 1);
  const probe = request.headers.range === "bytes=0-0";
  if (faults.stall && !probe) return void response.write(body.subarray(0, 1));
  const { cut } = faults;
  if (!cut || probe || cut.times === 0 || body.length <= cut.bytes) return void response.end(body);
  cut.times--;
  response.write(body.subarray(0, cut.bytes), () => response.destroy());
}

/** Starts a hub with one repository; `isPrivate` wants {@linkcode goodToken}. */
export async function fakeHub(
  repo: string,
  files: ReadonlyMap<string, Uint8Array>,
  { isPrivate = false }: { readonly isPrivate?: boolean } = {},
): Promise<FakeHub> {
  const commit = sha256(new TextEncoder().encode([...files.keys()].join())).slice(0, 40);
  const faults: Faults = {};
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url!, "http://hub").pathname);
    asked.push(`${path} ${request.headers.range ?? ""}`.trim());
    if (faults.silent) return;
    const { status } = faults;
    if (status && status.times > 0) {
      status.times--;
      return json(response, status.code, { error: "as the test asks" });
    }
    const known = path.includes(`/${repo}/`);
    if (!known || (isPrivate && request.headers.authorization !== `Bearer ${goodToken}`)) {
      return json(response, 401, { error: "Invalid username or password." });
    }
    const revision = /\/revision\/(.+)$/.exec(path)?.[1];
    if (revision !== undefined) {
      if (!["main", "v1", "refs/pr/1", commit].includes(revision)) {
        return json(response, 404, { error: `Invalid rev id: ${revision}` });
      }
      return json(response, 200, { _id: "1", id: repo, sha: commit, lastModified: "2026-01-01T00:00:00Z" });
    }
    if (path.includes("/tree/")) return json(response, 200, faults.listing ?? [...files].map(entryOf));
    const bytes = files.get(path.slice(`/${repo}/resolve/${commit}/`.length));
    if (!bytes) return json(response, 404, { error: "Entry not found" });
    sendFile({ request, response, bytes, faults });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    faults,
    asked,
    commit,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
