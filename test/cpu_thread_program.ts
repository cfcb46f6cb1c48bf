/**
 * Programs that compute on the CPU device, and end without a word to it:
 * `... cpu_thread_program.ts [without-shared-memory | forgotten]`.
 *
 * @module
 */
import process from "node:process";
import { step, tensor } from "../mod.ts";
import { add } from "../kernels/mod.ts";
import { sharedModule } from "../src/device/shared_memory.ts";
import { threadedCpuDevice } from "../src/device/threaded_cpu.ts";
import type { ModuleWorker } from "../src/device/worker.ts";
import { openCpuDevice, startCpuThreads } from "../src/runtime/open_cpu.ts";
import { turn } from "./until.ts";

interface Collecting {
  gc?(): void;
  readonly Bun?: { gc(now: boolean): void };
}

/** A device's thread alone: nothing holds the device. */
async function threadOfNobody(): Promise<ModuleWorker> {
  let thread: ModuleWorker;
  const device = await threadedCpuDevice(
    sharedModule(),
    async (setup, threads) => thread = await startCpuThreads(setup, threads),
    { threads: 2 },
  );
  device.upload(tensor(Float32Array.of(1)));
  return thread!;
}

async function forgetDevice(): Promise<void> {
  const thread = await threadOfNobody();
  let reason: string | undefined;
  thread.onEnd((why) => reason = why);
  const { gc, Bun } = globalThis as Collecting;
  while (reason === undefined) {
    if (Bun) Bun.gc(true);
    else gc!();
    await turn();
  }
  console.log(reason);
}

async function compute(): Promise<void> {
  const device = await openCpuDevice();
  console.log(device.description);
  const x = device.upload(tensor(Float32Array.of(1, 2, 3)));
  const program = await device.prepare([step(add, { x, y: x }, { count: 3 })]);
  device.run(program);
  console.log(String(await device.runAndRead(program, x)));
  // One that nobody waits for, so that the thread may be at work when the process ends.
  device.run(program);
}

if (process.argv[2] === "without-shared-memory") {
  delete (globalThis as { SharedArrayBuffer?: unknown }).SharedArrayBuffer;
}
await (process.argv[2] === "forgotten" ? forgetDevice() : compute());
