/**
 * The CPU device with threads of its own: the calling thread makes tensors and plans, the others compute.
 *
 * All tensors lie in one shared WASM memory, in which the calling thread alone gives out room. It fills what nothing uses yet;
 * all else goes through the queue.
 *
 * @module
 */
import { type ByteProducts, type Kernel, portableLimits } from "../../kernels/kernel.ts";
import type { Plan, Step } from "../plan.ts";
import { type DType, elements, type HostTensor, newArray, tensor, type TypedArray } from "../tensor.ts";
import { CommandQueue, type Thread } from "./command_queue.ts";
import { type CpuCall, heldType, hostBuffers, onHost, readyCall, timedCalls, uploaded } from "./cpu_calls.ts";
import { encodeProgram, newRing, op, type SentCall, type ThreadSetup } from "./cpu_commands.ts";
import { newControl } from "./cpu_team.ts";
import { type TeamSize, usualWorkOfChunk } from "./team_steps.ts";
import type { Device, Program, Range, TensorUse, Trace } from "./device.ts";
import { isAtHand, loadScriptKernels, scriptKernel } from "./script_kernels.ts";
import { sharedMemory } from "./shared_memory.ts";
import { type CpuProducts, productsOf, Wasm } from "./wasm.ts";

/** Bytes that are copied through room of the shared memory; more take their turn on the calling thread, which copies once. */
const mostStagedBytes = 2 ** 20;

/** Whether the other thread has the same functions under the kernel's name. */
function isKnown(kernel: Kernel): boolean {
  const listed = scriptKernel(kernel.name);
  return listed !== undefined && listed.cpu === kernel.cpu && listed.reference === kernel.reference;
}

/** A call as it is sent; undefined where only the calling thread can run it. */
function sentCall(step: Step, call: CpuCall, wasm: Wasm): SentCall | undefined {
  const kernel = step.kernel.name;
  if ("steps" in call) return { kernel, steps: call.steps };
  if (!isKnown(step.kernel)) return undefined;
  const buffers = Object.entries(hostBuffers(step)).map(([name, t]) => {
    const at = wasm.offset(t);
    return at === undefined ? undefined : [name, { dtype: t.dtype, at, count: t.data.length }] as const;
  });
  const inside = buffers.filter((buffer) => buffer !== undefined);
  if (inside.length < buffers.length) return undefined;
  return { kernel, buffers: Object.fromEntries(inside), uniforms: step.uniforms };
}

class ThreadedProgram implements Program {
  constructor(
    readonly calls: readonly CpuCall[],
    /** Its number on the other thread; undefined where the calling thread runs it. */
    readonly number: number | undefined,
    readonly release: () => void,
  ) {}

  get launches(): number {
    return this.calls.length;
  }
}

/** See the module's documentation. Functions are its own properties, so that a device made of it by spreading has them. */
class ThreadedCpu implements Device {
  readonly kind = "cpu";
  readonly description: string;
  readonly limits = portableLimits;
  readonly maxTensorBytes = 2 ** 32;
  readonly prefersFewSizes = false;
  readonly runsAhead = true;
  #programs = 0;

  readonly #bytes: ByteProducts | undefined;

  constructor(
    private readonly wasm: Wasm,
    private readonly queue: CommandQueue,
    { threads, products: { bytes, description } }: {
      readonly threads: number;
      readonly products: ReturnType<typeof productsOf>;
    },
  ) {
    this.#bytes = bytes;
    this.description = `CPU (${wasm.description}${description}, ${
      threads === 1 ? "one thread" : `${threads} threads`
    } of its own)`;
    if (wasm.room !== undefined) this.roomFor = (bytes) => Promise.resolve(Math.min(bytes, wasm.room!));
  }

  readonly heldType = (dtype: DType, use?: TensorUse): DType => heldType(dtype, { use, wasm: this.wasm });

  readonly roomFor?: Device["roomFor"];

  readonly upload = (source: HostTensor, use?: TensorUse): HostTensor =>
    uploaded(source, { use, wasm: this.wasm, alloc: this.alloc });

  readonly alloc = (shape: readonly number[], dtype: DType): HostTensor => {
    this.queue.checkAlive();
    this.queue.freeDone();
    return this.wasm.alloc(shape, dtype) ??
      tensor(newArray(dtype, elements(shape)), shape, { dtype });
  };

  readonly write = (target: HostTensor, data: TypedArray, at = 0): void => {
    const { data: all, dtype } = onHost(target);
    this.queue.checkAlive();
    if (this.queue.idle) return all.set(data, at);
    if (at < 0 || at + data.length > all.length) {
      throw new RangeError(`Cannot write ${data.length} elements at ${at}: the tensor has ${all.length}`);
    }
    const offset = this.wasm.offset(target);
    const stage = offset === undefined ? undefined : this.#stage(data.length * all.BYTES_PER_ELEMENT);
    if (stage === undefined) {
      const kept = data.slice();
      return this.queue.here(() => target.data.set(kept, at));
    }
    this.wasm.view(dtype, stage, data.length).set(data);
    const bytes = all.BYTES_PER_ELEMENT;
    const command = [op.copy, stage, offset! + at * bytes, data.length * bytes] as const;
    this.queue.push(command, () => this.wasm.free(stage));
  };

