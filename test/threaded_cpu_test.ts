/**
 * The CPU device with a thread of its own: what it does in which order, beside the device on the calling thread.
 *
 * @module
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { add, anyKernel, embedding, type Kernel, linear, scale } from "../kernels/mod.ts";
import { wasmBytes } from "../kernels/wasm_bytes.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { counters } from "../src/device/cpu_commands.ts";
import { type Device, DeviceError, type Program } from "../src/device/device.ts";
import { sharedModule } from "../src/device/shared_memory.ts";
import { threadedCpuDevice } from "../src/device/threaded_cpu.ts";
import { openCpuDevice, startCpuThreads } from "../src/runtime/open_cpu.ts";
import { openDevice } from "../src/runtime/open_device.ts";
import type { ModuleWorker } from "../src/device/worker.ts";
import { startWorker } from "../src/runtime/worker.ts";
import { type Plan, type Step, step } from "../src/plan.ts";
import { type HostTensor, slice, type Tensor, tensor } from "../src/tensor.ts";

/** A device, the thread under it, which a test may end, and the ring between them. */
async function openWithThread(): Promise<{ device: Device; thread: ModuleWorker; ring: Int32Array }> {
  let thread: ModuleWorker, ring: Int32Array;
  const device = await threadedCpuDevice(sharedModule(), async (setup) => {
    ring = setup.ring;
    return thread = await startCpuThreads(setup, 1);
  });
  return { device, thread: thread!, ring: ring! };
}

/** A kernel of a user's own: the thread does not have it. */
const ofUser = (name: string, run: Kernel["reference"]): Kernel => ({
  ...anyKernel(add),
  name,
  reference: run,
  cpu: undefined,
  wasm: undefined,
});

/** y = 2 y + x, which is another number in any other order. */
const doubled = ofUser("doubled", ({ x, y }) => {
  for (let i = 0; i < x.length; i++) y[i] = 2 * y[i] + x[i];
});

const broken = ofUser("broken", () => {
  throw new RangeError("it is broken");
});

const count = 16;

const stepOf = (kernel: Kernel, x: Tensor, y: Tensor): Step => ({
  kernel,
  buffers: { x, y },
  uniforms: { count },
});

const ones = (n = count): HostTensor => tensor(new Float32Array(n).fill(1));

/** A product that takes some tenths of a second. */
async function longProgram(device: Device): Promise<{ program: Program; y: Tensor }> {
  const rows = 256, size = 1024;
  const y = device.alloc([rows, size], "float32");
  const buffers = {
    x: device.alloc([rows, size], "float32"),
    weight: device.alloc([size, size], "float32"),
    y,
  };
  const uniforms = { rows, in: size, out: size, accumulate: 0 };
  const one = step(linear, buffers, uniforms);
  return { program: await device.prepare([one, one, one, one]), y };
}

test("openCpuDevice says that it has threads of its own, and keeps to the calling one where it is told to", async () => {
  for (const [threads, words] of [[1, "one thread"], [2, "2 threads"], [3, "3 threads"]] as const) {
    const device = await openCpuDevice({ threads });
    assert.match(device.description, new RegExp(`^CPU \\(WASM (relaxed )?SIMD, ${words} of its own\\)$`));
    device.destroy();
  }
  const scripts = await openCpuDevice({ wasm: false });
  assert.equal(scripts.description, "CPU (TypeScript, one thread of its own)");
  scripts.destroy();
  assert.equal((await openCpuDevice({ worker: false })).description, cpuDevice().description);
  const opened = await openDevice({ kind: "cpu" });
  assert.match(opened.description, /threads? of its own/);
  opened.destroy();
});

test("openCpuDevice falls back to the calling thread with a module whose memory cannot be shared, and says why", async () => {
  const module = new WebAssembly.Module(wasmBytes());
  const device = await openCpuDevice({ wasm: module });
  assert.match(device.description, /^CPU \(WASM SIMD, one thread: .+\)$/);
  const y = device.upload(ones());
  assert.deepEqual(await device.read(y), ones().data);
});

