/**
 * Finds the fastest way of a kernel on a GPU: timed when a key is first met, then known.
 *
 * A key costs the compilation of its ways and about 60 ms of the GPU's time, unless one launch takes longer. A Llama's
 * decode step has four or five keys for each size of batch: 0.2 to 0.3 s in all on an H100. Keys are timed one after
 * another: two at once would slow each other. Answers can be kept and given to the next start, which then times
 * nothing.
 *
 * @module
 */
import type { Choice, Limits } from "../../kernels/kernel.ts";
import { Contests, winner } from "../contest.ts";
import { callOf } from "../plan.ts";
import type { GpuStep } from "./join.ts";
import { idOf, type KnownWay, nameOf } from "./known_ways.ts";

/** The result of a round of timing. */
export interface Tuned {
  /** An answer for each key that was timed: to be `known` at the next start, beside what was known at this one. */
  readonly found: readonly KnownWay[];
  readonly ms: number;
}

/** How a device chooses between the ways of a kernel. */
export interface TuningOptions {
  /** Answers of earlier runs on the same GPU with the same driver. */
  readonly known?: readonly KnownWay[];
  /** Called when ways were timed, and no more are waiting to be. */
  readonly onTuned?: (tuned: Tuned) => void;
}

/** Times ways. */
export interface WayTimer {
  /** Compiles a way of a step. It may fail: then the way is out. */
  compile(step: GpuStep, way: string): Promise<void>;
  /** Microseconds a launch of each way, none below 0; infinite for a way that cannot be run. Leaves the steps' outputs as they are. */
  time(steps: readonly GpuStep[], ways: readonly string[]): Promise<readonly number[]>;
}

/** Steps of a plan that share a tuning key: one way for all. */
interface Group {
  readonly choice: Choice;
  readonly steps: GpuStep[];
}

/** FNV-1a of 32 bits: who collides is slow, not wrong. */
function hash(text: string): string {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return (h >>> 0).toString(16).padStart(8, "0");
}

function programsOf({ choice, steps: [step] }: Group, limits: Limits): string {
  const texts = choice.ways.map((way) => {
    try {
      const { dispatches } = step.kernel.launch(callOf(step), limits, way);
      return [way, ...dispatches.map(({ wgsl }) => wgsl)];
    } catch (error) {
      return [way, (error as Error).message];
    }
  });
  return hash(JSON.stringify(texts));
}

/** See the module's documentation. */
export class Tuner {
  readonly #known: ReadonlyMap<string, KnownWay>;
  readonly #contests = new Contests<string>();
  #lastTimed: Promise<unknown> = Promise.resolve();
  #running = 0;
  #begin = 0;
  #found: KnownWay[] = [];

  constructor(
    private readonly timer: WayTimer,
    private readonly limits: Limits,
    private readonly options: TuningOptions = {},
  ) {
    this.#known = new Map((options.known ?? []).map((known) => [idOf(known), known]));
  }

  /** The way of each step of a plan; undefined where there is but one. Times what is not known yet, and never fails by it. */
  async ways(plan: readonly GpuStep[]): Promise<readonly (string | undefined)[]> {
    const groups = new Map<string, Group>();
    const names = plan.map((step) => {
      const choice = step.kernel.ways?.(callOf(step), this.limits);
      if (!choice || choice.ways.length < 2) return undefined;
      const name = nameOf({ kernel: step.kernel.name, key: choice.key });
      const group = groups.get(name);
      if (group) group.steps.push(step);
      else groups.set(name, { choice, steps: [step] });
      return name;
    });
    const answers = new Map([...groups].map(([name, group]) => [name, this.#answer(name, group)]));
    return await Promise.all(names.map((name) => name === undefined ? undefined : answers.get(name)));
  }

  /** The first way where timing fails: in this process alone, as the next may have more luck. */
  #answer(name: string, group: Group): Promise<string> {
    return this.#contests.answer(name, { usual: group.choice.ways[0], hold: () => this.#find(group) });
  }

  async #find(group: Group): Promise<string> {
    const { choice: { key, ways }, steps } = group;
    const question = { kernel: steps[0].kernel.name, key, programs: programsOf(group, this.limits) };
    const known = this.#known.get(idOf(question));
    if (known && ways.includes(known.way)) return known.way;
    if (this.#running++ === 0) this.#begin = performance.now();
    try {
      const way = winner(ways, await this.#time(group));
      this.#found.push({ ...question, way });
      return way;
    } finally {
      if (--this.#running === 0) this.#report();
    }
  }

  async #time({ choice: { ways }, steps }: Group): Promise<readonly number[]> {
    const compiled = await Promise.allSettled(ways.map((way) => this.timer.compile(steps[0], way)));
    const usable = ways.filter((_, i) => compiled[i].status === "fulfilled");
    const timed = this.#lastTimed.then(() => this.timer.time(steps, usable));
    this.#lastTimed = timed.catch(() => {});
    const us = await timed;
    return ways.map((way) => us[usable.indexOf(way)] ?? Infinity);
  }

  #report(): void {
    const found = this.#found;
    this.#found = [];
    if (found.length === 0) return;
    const ms = performance.now() - this.#begin;
    try {
      this.options.onTuned?.({ found, ms });
    } catch {
      // The listener has failed, not the tuning.
    }
  }
}
