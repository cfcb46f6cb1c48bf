/**
 * Kernels in WASM: an instance of the module with its memory, in which the CPU device's tensors lie.
 *
 * @module
 */
import type { ByteProducts, Table, WasmCall } from "../../kernels/kernel.ts";
import {
  bytesPerElement,
  type DType,
  elements,
  type HostTensor,
  type Tensor,
  type TypedArray,
  viewOf,
} from "../tensor.ts";
import { DeviceError } from "./device.ts";
import { Scratch } from "./scratch.ts";
import { chunksOf, type TeamSize, type TeamStep, usualWorkOfChunk } from "./team_steps.ts";
import { WasmHeap } from "./wasm_heap.ts";
import { ownWasmBytes } from "./wasm_module.ts";

/** A call made ready. */
export interface ReadyCall {
  readonly run: () => void;
}

/** A call of functions of the module: their arguments are settled. */
export interface WasmReadyCall extends ReadyCall {
  readonly steps: readonly TeamStep[];
}

/** One instance; everything in it lives in one memory of at most 4 GiB. */
export class Wasm {
  readonly #memory: WebAssembly.Memory;
  readonly #heap: WasmHeap;
  readonly #functions: WebAssembly.Exports | undefined;
  readonly #scratch: Scratch;
  readonly #tables = new Map<string, number>();
  /** Offsets of tensors made here and not yet released. */
  readonly #owned = new WeakMap<Tensor, number>();

  /**
   * @param module Absent where only its memory is wanted.
   * @param team Threads that will share the steps of calls.
   * @param mostBytes What the memory may grow to.
   */
  constructor(
    module?: WebAssembly.Module,
    memory = new WebAssembly.Memory({ initial: 16 }),
    private readonly team: TeamSize = { threads: 1, workOfChunk: usualWorkOfChunk },
    mostBytes?: number,
  ) {
    this.#memory = memory;
    this.#heap = new WasmHeap(memory, mostBytes);
    this.#scratch = new Scratch(this.#heap, team.threads);
    this.#functions = module && new WebAssembly.Instance(module, { env: { memory } }).exports;
  }

