/**
 * Runs the tests in a child process that has a Vulkan device: `deno run -A test/run.ts [options] [test files]`.
 *
 * Options: `--bun` tests on Bun, `--wgpu` opens GPUs by Deno's own `navigator.gpu` in place of Dawn and runs what uses a
 * GPU; the rest is the test runner's.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { vulkanEnvironment } from "./swiftshader.ts";

const bunVersion = "1.4.5";

/** This runtime if it is Bun, else the one on PATH, else npm's. */
function bunCommand(): string[] {
  if ("Bun" in globalThis) return [process.execPath];
  const folders = (process.env.PATH ?? "").split(delimiter);
  const found = folders.map((folder) => join(folder, "bun")).find((file) => existsSync(file));
  return found ? [found] : ["npx", "--yes", `bun@${bunVersion}`];
}

/** The files that test on a GPU: those that open the devices of devices.ts. */
function gpuTests(): string[] {
  const files = readdirSync("test").filter((name) => name.endsWith("_test.ts")).map((name) =>
    `./test/${name}`
  );
  return files.filter((file) => readFileSync(file, "utf8").includes('from "./devices.ts"'));
}

function testCommand(args: readonly string[]): string[] {
  const passed = args.filter((arg) => arg !== "--bun" && arg !== "--wgpu");
  const all = args.includes("--wgpu") ? gpuTests() : ["./test/"];
  const files = passed.some((arg) => !arg.startsWith("-")) ? [] : all;
  if (args.includes("--bun")) {
    return [...bunCommand(), "test", "--timeout", "120000", ...passed, ...files];
  }
  // Files' types have a gate of their own (`deno task check`); examples in documentation have only this one.
  const check = args.includes("--doc") ? [] : ["--no-check"];
  return [process.execPath, "test", "-A", ...check, ...passed, ...files];
}

const args = process.argv.slice(2);
const [command, ...commandArgs] = testCommand(args);
const child = spawn(command, commandArgs, {
  stdio: "inherit",
  env: {
    ...process.env,
    ...vulkanEnvironment(),
    ...(args.includes("--wgpu") ? { FOURIERFT_GPU: "navigator" } : {}),
  },
});
child.on("error", (error) => {
  console.error(`Cannot start ${command}: ${error.message}`);
  process.exitCode = 1;
});
child.on("exit", (code, signal) => {
  if (signal) console.error(`The test process ended by ${signal}`);
  process.exitCode = code ?? 1;
});
