/**
 * A copy of the repository with changed source, and a test file run in the copy.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { cp, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import process from "node:process";

/** Where tests look for a file by its path from a module, so that a link would lead them back to the unchanged source. */
const copied = ["src", "kernels", "test", "mod.ts"];
const left = [".git", "dist", ".gpu-host", "deno.json", "deno.lock"];

/** Makes the folder `tree`: the repository with the files of `source` in place of its own. */
export async function makeTree(tree: string, source: string): Promise<void> {
  await rm(tree, { recursive: true, force: true });
  await mkdir(tree, { recursive: true });
  for (const name of await readdir(".")) {
    if (left.includes(name)) continue;
    if (copied.includes(name)) await cp(name, `${tree}/${name}`, { recursive: true });
    else await symlink(resolve(name), `${tree}/${name}`);
  }
  await cp(source, tree, { recursive: true });
  // Packages are those that are installed already: hundreds of processes must not look for others.
  const config = JSON.parse(await readFile("deno.json", "utf8"));
  await writeFile(`${tree}/deno.json`, JSON.stringify({ ...config, nodeModulesDir: "manual", lock: false }));
}

/** How a test file's run ended. */
export interface Ended {
  readonly outcome: "passed" | "failed" | "timeout";
  readonly printed: string;
}

/** Runs a test file of a tree on the CPU alone; preload.ts reads its part of `env`. */
export function runTests(
  tree: string,
  file: string,
  env: Readonly<Record<string, string>>,
  timeoutMs = Infinity,
): Promise<Ended> {
  const options = [
    "-A",
    "--no-check",
    "--cached-only",
    "--fail-fast",
    "--preload",
    "test/mutation/preload.ts",
  ];
  const child = spawn(process.execPath, ["test", ...options, "--v8-flags=--max-old-space-size=1024", file], {
    cwd: tree,
    env: { ...process.env, NO_COLOR: "1", FOURIERFT_TEST_GPU: "none", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const printed: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => printed.push(text));
  }
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, Math.min(timeoutMs, 2 ** 31 - 1));
  return new Promise((done, fail) => {
    child.on("error", fail);
    child.on("close", (code) => {
      clearTimeout(timer);
      const outcome = late ? "timeout" : code === 0 ? "passed" : "failed";
      done({ outcome, printed: printed.join("") });
    });
  });
}
