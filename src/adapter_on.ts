/**
 * A PEFT adapter on linears of the caller's own: on buffers of another library, and the `GPUDevice` which has them.
 *
 * @module
 */
import { Bank } from "./adapters/bank.ts";
import { type OwnLinear, planOf, readied, type Resident, rowsOf } from "./adapters/own_linear.ts";
import type { LoadedAdapter } from "./adapters/peft.ts";
import { type WebGpuDevice, webgpuDevice } from "./device/webgpu.ts";
import { type Tensor, tensor } from "./tensor.ts";

export type { OwnLinear } from "./adapters/own_linear.ts";

/** Which module of an adapter acts. */
export interface ModuleChoice {
  /** The module's path, e.g. `model.layers.0.self_attn.q_proj`. It may be left out where there is only one. */
  readonly module?: string;
}

/** An adapter's part of one linear, made ready for its buffers. */
export interface PreparedModule {
  /** Kernel launches that it takes. */
  readonly launches: number;
  /**
   * Records `y += x dW^T` into the caller's compute pass, or into a pass of its own in the caller's command encoder; any
   * number of times. Submit the commands before the release.
   *
   * @throws Error when it was released, or its adapter.
   */
  encode(into: GPUCommandEncoder | GPUComputePassEncoder): void;
  /** Frees what preparing took; the caller's buffers stay. */
  release(): void;
}

/** An adapter on a GPU. */
export interface AdapterOn {
  /** Paths of the modules that {@linkcode adapterOn} was given linears of. */
  readonly modules: readonly string[];
  /**
   * `y += x dW^T` of one module, and its bias where the adapter has one. The promise resolves when the commands are
   * submitted to the `GPUDevice`'s queue: work that is submitted later reads the new y.
   *
   * @param x (rows, in), float32: a `tensorOf` a buffer.
   * @param y (rows, out), float32, of another buffer than x.
   * @throws RangeError for other shapes, and for a module that is not there; TypeError for another dtype, or a host tensor.
   * @throws DeviceError when the GPU was lost, or refuses a kernel's text; Error when the adapter was released.
   */
  apply(x: Tensor, y: Tensor, choice?: ModuleChoice): Promise<void>;
  /** `apply` made ready for many calls with the same buffers, in passes of the caller's; throws as `apply`. */
  prepare(x: Tensor, y: Tensor, choice?: ModuleChoice): Promise<PreparedModule>;
  /** Frees the adapter's memory, and its prepared modules. The caller's `GPUDevice` and buffers stay. */
  release(): void;
}

/** Tensors of a device that are freed together. */
class Kept {
  readonly #tensors: Tensor[] = [];
  #slots: Tensor | undefined;

  constructor(private readonly device: WebGpuDevice) {}

  note(t: Tensor): Tensor {
    this.#tensors.push(t);
    return t;
  }

  /** (rows), uint32, zeros. Smaller ones stay: prepared modules have them. */
  slots(rows: number): Tensor {
    if (!this.#slots || this.#slots.shape[0] < rows) {
      const room = 2 ** Math.ceil(Math.log2(Math.max(rows, 64)));
      this.#slots = this.note(this.device.alloc([room], "uint32"));
    }
    return { ...this.#slots, shape: [rows] };
  }

  release(): void {
    for (const t of this.#tensors.splice(0)) this.device.release(t);
  }
}

/** The adapter, once its modules are in a bank. */
function onDevice(device: WebGpuDevice, { bank, residents, kept, free }: {
  readonly bank: Bank;
  readonly residents: ReadonlyMap<string, Resident>;
  readonly kept: Kept;
  readonly free: () => void;
}): AdapterOn {
  const modules = [...residents.keys()], open = new Set<PreparedModule>();
  const minusOne = kept.note(device.upload(tensor(Float32Array.of(-1))));
  let released = false;

  function checkThere(): void {
    if (released) throw new Error("Cannot apply an adapter that was released");
  }

  function chosen({ module }: ModuleChoice): Resident {
    const path = module ?? (modules.length === 1 ? modules[0] : undefined);
    const resident = path === undefined ? undefined : residents.get(path);
    if (resident) return resident;
    const which = path === undefined ? "without its name" : `"${path}"`;
    throw new RangeError(`Cannot apply a module ${which}: the linears are of ${modules.join(", ")}`);
  }

  async function prepare(x: Tensor, y: Tensor, choice: ModuleChoice = {}): Promise<PreparedModule> {
    checkThere();
    const resident = chosen(choice), rows = rowsOf(resident.shape, x, y), own = new Kept(device);
    const alloc = (shape: readonly number[]): Tensor => own.note(device.alloc(shape, "float32"));
    try {
      const work = { alloc, slots: kept.slots(rows), minusOne };
      const program = await device.prepare(rows === 0 ? [] : planOf(bank, resident, { x, y, rows, work }));
      const prepared: PreparedModule = {
        launches: program.launches,
        encode(into) {
          if (!open.has(prepared)) throw new Error("Cannot encode a module that was released");
          if ("dispatchWorkgroups" in into) return device.encode(into, program);
          const pass = into.beginComputePass();
          device.encode(pass, program);
          pass.end();
        },
        release() {
          if (!open.delete(prepared)) return;
          program.release();
          own.release();
        },
      };
      open.add(prepared);
      if (released) prepared.release();
      checkThere();
      return prepared;
    } catch (error) {
      own.release();
      throw error;
    }
  }

  return {
    modules,
    prepare,
    async apply(x, y, choice) {
      const prepared = await prepare(x, y, choice);
      const encoder = device.gpu.createCommandEncoder();
      prepared.encode(encoder);
      device.gpu.queue.submit([encoder.finish()]);
      prepared.release(); // a GPU keeps the buffers of submitted work alive
    },
    release() {
      if (released) return;
      released = true;
      for (const prepared of open) prepared.release();
      bank.release();
      kept.release();
      free();
    },
  };
}

/**
 * Puts an adapter on the caller's GPU, for linears of the caller's: `(await adapterOn(gpu, adapter, linears)).apply(x, y)`.
 *
 * @param device The caller's, or a `webgpuDevice` of it: adapters of one `webgpuDevice` share compiled texts.
 * @param adapter As `loadAdapter` reads it.
 * @param linears The linears to adapt, by paths of the adapter's modules.
 * @throws RangeError for a module that the adapter has not, or that is of another shape, and for an adapter that has no room.
 * @throws ConfigError where a method needs the linear's weight, and for a module which the adapter also replaces.
 */
export async function adapterOn(
  device: GPUDevice | WebGpuDevice,
  adapter: LoadedAdapter,
  linears: Readonly<Record<string, OwnLinear>>,
): Promise<AdapterOn> {
  const given = "gpu" in device, on = given ? device : webgpuDevice(device);
  const kept = new Kept(on), entries = Object.entries(linears);
  const free = (): void => given ? undefined : on.destroy();
  let bank: Bank | undefined;
  try {
    const residents = new Map<string, Resident>();
    for (const [i, [path, linear]] of entries.entries()) {
      const ready = await readied(on, adapter, { path, linear }), { bias } = ready.module;
      residents.set(path, {
        ...ready,
        linear: i,
        ...(bias ? { bias: kept.note(on.upload(tensor(bias))) } : {}),
      });
    }
    bank = new Bank(on, adapter.method, {
      linears: [...residents].map(([path, { shape }]) => ({ path, shape })),
      capacity: 1,
    });
    bank.load(new Map([...residents].map(([path, { module }]) => [path, module])));
    return onDevice(on, { bank, residents, kept, free });
  } catch (error) {
    bank?.release();
    kept.release();
    free();
    throw error;
  }
}