/** What a random program does; tensors and programs are named by numbers, taken modulo how many there are. */
type Operation =
  | { readonly do: "upload" | "release" | "read" | "readPart" | "grow"; readonly a: number }
  | { readonly do: "run" | "runUnknown" | "copy"; readonly a: number; readonly b: number }
  | { readonly do: "write"; readonly a: number; readonly at: number; readonly value: number };

const small = fc.nat(20);
const operations: fc.Arbitrary<Operation[]> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constantFrom("upload", "read", "readPart", "release"), a: small }),
    },
    { weight: 6, arbitrary: fc.record({ do: fc.constantFrom("run", "copy"), a: small, b: small }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("runUnknown"), a: small, b: small }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("write"), a: small, at: fc.nat(7), value: small }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("grow"), a: fc.nat(3) }) },
  ) as fc.Arbitrary<Operation>,
  { minLength: 1, maxLength: 120 },
);

/** What is read when the operations are done without waiting for any. */
async function results(device: Device, list: readonly Operation[]): Promise<readonly (readonly number[])[]> {
  const tensors: Tensor[] = [device.upload(ones()), device.alloc([count], "float32")];
  const pick = (i: number): Tensor => tensors[i % tensors.length];
  const factor = device.upload(tensor(Float32Array.of(0.25)));
  // Programs are prepared as they are needed: preparing is the one thing that is waited for.
  const reads: Promise<ArrayLike<number>>[] = [];
  for (const one of list) {
    if (one.do === "upload") tensors.push(device.upload(tensor(new Float32Array(count).fill(one.a))));
    else if (one.do === "grow") tensors.push(slice(device.alloc([2 ** (18 + one.a)], "float32"), 64, count));
    else if (one.do === "release" && tensors.length > 2) {
      device.release(tensors.splice(one.a % tensors.length, 1)[0]);
    } else if (one.do === "read") reads.push(device.read(pick(one.a)));
    else if (one.do === "readPart") reads.push(device.read(pick(one.a), { at: one.a % 8, count: 5 }));
    else if (one.do === "copy") device.copy(pick(one.a), pick(one.b));
    else if (one.do === "write") device.write(pick(one.a), new Float32Array(9).fill(one.value), one.at);
    else if (one.do === "run" || one.do === "runUnknown") {
      const kernel = one.do === "run" ? anyKernel(add) : doubled;
      const shrink = step(scale, { factor, y: pick(one.b) }, { count });
      const plan: Plan = [stepOf(kernel, pick(one.a), pick(one.b)), shrink];
      const program = await device.prepare(plan);
      device.run(program);
      device.run(program);
      program.release();
    }
  }
  for (const t of tensors) reads.push(device.read(t));
  return (await Promise.all(reads)).map((data) => [...Array.from(data)]);
}

test("openCpuDevice reads what cpuDevice reads, whatever is asked for in whatever order", async () => {
  const device = await openCpuDevice();
  await fc.assert(
    fc.asyncProperty(operations, async (list) => {
      assert.deepEqual(await results(device, list), await results(cpuDevice(), list));
    }),
    { numRuns: 60 },
  );
  device.destroy();
});

test("openCpuDevice goes through more commands than its ring holds, in order", async () => {
  const device = await openCpuDevice();
  const x = device.upload(ones()), y = device.upload(ones());
  const program = await device.prepare([stepOf(anyKernel(add), x, y)]);
  const reads = [];
  for (let i = 1; i <= 5000; i++) {
    device.run(program);
    if (i % 1000 === 0) reads.push(device.read(y, { at: 0, count: 1 }));
    if (i === 2500) device.write(x, new Float32Array(count).fill(2));
  }
  assert.deepEqual((await Promise.all(reads)).map(([value]) => value), [1001, 2001, 3501, 5501, 7501]);
  device.destroy();
});