  /** What computes, in a few words. */
  get description(): string {
    if (!this.#functions) return "TypeScript";
    return this.#global("relaxed") ? "WASM relaxed SIMD" : "WASM SIMD";
  }

  /**
   * How the module multiplies with x rounded to 8 bits.
   *
   * @throws DeviceError where it cannot.
   */
  get byteProducts(): ByteProducts {
    const offset = this.#global("byteOffset");
    if (!this.#global("relaxed") || offset === undefined) throw noByteProducts();
    return offset < 0 ? {} : { offset };
  }

  #global(name: string): number | undefined {
    const value = this.#functions?.[name];
    return value instanceof WebAssembly.Global ? value.value : undefined;
  }

  /** Whether there are functions, and not their memory alone. */
  get computes(): boolean {
    return this.#functions !== undefined;
  }

  /** Bytes that tensors still find room for; undefined where no function needs them in this memory. */
  get room(): number | undefined {
    return this.#functions && this.#heap.room;
  }

  /** A range of bytes for something else than a tensor; undefined when the memory has no room for it. */
  reserve(bytes: number): number | undefined {
    return this.#heap.alloc(bytes);
  }

  /** Elements from a byte of the memory on. */
  view(dtype: DType, at: number, count: number): TypedArray {
    return viewOf(dtype, this.#memory.buffer, at, count);
  }

  /** Bytes of the memory. */
  bytes(at: number, count: number): Uint8Array {
    return new Uint8Array(this.#memory.buffer, at, count);
  }

  /** A zeroed tensor; undefined when the memory has no room. */
  alloc(shape: readonly number[], dtype: DType): HostTensor | undefined {
    const count = elements(shape);
    const at = this.#heap.alloc(count * bytesPerElement[dtype]);
    if (at === undefined) return undefined;
    const memory = this.#memory;
    let view = viewOf(dtype, memory.buffer, at, count);
    const made: HostTensor = {
      shape,
      dtype,
      /** Made anew after the memory has grown, which detaches older views. */
      get data() {
        if (view.buffer !== memory.buffer) view = viewOf(dtype, memory.buffer, at, count);
        return view;
      },
    };
    this.#owned.set(made, at);
    return made;
  }

  /** Frees a tensor made here. */
  release(t: Tensor): void {
    const at = this.#owned.get(t);
    if (at === undefined) return;
    this.#owned.delete(t);
    this.#heap.free(at);
  }

  /** Makes a call ready; undefined without a module, or when a tensor lies elsewhere or there is no room for its scratch. */
  prepare(call: WasmCall, buffers: Readonly<Record<string, HostTensor>>): WasmReadyCall | undefined {
    if (!this.#functions) return undefined;
    const offsets = new Map<string, number | undefined>();
    for (const [name, t] of Object.entries(buffers)) offsets.set(name, this.offset(t));
    for (const [name, table] of Object.entries(call.tables ?? {})) offsets.set(name, this.#table(table));
    if ([...offsets.values()].includes(undefined)) return undefined;
    const scratch = this.#scratch.place(call);
    if (!scratch) return undefined;
    const steps = [...call.before ?? [], call].map((step): TeamStep => ({
      function: step.function,
      args: step.args.map((arg) =>
        typeof arg === "number" ? arg : offsets.get(arg) ?? scratch.offsets.get(arg)!
      ),
      each: step.args.flatMap((name, arg) =>
        scratch.each.has(String(name)) ? [{ arg, bytes: scratch.apart }] : []
      ),
      items: step.items,
      chunks: chunksOf(step, this.team),
    }));
    const runs = steps.map((step) => this.#whole(step));
    const run = runs.length === 1 ? runs[0] : () => runs.forEach((run) => run());
    return { steps, run };
  }

  /** All of a step, on this thread. */
  #whole({ function: name, args, items }: TeamStep): () => void {
    const run = this.#functions![name];
    // A function has as many parameters as its module's version gives it.
    if (typeof run !== "function" || run.length !== args.length + 2) {
      throw new TypeError(`Cannot run "${name}": the WASM module has none; it is of another version`);
    }
    return () => run(...args, 0, items);
  }

  /** Gives back what `reserve` gave. */
  free(at: number): void {
    this.#heap.free(at);
  }

  /** The byte at which a tensor begins; undefined when it lies elsewhere. */
  offset({ data }: HostTensor): number | undefined {
    return data.buffer === this.#memory.buffer ? data.byteOffset : undefined;
  }

  #table({ key, make }: Table): number | undefined {
    const known = this.#tables.get(key);
    if (known !== undefined) return known;
    const numbers = make();
    const at = this.#heap.alloc(numbers.byteLength);
    if (at === undefined) return undefined;
    new Float32Array(this.#memory.buffer, at, numbers.length).set(numbers);
    this.#tables.set(key, at);
    return at;
  }
}

function noByteProducts(): DeviceError {
  return new DeviceError(
    'Cannot open the CPU device with "products" = "int8": that takes WebAssembly with relaxed SIMD. Open it without "products".',
  );
}

/** Products in which a CPU device rounds x to 8 bits, where weights in blocks allow it. */
export type CpuProducts = "int8";

/** @throws RangeError for other products than there are. */
export function checkProducts(products: CpuProducts | undefined): void {
  if (products === undefined || products === "int8") return;
  throw new RangeError(`Cannot use "products" = ${JSON.stringify(products)}: it must be "int8"`);
}

/** What calls are made ready with, and what is said of it, for such products; neither where none are asked for. */
export function productsOf(
  wasm: Wasm | undefined,
  products: CpuProducts | undefined,
): { readonly bytes?: ByteProducts; readonly description: string } {
  checkProducts(products);
  if (products === undefined) return { description: "" };
  if (!wasm) throw noByteProducts();
  const bytes = wasm.byteProducts;
  return { bytes, description: `, 8-bit products${bytes.offset === undefined ? " of 4-bit weights" : ""}` };
}

let compiled: WebAssembly.Module | undefined;

/** An instance of the package's own module; undefined where the runtime refuses it: no SIMD, or no compiling at all. */
export function ownWasm(): Wasm | undefined {
  try {
    return new Wasm(compiled ??= new WebAssembly.Module(ownWasmBytes()));
  } catch {
    return undefined;
  }
}
