/**
 * A program that computes on the CPU device, and ends without a word to it: `... cpu_thread_program.ts [without-shared-memory]`.
 *
 * @module
 */
import process from "node:process";
import { openCpuDevice, step, tensor } from "../mod.ts";
import { add } from "../kernels/mod.ts";

if (process.argv[2] === "without-shared-memory") {
  delete (globalThis as { SharedArrayBuffer?: unknown }).SharedArrayBuffer;
}
const device = await openCpuDevice();
console.log(device.description);
const x = device.upload(tensor(Float32Array.of(1, 2, 3)));
const program = await device.prepare([step(add, { x, y: x }, { count: 3 })]);
device.run(program);
console.log(String(await device.runAndRead(program, x)));
// One that nobody waits for, so that the thread may be at work when the process ends.
device.run(program);
