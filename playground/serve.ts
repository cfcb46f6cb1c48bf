/**
 * Builds the page with the demo model beside it, and serves the folder: `deno task playground [PORT]`.
 *
 * The folder, dist/playground, needs nothing but a server of files.
 *
 * @module
 */
import { serveStatic } from "@hono/node-server/serve-static";
import { Hono } from "hono";
import { serveApp, type Served } from "fourierft/node";
import { cpSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { buildPlayground, playgroundFolder, root } from "./build.ts";

/** What a server of files says for the page to have threads that share memory; without it the page has one. */
const isolating = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

/** What a list says of an adapter, so that a page need not ask for its files. */
function describedIn(folder: string): { readonly peftType: string; readonly sizeBytes: number } {
  const files = ["adapter_config.json", "adapter_model.safetensors"].map((name) => join(folder, name));
  const { peft_type: peftType } = JSON.parse(readFileSync(files[0], "utf8"));
  return { peftType, sizeBytes: files.reduce((sum, file) => sum + statSync(file).size, 0) };
}

/** Copies the demo model into a built page, and names it there. */
export function addDemo(folder: string): void {
  const demo = join(root, "examples/demo");
  for (const part of ["base", "adapters"]) {
    cpSync(join(demo, part), join(folder, "demo", part), { recursive: true });
  }
  const adapters = readdirSync(join(demo, "adapters")).sort();
  const model = {
    name: "Demo",
    url: "demo/base/",
    adapters: adapters.map((id) => ({
      id,
      url: `demo/adapters/${id}/`,
      ...describedIn(join(demo, "adapters", id)),
    })),
    columns: ["fourierft-kjv", "fourierft-jargon"],
    prompts: ["The king", "A hacker is", "In the beginning", "My fellow citizens"],
  };
  writeFileSync(join(folder, "playground.json"), `${JSON.stringify({ models: [model] }, null, 2)}\n`);
}

/** Serves a built page. */
export function servePage(folder: string, port: number): Promise<Served> {
  const app = new Hono();
  app.use("*", async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(isolating)) c.header(name, value);
  });
  app.use("*", serveStatic({ root: folder }));
  return serveApp(app.fetch, { port, hostname: "127.0.0.1" });
}

const usage = "deno task playground [PORT]";

/** The port that an argument says. */
function portOf(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new Error(
    `Cannot serve on port "${text}": it must be a whole number from 0 to 65535. Usage: ${usage}`,
  );
}

async function main(text = "8001", ...more: readonly string[]): Promise<void> {
  if (more.length > 0) throw new Error(`Cannot use argument "${more[0]}". Usage: ${usage}`);
  const port = portOf(text);
  await buildPlayground(playgroundFolder);
  addDemo(playgroundFolder);
  const served = await servePage(playgroundFolder, port);
  console.log(`playground: http://127.0.0.1:${served.port}/`);
}

if (import.meta.main) {
  try {
    await main(...process.argv.slice(2));
  } catch (error) {
    console.error((error as Error).message);
    process.exit(1);
  }
}
