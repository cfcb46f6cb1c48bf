/**
 * Runs the tests in child processes that have a Vulkan device: `deno run -A test/run.ts [options] [test files]`.
 *
 * Without files all of them run, each in a process of its own, two at a time: a software GPU compiles on one core. A
 * file's output is shown when its process ends. With Deno's own GPU all files run in one process: Deno aborts now and
 * then at the end of a process that used the GPU.
 *
 * `--bun` tests on Bun. `--wgpu` opens GPUs by Deno's own `navigator.gpu` in place of Dawn, and runs the files that
 * use a GPU. Other options are the test runner's.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { bunCommand } from "./bun.ts";
import { vulkanEnvironment } from "./swiftshader.ts";

const atOnce = 2;
/** Files that take more than five seconds start first, the longest before all, so that none runs alone at the end. */
const longest = [
  ...["kernels", "methods", "families", "methods_golden", "golden_http", "cli", "encoders"],
  ...["properties", "own_parameters", "mixes", "lengths", "models", "matrix_units", "fourier_limits"],
  ...["formats", "linear_golden", "serve_process", "join", "gguf_models", "engine_adapters", "arguments"],
  ...["spectral_kernels", "merging", "quantized_model", "hot_reload", "rope", "safetensors", "training"],
  ...["transforms", "combination", "examples"],
].map((name) => `./test/${name}_test.ts`);

const args = process.argv.slice(2);
const onBun = args.includes("--bun"), onWgpu = args.includes("--wgpu"), docs = args.includes("--doc");
const passed = args.filter((arg) => arg !== "--bun" && arg !== "--wgpu");
const named = docs || passed.some((arg) => !arg.startsWith("-"));

/** Whether a file's tests open a GPU by devices.ts on every runtime: what else they test, Deno's other tests have run. */
const opensGpu = (text: string): boolean =>
  (process.env.FOURIERFT_TEST_ALL === "1" || !/\binEveryGpuCase\b/.test(text)) &&
  /import \{[^}]*\b(testGpu\w*|testDevices|everyDevice)\b[^}]*\} from "\.\/devices\.ts"/.test(text);

/** The files of tests; for Naga, those that open a GPU. */
function testFiles(): string[] {
  const files = readdirSync("test").filter((name) => name.endsWith("_test.ts")).map((name) =>
    `./test/${name}`
  );
  const wanted = onWgpu ? files.filter((file) => opensGpu(readFileSync(file, "utf8"))) : files;
  return [...new Set([...longest.filter((file) => wanted.includes(file)), ...wanted])];
}

function testCommand(files: readonly string[]): string[] {
  if (onBun) return [...bunCommand(), "test", "--timeout", "120000", ...passed, ...files];
  // Files' types have a gate of their own (`deno task check`); examples in documentation have only this one.
  return [process.execPath, "test", "-A", ...(docs ? [] : ["--no-check"]), ...passed, ...files];
}

/** Runs a command; what it prints is shown at once, or when it ends. Returns whether it succeeded. */
function run([command, ...commandArgs]: string[], show: "at once" | "when it ends"): Promise<boolean> {
  const child = spawn(command, commandArgs, {
    stdio: show === "at once" ? "inherit" : ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      ...vulkanEnvironment(),
      ...(onWgpu ? { FOURIERFT_GPU: "navigator" } : {}),
    },
  });
  const printed: Uint8Array[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Uint8Array) => printed.push(chunk));
  }
  return new Promise((resolve) => {
    child.on("error", (error) => {
      console.error(`Cannot start ${command}: ${error.message}`);
      resolve(false);
    });
    child.on("close", (code, signal) => {
      for (const chunk of printed) process.stdout.write(chunk);
      if (signal) console.error(`The test process ended by ${signal}`);
      resolve(code === 0);
    });
  });
}

/** Runs every file, and says at the end which took longest, and which failed. */
async function runAll(files: readonly string[]): Promise<boolean> {
  const waiting = [...files],
    failed: string[] = [],
    took: { readonly file: string; readonly ms: number }[] = [];
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (let file = waiting.shift(); file; file = waiting.shift()) {
      const begin = performance.now();
      if (!await run(testCommand([file]), "when it ends")) failed.push(file);
      took.push({ file, ms: performance.now() - begin });
    }
  }));
  console.log("The slowest, in seconds by the clock:");
  for (const { file, ms } of took.sort((a, b) => b.ms - a.ms).slice(0, 10)) {
    console.log(`${(ms / 1000).toFixed(1).padStart(7)}  ${file}`);
  }
  console.log(failed.length === 0 ? `All ${files.length} files passed` : `Failed: ${failed.join(" ")}`);
  return failed.length === 0;
}

const succeeded = named || onWgpu
  ? await run(testCommand(named ? [] : testFiles()), "at once")
  : await runAll(testFiles());
if (!succeeded) process.exitCode = 1;
