/**
 * The CPU device's thread: takes commands from the ring, one after the other, and sleeps where there is none. Where the device
 * has more threads, this one leads them.
 *
 * @module
 */
import { bytesPerElement, viewOf } from "../tensor.ts";
import { timedCalls, widened } from "./cpu_calls.ts";
import {
  counters,
  decodeProgram,
  op,
  type SentCall,
  takeCommand,
  type ThreadMessage,
  type ThreadSetup,
  type TimedCall,
} from "./cpu_commands.ts";
import { Team } from "./cpu_team.ts";
import { sleepOn, waitBriefly } from "./patience.ts";
import { isAtHand, loadScriptKernels, scriptKernel } from "./script_kernels.ts";

interface ReadyCall {
  readonly kernel: string;
  readonly run: () => unknown;
}

/** The work of a thread, without its loop. */
export class CommandRunner {
  readonly #programs = new Map<number, readonly ReadyCall[]>();
  readonly #team: Team | undefined;
  readonly #memory: WebAssembly.Memory;
  /** The kernel that runs now, for what is said of a failure. */
  #kernel: string | undefined;

  constructor({ module, memory, control }: ThreadSetup) {
    this.#memory = memory;
    this.#team = module && new Team({ module, memory }, control);
  }

  /** Runs one command, and gives what it has to say of it; a promise where the kernels in TypeScript are loaded first. */
  execute(
    [operation, a, b, c]: readonly [number, number, number, number],
  ): readonly TimedCall[] | undefined | Promise<undefined> {
    this.#kernel = undefined;
    if (operation === op.run) { for (const { run } of this.#calls(a)) run(); }
    else if (operation === op.copy) this.#bytes(Math.max(a, b) + c).copyWithin(b, a, a + c);
    else if (operation === op.define) {
      return this.#define(a, decodeProgram(this.#bytes(b + c).slice(b, b + c)));
    } else if (operation === op.forget) this.#programs.delete(a);
    else if (operation === op.trace) return timedCalls(this.#calls(a));
    return undefined;
  }

  /** The kernel that a command was at when it threw. */
  get kernel(): string | undefined {
    return this.#kernel;
  }

  #calls(program: number): readonly ReadyCall[] {
    const calls = this.#programs.get(program);
    if (!calls) throw new RangeError(`Cannot run program ${program}: it was released`);
    return calls;
  }

  #define(number: number, program: readonly SentCall[]): undefined | Promise<undefined> {
    const define = (): undefined => void this.#programs.set(number, program.map((call) => this.#ready(call)));
    const missing = program.find((call) => !("steps" in call) && !isAtHand(call.kernel));
    if (!missing) return define();
    this.#kernel = missing.kernel;
    return loadScriptKernels().then(define);
  }

  #ready(call: SentCall): ReadyCall {
    const { kernel: name } = call;
    this.#kernel = name;
    if ("steps" in call) {
      const steps = call.steps.map((step) => this.#team!.ready(step));
      const run = steps.length === 1 ? steps[0] : () => steps.forEach((step) => step());
      return { kernel: name, run: this.#named(name, run) };
    }
    const kernel = scriptKernel(name)!;
    const run = kernel.cpu ?? kernel.reference, names = Object.keys(call.buffers);
    // A shared memory that grows does not take views of it away.
    const arrays = Object.fromEntries(
      Object.entries(call.buffers).map(([name, { dtype, at, count }]) => {
        const end = at + bytesPerElement[dtype] * count;
        return [name, { data: viewOf(dtype, this.#buffer(end), at, count), dtype }];
      }),
    );
    const ready = () => Object.fromEntries(names.map((name) => [name, widened(arrays[name])]));
    return { kernel: name, run: this.#named(name, () => run(ready(), call.uniforms)) };
  }

  #named(kernel: string, run: () => void): () => void {
    return () => {
      this.#kernel = kernel;
      run();
    };
  }

  #bytes(end: number): Uint8Array {
    return new Uint8Array(this.#buffer(end));
  }

  /** The memory's buffer; a thread may have an older, shorter one until it asks for a growth itself. */
  #buffer(end: number): ArrayBufferLike {
    if (this.#memory.buffer.byteLength < end) this.#memory.grow(0);
    return this.#memory.buffer;
  }
}

/** Blocks until more commands than `done` were submitted; gives how many were. */
function nextSubmitted(ring: Int32Array, done: number): number {
  for (;;) {
    const submitted = Atomics.load(ring, counters.submitted);
    if (submitted !== done) return submitted;
    if (waitBriefly(ring, counters.submitted, done)) continue;
    // It also ends by the notice of a command that was seen before its notice came: then nothing is new.
    sleepOn(ring, counters.submitted, done);
  }
}

/** Takes commands for as long as the thread lives. */
export function serveCommands(setup: ThreadSetup, post: (message: ThreadMessage) => void): void {
  const runner = new CommandRunner(setup);
  post({ ready: true });
  void takeCommands(runner, setup, post);
}

/** Blocks the thread, but for the while in which kernels are loaded. */
async function takeCommands(
  runner: CommandRunner,
  { ring }: ThreadSetup,
  post: (message: ThreadMessage) => void,
): Promise<never> {
  for (let done = 0, submitted = 0;;) {
    if (done === submitted) submitted = nextSubmitted(ring, done);
    const command = takeCommand(ring, done);
    let trace: readonly TimedCall[] | undefined;
    try {
      const made = runner.execute(command);
      trace = made instanceof Promise ? await made : made;
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      Atomics.add(ring, counters.failed, 1);
      post({ failure: { command: done, kernel: runner.kernel, name, message } });
    }
    done = (done + 1) | 0;
    Atomics.store(ring, counters.done, done);
    if (command[0] === op.fence) post(done);
    else if (command[0] === op.trace) post({ done, trace });
  }
}
