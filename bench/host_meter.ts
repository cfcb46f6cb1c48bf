/**
 * A device that notes what runs on it, and what its calls cost the host.
 *
 * @module
 */
import type { Device, Program } from "../src/device/device.ts";
import type { Plan } from "../src/plan.ts";
import { elements, newArray } from "../src/tensor.ts";

/** A program, what it was made of, and how often it was run. */
export interface MeteredProgram {
  readonly program: Program;
  readonly plan: Plan;
  runs: number;
}

/** See the module's documentation. */
export class HostMeter {
  readonly device: Device;
  /** Milliseconds in calls that write and run: until they return, not until the work is done. */
  callsMs = 0;
  /** Whether calls return at once, with zeros, and nothing is run: what then is left of a step is not the device's. */
  idle = false;
  readonly #programs = new Map<Program, MeteredProgram>();

  constructor(readonly base: Device) {
    this.device = {
      ...base,
      prepare: async (plan) => {
        const program = await base.prepare(plan);
        this.#programs.set(program, { program, plan, runs: 0 });
        return program;
      },
      write: (...args) => this.#call(() => base.write(...args)),
      run: (program) => {
        this.#programs.get(program)!.runs++;
        this.#call(() => base.run(program));
      },
      runAndRead: (program, source, range) => {
        this.#programs.get(program)!.runs++;
        return this.#call(() => base.runAndRead(program, source, range)) ??
          Promise.resolve(newArray(source.dtype, range?.count ?? elements(source.shape)));
      },
    };
  }

  /** The program that was run most often since the last {@linkcode forget}. */
  get usual(): MeteredProgram {
    return [...this.#programs.values()].reduce((most, one) => one.runs > most.runs ? one : most);
  }

  /** Runs since then. */
  get runs(): number {
    return this.#programs.values().reduce((sum, { runs }) => sum + runs, 0);
  }

  /** Starts counting anew. */
  forget(): void {
    this.callsMs = 0;
    for (const one of this.#programs.values()) one.runs = 0;
  }

  #call<T>(work: () => T): T | undefined {
    if (this.idle) return undefined;
    const begin = performance.now();
    const result = work();
    this.callsMs += performance.now() - begin;
    return result;
  }
}
