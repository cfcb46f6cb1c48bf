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

/** A way must be faster than the usual one by this factor, or it may be the clock's doing. */
const clearly = 0.97;

/** The steps of a plan between whose ways there is one answer. */
interface Contest {
  readonly choice: Choice;
  readonly steps: GpuStep[];
}

/** FNV-1a of 32 bits: who collides is slow, not wrong. */
function hash(text: string): string {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return (h >>> 0).toString(16).padStart(8, "0");
}

function programsOf({ choice, steps: [step] }: Contest, limits: Limits): string {
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

/** The winner of a contest: the fastest way if it is clearly faster than the first, else the first. */
function winner(ways: readonly string[], us: readonly number[]): string {
  const best = us.indexOf(Math.min(...us));
  return us[best] < clearly * us[0] ? ways[best] : ways[0];
}

/** See the module's documentation. */
export class Tuner {
  readonly #known: ReadonlyMap<string, KnownWay>;
  readonly #answers = new Map<string, Promise<string>>();
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
    const contests = new Map<string, Contest>();
    const names = plan.map((step) => {
      const choice = step.kernel.ways?.(callOf(step), this.limits);
      if (!choice || choice.ways.length < 2) return undefined;
      const name = nameOf({ kernel: step.kernel.name, key: choice.key });
      const contest = contests.get(name);
      if (contest) contest.steps.push(step);
      else contests.set(name, { choice, steps: [step] });
      return name;
    });
    await Promise.all([...contests].map(([name, contest]) => this.#answer(name, contest)));
    return await Promise.all(names.map((name) => name === undefined ? undefined : this.#answers.get(name)));
  }

  #answer(name: string, contest: Contest): Promise<string> {
    let answer = this.#answers.get(name);
    if (!answer) this.#answers.set(name, answer = this.#find(contest));
    return answer;
  }

  async #find(contest: Contest): Promise<string> {
    const { choice: { key, ways }, steps } = contest;
    const question = { kernel: steps[0].kernel.name, key, programs: programsOf(contest, this.limits) };
    const known = this.#known.get(idOf(question));
    if (known && ways.includes(known.way)) return known.way;
    if (this.#running++ === 0) this.#begin = performance.now();
    try {
      const way = winner(ways, await this.#time(contest));
      this.#found.push({ ...question, way });
      return way;
    } catch {
      return ways[0]; // of this process alone: the next may have more luck
    } finally {
      if (--this.#running === 0) this.#report();
    }
  }

  async #time({ choice: { ways }, steps }: Contest): Promise<readonly number[]> {
    const compiled = await Promise.allSettled(ways.map((way) => this.timer.compile(steps[0], way)));
    const usable = ways.filter((_, i) => compiled[i].status === "fulfilled");
    const timed = this.#lastTimed.then(() => this.timer.time(steps, usable));
    this.#lastTimed = timed.catch(() => {});
    const us = await timed;
    if (!us.some(Number.isFinite)) throw new Error("Cannot time any way");
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
