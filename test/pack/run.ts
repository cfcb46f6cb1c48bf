/**
 * Tests the npm packages as their users get them. They are built and installed in an empty project, where the programs of
 * `user/` run on Node.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { root } from "../architecture.ts";
import { bunCommand } from "../bun.ts";
import { vulkanEnvironment } from "../swiftshader.ts";
import { buildPackage } from "./build.ts";
import { buildSafetensors } from "./safetensors.ts";

const project = mkdtempSync(join(tmpdir(), "fourierft-user-"));
const examples = ["kernels_alone.ts", "train.ts", "worker.ts", "wrangler.toml"];

/** How each runtime runs a program. */
const runtimes = {
  Node: ["node"],
  Bun: [...bunCommand(), "run"],
  Deno: [process.execPath, "run", "-A", "--node-modules-dir=manual"],
};

function run(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): void {
  execFileSync(command, args, {
    cwd: project,
    stdio: "inherit",
    env: { ...process.env, ...vulkanEnvironment(), ...env },
  });
}

try {
  const tarball = await buildPackage(), safetensors = await buildSafetensors();
  cpSync(join(root, "test/pack/user"), project, { recursive: true });
  for (const name of examples) cpSync(join(root, "examples", name), join(project, "examples", name));
  run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error", tarball, safetensors]);
  const tests = readdirSync(project).filter((name) => name.endsWith("_test.mjs"));
  run("node", ["--test", ...tests], {
    DEMO: join(root, "examples/demo"),
    RUNTIMES: JSON.stringify(runtimes),
    TARBALL: tarball,
    SAFETENSORS_TARBALL: safetensors,
  });
} finally {
  rmSync(project, { recursive: true });
}
