/**
 * The playground: a page at `/` and its files, which talk to the server's routes.
 *
 * @module
 */

/** A file of a page. */
export interface PageFile {
  /** Its `content-type`. */
  readonly type: string;
  readonly body: Uint8Array<ArrayBuffer>;
  /** The body, packed by gzip. */
  readonly gzip?: Uint8Array<ArrayBuffer>;
  /** An entity tag without quotes: another one for other bytes. */
  readonly version: string;
}

/** A page's files by their paths, e.g. `assets/page.js`. `index.html` is the page at `/`. */
export type Page = ReadonlyMap<string, PageFile>;

/**
 * The page names in itself which scripts may run; a header alone can keep it out of frames. Isolated from other origins
 * it may have threads that share memory.
 */
const pageHeaders = {
  "content-security-policy": "frame-ancestors 'none'",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "cache-control": "no-cache",
  vary: "accept-encoding",
};

/** The page's `playground.json`: it talks to the server that it comes from. */
const configuration = { server: "./", models: [] };

/** The answer to a GET of one of a page's files; undefined for other paths. */
export function pageAnswer(page: Page, request: Request): Response | undefined {
  const path = new URL(request.url).pathname.slice(1);
  if (path === "playground.json") return Response.json(configuration, { headers: pageHeaders });
  const file = page.get(path === "" ? "index.html" : path);
  if (!file) return undefined;
  const etag = `"${file.version}"`;
  const headers = { ...pageHeaders, etag };
  if (request.headers.get("if-none-match") === etag) return new Response(null, { status: 304, headers });
  const packs = file.gzip && /\bgzip\b/.test(request.headers.get("accept-encoding") ?? "");
  return new Response(packs ? file.gzip : file.body, {
    headers: { ...headers, "content-type": file.type, ...(packs ? { "content-encoding": "gzip" } : {}) },
  });
}
