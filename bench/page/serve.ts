/**
 * Serves the page that benches the kernels: `deno task bench:page`, then open http://localhost:8000/.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { bundle } from "../../test/browser/bundle.ts";

/** The page's files by path. */
export function pageFiles(): ReadonlyMap<string, { readonly type: string; readonly body: string }> {
  const here = import.meta.dirname!;
  return new Map([
    ["/", { type: "text/html", body: readFileSync(join(here, "index.html"), "utf8") }],
    ["/page.js", { type: "text/javascript", body: bundle(join(here, "page.ts")) }],
  ]);
}

if (import.meta.main) {
  const files = pageFiles();
  const port = Number(process.env.PORT ?? 8000);
  createServer((request, response) => {
    const file = files.get(new URL(request.url ?? "/", "http://localhost").pathname);
    if (file) response.writeHead(200, { "content-type": file.type }).end(file.body);
    else response.writeHead(404).end();
  }).listen(port, "127.0.0.1", () => console.log(`http://localhost:${port}/`));
}
