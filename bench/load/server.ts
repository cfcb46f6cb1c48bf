/**
 * A server of the demo model on the CPU as a process, its adapters, and its memory. Linux: memory is read from /proc.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { link, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";

const base = "examples/demo/base", adapter = "examples/demo/adapters/fourierft-kjv-qv";

/** The operator's token: adapters are loaded before they are asked for. */
const token = "token-of-the-load-bench";

export const nameOf = (i: number): string => `adapter-${String(i).padStart(5, "0")}`;

/**
 * Makes so many adapters: the demo's weights, linked, each with a scaling of its own. Equal files would be one adapter on
 * the device.
 */
export async function makeAdapters(folder: string, count: number): Promise<void> {
  const config = JSON.parse(await readFile(join(adapter, "adapter_config.json"), "utf8"));
  // Links do not lead from one disk to another.
  const weights = join(folder, ".weights");
  await writeFile(weights, await readFile(join(adapter, "adapter_model.safetensors")));
  for (let i = 0; i < count; i++) {
    const own = join(folder, nameOf(i)), scaling = config.scaling * (6 * i / count - 3);
    await mkdir(own);
    await writeFile(join(own, "adapter_config.json"), JSON.stringify({ ...config, scaling }));
    await link(weights, join(own, "adapter_model.safetensors"));
  }
}

/** A server that listens. */
export interface Server {
  readonly url: string;
  /** Resident bytes. */
  memory(): Promise<number>;
  /** Puts an adapter on the device. */
  load(name: string): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a server of a folder's adapters, with more flags. */
export async function startServer(folder: string, flags: readonly string[]): Promise<Server> {
  const child = spawn(process.execPath, [
    ...["run", "-A", "--no-check", "--unstable-no-legacy-abort", "src/cli/main.ts", "serve", "--port", "0"],
    ...["--model", base, "--adapters", folder, "--device", "cpu", "--drain-seconds", "1"],
    ...["--operator-token", token],
    ...flags,
  ], { stdio: ["ignore", "ignore", "pipe"] });
  let told = "";
  const url = await new Promise<string>((resolve, reject) => {
    child.on("exit", () => reject(new Error(`the server ended: ${told}`)));
    child.stderr.on("data", (bytes: Uint8Array) => {
      told = (told + new TextDecoder().decode(bytes)).slice(-4000);
      const found = /listening on (http:\S+)/.exec(told);
      if (found) resolve(found[1]);
    });
  });
  return {
    url,
    async memory() {
      const text = await readFile(`/proc/${child.pid}/status`, "utf8");
      return 1024 * Number(/VmRSS:\s+(\d+) kB/.exec(text)![1]);
    },
    async load(name) {
      const response = await fetch(`${url}/v1/adapters`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
        body: JSON.stringify({ id: name }),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${response.status}: ${text}`);
    },
    async stop() {
      const ended = new Promise((resolve) => child.on("exit", resolve));
      child.kill("SIGTERM");
      await ended;
    },
  };
}