  readonly copy = (source: HostTensor, target: HostTensor): void => {
    const from = onHost(source), to = onHost(target);
    this.queue.checkAlive();
    if (from.data.length > to.data.length) {
      throw new RangeError(`Cannot copy ${from.data.length} elements: the target has ${to.data.length}`);
    }
    const [at, offset] = [this.wasm.offset(from), this.wasm.offset(to)];
    if (this.queue.idle || at === undefined || offset === undefined || from.dtype !== to.dtype) {
      return this.queue.here(() => to.data.set(from.data));
    }
    this.queue.push([op.copy, at, offset, from.data.byteLength]);
  };

  readonly prepare = async (plan: Plan): Promise<Program> => {
    this.queue.checkAlive();
    const calls = plan.map((step) => readyCall(step, this.wasm, this.#bytes));
    if (calls.some((call) => !("steps" in call) && !isAtHand(call.kernel))) {
      await loadScriptKernels();
      this.queue.checkAlive();
    }
    const sent = calls.map((call, i) => sentCall(plan[i], call, this.wasm));
    const number = this.#define(sent);
    let released = false;
    return new ThreadedProgram(calls, number, () => {
      if (released || this.queue.ended) return;
      released = true;
      if (number !== undefined) this.queue.push([op.forget, number]);
    });
  };

  readonly run = (program: Program): void => {
    const { calls, number } = program as ThreadedProgram;
    if (number !== undefined) return this.queue.push([op.run, number]);
    this.queue.checkAlive();
    this.queue.here(() => {
      for (const { run } of calls) run();
    });
  };

  readonly read = async (source: HostTensor, range?: Range): Promise<TypedArray> => {
    const t = onHost(source);
    this.queue.checkAlive();
    const { at, count } = range ?? { at: 0, count: t.data.length };
    if (this.queue.idle) return t.data.slice(at, at + count);
    const { byteOffset, byteLength, length } = t.data.subarray(at, at + count);
    const stage = this.wasm.offset(t) === undefined ? undefined : this.#stage(byteLength);
    if (stage === undefined) {
      let read: TypedArray | undefined;
      await this.queue.wait({ here: () => read = t.data.slice(at, at + count) });
      return read!;
    }
    this.queue.push([op.copy, byteOffset, stage, byteLength]);
    try {
      await this.queue.wait({ command: [op.fence] });
      return this.wasm.view(t.dtype, stage, length).slice();
    } finally {
      this.wasm.free(stage);
    }
  };

  readonly runAndRead = async (program: Program, source: HostTensor, range?: Range): Promise<TypedArray> => {
    this.run(program);
    return await this.read(source, range);
  };

  readonly trace = async (program: Program): Promise<Trace> => {
    const { calls, number } = program as ThreadedProgram;
    let launches: Trace["launches"] | undefined;
    if (number !== undefined) launches = await this.queue.wait({ command: [op.trace, number] });
    else await this.queue.wait({ here: () => launches = timedCalls(calls) });
    return { clock: "host", launches: launches!, wholeUs: launches!.at(-1)?.endUs ?? 0 };
  };

  readonly release = (t: HostTensor): void => {
    this.queue.later(() => this.wasm.release(t));
  };

  readonly destroy = (): void => {
    this.queue.end("it was destroyed");
  };

  /** Room for bytes on their way; undefined where this thread copies them in its turn. */
  #stage(bytes: number): number | undefined {
    if (bytes > mostStagedBytes) return undefined;
    this.queue.freeDone();
    return this.wasm.reserve(bytes);
  }

  /** Sends a program; undefined where this thread has to run it. */
  #define(calls: readonly (SentCall | undefined)[]): number | undefined {
    const sent = calls.filter((call) => call !== undefined);
    if (sent.length < calls.length) return undefined;
    const bytes = encodeProgram(sent);
    const at = this.wasm.reserve(bytes.length);
    if (at === undefined) return undefined;
    this.wasm.bytes(at, bytes.length).set(bytes);
    const number = ++this.#programs;
    this.queue.push([op.define, number, at, bytes.length], () => this.wasm.free(at));
    return number;
  }
}

/** Ends the threads of devices that nobody holds, or waits for: a thread would keep itself, and all of its memory. */
const forgotten = new FinalizationRegistry<CommandQueue>((queue) => queue.end("it was forgotten"));

/**
 * A device whose plans run on another thread, which runs `serveCommands`.
 *
 * @param start Starts the thread, and the helpers of a setup with `control`; resolves when all are ready.
 * @param team Without a module there is one thread, whatever it says.
 * @throws DeviceError for `products` that the module cannot make.
 * @throws what `start` throws, and where memory cannot be shared.
 */
export async function threadedCpuDevice(
  module: WebAssembly.Module | undefined,
  start: (setup: ThreadSetup, threads: number) => Promise<Thread>,
  { threads = 1, workOfChunk = usualWorkOfChunk, products: named }:
    & Partial<TeamSize>
    & { readonly products?: CpuProducts } = {},
): Promise<Device> {
  const control = threads > 1 && module ? newControl(threads) : undefined;
  const { memory, mostBytes } = sharedMemory(), setup = { module, memory, ring: newRing(), control };
  const held = control ? threads : 1;
  const wasm = new Wasm(module, memory, { threads: held, workOfChunk }, mostBytes);
  const products = productsOf(wasm, named);
  const queue = new CommandQueue(await start(setup, held), setup.ring);
  const device = new ThreadedCpu(wasm, queue, { threads: held, products });
  forgotten.register(device, queue);
  return device;
}
