/**
 * Builds the documentation's site: `deno task site` writes static files to dist/site.
 *
 * VitePress and TypeDoc are packages of this folder alone, installed here. SITE_BASE is the path that a host serves the site
 * at, with slashes (`/fourierft/`); `/` unless told.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { hero } from "./hero.ts";
import { deadLinks } from "./links.ts";
import { writePages } from "./pages.ts";

const here = import.meta.dirname!, root = join(here, "..");
/** Pages as Markdown, and as HTML. */
const pages = join(here, "pages"), out = join(root, "dist/site");
const base = process.env.SITE_BASE ?? "/";

function run(command: string, args: readonly string[]): void {
  execFileSync(command, args, {
    cwd: here,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, SITE_BASE: base, NO_COLOR: "1" },
  });
}

/** Doors by the names that programs import; the command line has none. */
function doors(): Record<string, string> {
  const { name, exports } = JSON.parse(
    readFileSync(join(root, "package.json"), "utf8"),
  );
  return Object.fromEntries(
    Object.entries<string>(exports).map((
      [door, source],
    ) => [`${name}${door.slice(1)}`, source.slice(2)]),
  );
}

if (!/^\/(?:[\w.-]+\/)*$/.test(base)) {
  throw new Error(
    `Cannot build for SITE_BASE "${base}": it must begin and end with a slash`,
  );
}
run("npm", [
  "ci",
  "--no-audit",
  "--no-fund",
  "--ignore-scripts",
  "--loglevel=error",
]);
rmSync(pages, { recursive: true, force: true });
mkdirSync(pages);
const { documents, sources } = writePages(root, pages);
cpSync(join(here, "index.md"), join(pages, "index.md"));
cpSync(join(here, "public"), join(pages, "public"), { recursive: true });
writeFileSync(join(pages, "public/hero.svg"), await hero());
run("node", ["api.mjs", JSON.stringify(doors()), join(pages, "api")]);
run("node", ["node_modules/vitepress/bin/vitepress.js", "build", "."]);

const dead = deadLinks(out, base);
for (const one of dead) console.error(one);
console.log(
  `${out}: ${documents} documents, ${sources} sources, ${dead.length} dead links`,
);
if (dead.length > 0) process.exitCode = 1;