test("openCpuDevice: a thread that is woken for nothing goes on waiting", async () => {
  const { device, ring } = await openWithThread();
  const x = device.upload(ones()), y = device.upload(ones());
  const program = await device.prepare([stepOf(anyKernel(add), x, y)]);
  for (let woken = 0; woken < 20;) {
    woken += Atomics.notify(ring, counters.submitted);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.equal(Atomics.load(ring, counters.done), Atomics.load(ring, counters.submitted));
  assert.deepEqual([...await device.runAndRead(program, y)], Array(count).fill(2));
  device.destroy();
});

test("openCpuDevice: memory grows while programs run, and their tensors stay where they are", async () => {
  const device = await openCpuDevice();
  const { program, y } = await longProgram(device);
  const x = device.upload(ones()), z = device.upload(ones());
  const adding = await device.prepare([stepOf(anyKernel(add), x, z)]);
  device.run(program);
  device.run(adding);
  const before = (z as HostTensor).data.buffer;
  const large = device.alloc([2 ** 22], "float32");
  assert.notEqual((z as HostTensor).data.buffer, before, "the memory did not grow: this test shows nothing");
  // The thread has to see what lies in the new part, too.
  const last = slice(large, 2 ** 22 - count, count);
  device.run(await device.prepare([stepOf(anyKernel(add), z, last)]));
  assert.deepEqual([...await device.read(last)], Array(count).fill(2));
  assert.ok((await device.read(y)).every((value) => value === 0));
  device.destroy();
});

test("openCpuDevice: a released tensor's room is not given out before the runs that use it are done", async () => {
  const device = await openCpuDevice();
  const { program, y } = await longProgram(device);
  const x = device.upload(ones()), z = device.upload(ones());
  const adding = await device.prepare([stepOf(anyKernel(add), x, z)]);
  device.run(program);
  device.run(adding);
  const reading = device.read(z);
  device.release(z);
  device.release(x);
  const next = [device.alloc([count], "float32"), device.alloc([count], "float32")];
  assert.deepEqual([...await reading], Array(count).fill(2));
  for (const t of next) assert.deepEqual([...await device.read(t)], Array(count).fill(0));
  device.release(y);
  device.destroy();
});

test("openCpuDevice refuses to write and copy beyond a tensor's end while programs run", async () => {
  const device = await openCpuDevice();
  const { program } = await longProgram(device);
  const x = device.upload(ones()), longer = device.upload(ones(2 * count));
  device.run(program);
  assert.throws(() => device.write(x, new Float32Array(5), count - 4), /Cannot write 5 elements at 12/);
  assert.throws(() => device.write(x, new Float32Array(5), -1), RangeError);
  assert.throws(() => device.copy(longer, x), /Cannot copy 32 elements/);
  // A range is what `subarray` makes of it, as on the calling thread.
  const read = device.read(x, { at: count - 2, count: 5 });
  assert.deepEqual([...await read], [1, 1]);
  device.destroy();
});

test("openCpuDevice: a device made of it by spreading works as it does", async () => {
  const device = await openCpuDevice();
  const spread: Device = { ...device, runsAhead: false };
  const x = spread.upload(ones()), y = spread.upload(ones());
  const program = await spread.prepare([stepOf(anyKernel(add), x, y)]);
  assert.deepEqual([...await spread.runAndRead(program, y)], Array(count).fill(2));
  spread.destroy();
});

test("openCpuDevice hands out copies that share no memory", async () => {
  const device = await openCpuDevice();
  const x = device.upload(ones()), y = device.upload(ones());
  const program = await device.prepare([stepOf(anyKernel(add), x, y)]);
  for (const read of [await device.read(x), await device.runAndRead(program, y)]) {
    assert.ok(read.buffer instanceof ArrayBuffer);
    assert.equal(read.byteLength, read.buffer.byteLength);
  }
  device.destroy();
});

test("openCpuDevice runs a kernel that the package lacks on the calling thread, in its turn", async () => {
  const device = await openCpuDevice();
  const x = device.upload(ones()), y = device.upload(ones());
  const program = (kernel: Kernel): Promise<Program> => device.prepare([stepOf(kernel, x, y)]);
  const [first, own] = [await program(anyKernel(add)), await program(doubled)];
  const { program: long } = await longProgram(device);
  for (const one of [long, first, own, first, long, own]) device.run(one);
  // ((1 + 1) 2 + 1 + 1) 2 + 1
  assert.deepEqual([...await device.read(y)], Array(count).fill(13));
  // One of a listed kernel's name is not that kernel.
  const named = await program(ofUser("add", ({ y }) => void y.fill(5)));
  assert.deepEqual([...await device.runAndRead(named, y)], Array(count).fill(5));
  const launches = (await device.trace(own)).launches;
  assert.deepEqual(launches.map(({ kernel }) => kernel), ["doubled"]);
  device.destroy();
});

test("openCpuDevice: what a kernel throws on the thread rejects the reads after it, and names the kernel", async () => {
  const device = await openCpuDevice();
  const x = device.upload(ones()), y = device.upload(ones());
  const good = await device.prepare([stepOf(anyKernel(add), x, y)]);
  // An id that its table has not: it is read far behind the memory's end.
  const ids = device.upload(tensor(Uint32Array.of(2 ** 20)));
  const beyond = step(embedding, { ids, weight: x, y }, { rows: 1, dim: count, vocab: 2 ** 24 });
  const bad = await device.prepare([beyond]);
  const before = device.runAndRead(good, y);
  const reads = [device.runAndRead(bad, y), device.runAndRead(good, y)];
  assert.deepEqual([...await before], Array(count).fill(2));
  for (const read of reads) {
    await assert.rejects(read, /Cannot run the kernel "embedding": RuntimeError: .*bounds/i);
  }
  // Whoever has not waited is told at the next read, and the device goes on.
  device.run(bad);
  await assert.rejects(device.read(y), /Cannot run the kernel "embedding"/);
  await assert.rejects(device.trace(bad), /Cannot run the kernel "embedding"/);
  device.write(y, ones().data);
  assert.deepEqual([...await device.runAndRead(good, y)], Array(count).fill(2));
  device.destroy();
});

test("openCpuDevice: what a user's kernel throws is thrown by run, or rejects the read after it", async () => {
  const device = await openCpuDevice();
  const x = device.upload(ones()), y = device.upload(ones());
  const bad = await device.prepare([stepOf(broken, x, y)]);
  assert.throws(() => device.run(bad), /it is broken/);
  const { program: long } = await longProgram(device);
  device.run(long);
  device.run(bad);
  await assert.rejects(device.read(y), /it is broken/);
  assert.deepEqual([...await device.read(y)], Array(count).fill(1));
  device.destroy();
});

test("openCpuDevice: a thread that ends rejects all that is pending, and makes later calls throw", async () => {
  const { device, thread } = await openWithThread();
  const { program, y } = await longProgram(device);
  const own = await device.prepare([stepOf(doubled, device.upload(ones()), device.upload(ones()))]);
  device.run(program);
  device.run(own);
  const pending = [device.read(y), device.runAndRead(program, y), device.trace(program)];
  thread.end();
  for (const one of pending) await assert.rejects(one, DeviceError);
  const dead = (error: Error): boolean =>
    error instanceof DeviceError &&
    /its worker .*Open a new device, or one on this thread/.test(error.message);
  assert.throws(() => device.run(program), dead);
  assert.throws(() => device.run(own), dead);
  assert.throws(() => device.alloc([1], "float32"), dead);
  assert.throws(() => device.upload(ones()), dead);
  assert.throws(() => device.write(y, new Float32Array(1)), dead);
  assert.throws(() => device.copy(y, y), dead);
  await assert.rejects(device.prepare([]), dead);
  await assert.rejects(device.read(y), dead);
  await assert.rejects(device.trace(program), dead);
  program.release();
  device.release(y);
  device.destroy();
});

/** A device whose thread dies at its first command, which it says nothing of. */
async function openDying(how: "exit" | "throw"): Promise<{ device: Device; thread: ModuleWorker }> {
  let thread: ModuleWorker;
  const device = await threadedCpuDevice(sharedModule(), async (setup) => {
    const url = new URL("./dying_worker.ts", import.meta.url);
    thread = await startWorker(url);
    thread.post({ ...setup, how });
    return thread;
  });
  return { device, thread: thread! };
}

for (
  const [how, reason] of [["exit", "ended with code 3"], ["throw", "failed: .*it is at its end"]] as const
) {
  test(`openCpuDevice: a thread that dies by itself (${how}) rejects all that is pending, with its reason`, async () => {
    const { device, thread } = await openDying(how);
    const x = device.upload(ones()), y = device.upload(ones());
    const program = await device.prepare([stepOf(anyKernel(add), x, y)]);
    const dead = new RegExp(`Cannot run on the CPU device: its worker ${reason}`);
    const pending = [device.runAndRead(program, y), device.trace(program), device.read(x)];
    for (const one of pending) await assert.rejects(one, dead);
    await assert.rejects(device.read(y), dead);
    assert.throws(() => device.run(program), dead);
    // Whoever asks later is told, too.
    assert.match(await new Promise((resolve) => thread.onEnd(resolve)), new RegExp(reason));
    device.release(y);
    device.destroy();
  });
}

test("openCpuDevice: devices do not know of each other, and one's end is not another's", async () => {
  const devices = await Promise.all([1, 2, 3].map(() => openCpuDevice()));
  const opened = await Promise.all(devices.map(async (device, i) => {
    const x = device.upload(tensor(new Float32Array(count).fill(i))), y = device.upload(ones());
    return { device, y, program: await device.prepare([stepOf(anyKernel(add), x, y)]) };
  }));
  for (const { device, program } of opened) device.run(program);
  opened[1].device.destroy();
  for (const i of [0, 2]) {
    const { device, program, y } = opened[i];
    assert.deepEqual([...await device.runAndRead(program, y)], Array(count).fill(1 + 2 * i));
    device.destroy();
  }
});

test("openCpuDevice: destroying it rejects what is pending", async () => {
  const device = await openCpuDevice();
  const { program, y } = await longProgram(device);
  const pending = device.runAndRead(program, y);
  device.destroy();
  await assert.rejects(pending, /Cannot run on the CPU device: it was destroyed/);
  assert.throws(() => device.run(program), DeviceError);
});

test("openCpuDevice leaves the calling thread free while it computes", async () => {
  const device = await openCpuDevice();
  const { program, y } = await longProgram(device);
  let turns = 0;
  // On the calling thread no number of runs would give it a turn.
  for (let runs = 1; turns < 10; runs *= 2) {
    assert.ok(runs < 1000, `${turns} turns in ${runs} runs`);
    for (let i = 0; i < runs; i++) device.run(program);
    let reading = true;
    const read = device.read(y).finally(() => reading = false);
    for (turns = 0; reading; turns++) await new Promise((resolve) => setTimeout(resolve, 0));
    await read;
  }
  device.destroy();
});

test("startWorker says of a module that cannot be loaded that it has ended", async () => {
  const url = new URL("./no_such_module.ts", import.meta.url);
  const worker = await startWorker(url);
  worker.keepAlive(true);
  assert.match(await new Promise((resolve) => worker.onEnd(resolve)), /its worker (failed|ended)/);
  worker.keepAlive(false);
  worker.end();
});

/** What a program of its own process prints, line by line; it has to end by itself. */
function printed(...args: string[]): string[] {
  const program = fileURLToPath(new URL("cpu_thread_program.ts", import.meta.url));
  const run = "Bun" in globalThis ? [] : ["run", "-A", "--no-check", "--v8-flags=--expose-gc"];
  const options = { encoding: "utf8", timeout: 60_000 } as const;
  return execFileSync(process.execPath, [...run, program, ...args], options).trim().split("\n");
}

test("openCpuDevice: a program that forgets its device ends", () => {
  const [description, ...rest] = printed();
  assert.match(description, /^CPU \(WASM (relaxed )?SIMD, .+ threads? of its own\)$/);
  assert.deepEqual(rest, ["4,8,12"]);
});

test("openCpuDevice: a device that nobody holds ends its thread", () => {
  const [ended] = printed("forgotten");
  assert.equal(ended, "its threads were ended");
});

test("openCpuDevice computes on the calling thread where memory cannot be shared", () => {
  const [description, ...rest] = printed("without-shared-memory");
  assert.match(description, /^CPU \(WASM (relaxed )?SIMD, one thread: there is no SharedArrayBuffer\)$/);
  assert.deepEqual(rest, ["4,8,12"]);
});
