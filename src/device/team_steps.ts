/**
 * Steps of the CPU device as threads share them: how a step is cut, and how a thread does a part of it.
 *
 * @module
 */

/** Chunks of a step at most: what eight bits count. */
export const mostChunks = 255;

/** Numbers of a step: arguments, and what stands before them. */
export const mostNumbers = 64;

/** A function of the module, and its arguments but the last two. */
export interface TeamStep {
  readonly function: string;
  readonly args: readonly number[];
  /** Arguments that are a thread's own scratch: the thread's number times so many bytes is added. */
  readonly each: readonly { readonly arg: number; readonly bytes: number }[];
  readonly items: number;
  /** 1 where the leader does the step alone. */
  readonly chunks: number;
}

/** Threads that share steps, and multiply-adds of a chunk at least. */
export interface TeamSize {
  readonly threads: number;
  readonly workOfChunk: number;
}

/** Multiply-adds of a chunk at least: some microseconds, where handing a chunk over takes about one. */
export const usualWorkOfChunk = 2 ** 15;

/** Chunks for each thread: the end of a step waits for less than a chunk where one thread is slow. */
const chunksOfThread = 4;

/** How many chunks a step is cut into for a team. */
export function chunksOf(
  { items, work }: { readonly items: number; readonly work: number },
  { threads, workOfChunk }: TeamSize,
): number {
  if (threads === 1) return 1;
  return Math.max(1, Math.min(items, Math.floor(work / workOfChunk), chunksOfThread * threads, mostChunks));
}

type WasmFunction = (...args: number[]) => void;

/** The functions of a module, in an order that all threads have. */
export class Functions {
  readonly #names: readonly string[];
  readonly #functions: readonly WasmFunction[];

  constructor(module: WebAssembly.Module, memory: WebAssembly.Memory) {
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    this.#names = WebAssembly.Module.exports(module).map(({ name }) => name);
    this.#functions = this.#names.map((name) => exports[name] as WasmFunction);
  }

  index(name: string): number {
    return this.#names.indexOf(name);
  }

  at(index: number): WasmFunction {
    return this.#functions[index];
  }
}

/** A step as numbers, for other threads. */
export function encodeStep(step: TeamStep, functions: Functions): Float64Array {
  const { args, each, items, chunks } = step;
  const pairs = each.flatMap(({ arg, bytes }) => [arg, bytes]);
  const numbers = [
    functions.index(step.function),
    items,
    chunks,
    args.length,
    each.length,
    ...args,
    ...pairs,
  ];
  if (numbers.length > mostNumbers) {
    throw new RangeError(`Cannot share "${step.function}": too many arguments`);
  }
  return Float64Array.from(numbers);
}

/** A step as one thread does its chunks. */
export class OwnStep {
  readonly #run: WasmFunction;
  readonly #args: number[];
  readonly #items: number;
  readonly #chunks: number;

  constructor(numbers: Float64Array, functions: Functions, thread: number) {
    const [index, items, chunks, count, pairs] = numbers, behind = 5 + count;
    this.#run = functions.at(index);
    this.#items = items;
    this.#chunks = chunks;
    this.#args = [...numbers.subarray(5, behind), 0, 0];
    for (let at = behind; at < behind + 2 * pairs; at += 2) {
      this.#args[numbers[at]] += thread * numbers[at + 1];
    }
  }

  /** @param left How many chunks nobody had taken, with this one. */
  do(left: number): void {
    const chunk = this.#chunks - left, args = this.#args, end = args.length;
    args[end - 2] = Math.floor(this.#items * chunk / this.#chunks);
    args[end - 1] = Math.floor(this.#items * (chunk + 1) / this.#chunks);
    this.#run(...args);
  }
}
