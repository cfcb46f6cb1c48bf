/**
 * Makes a step's dispatches on a GPU. A text is compiled once to a pipeline. A dispatch has a bind group of the step's
 * tensors, and of tables and scratch that are kept.
 *
 * @module
 */
import type { Launch, Limits } from "../../kernels/kernel.ts";
import { roundUp } from "../../kernels/webgpu/buffers.ts";
import { Programs, uniformWords } from "../../kernels/webgpu/programs.ts";
import { breathe } from "../breathe.ts";
import { callOf } from "../plan.ts";
import { DeviceError, type Program } from "./device.ts";
import type { GpuStep } from "./join.ts";
import { Launches } from "./launches.ts";
import { deviceBuffer, Scratch, wordBytes } from "./webgpu_buffers.ts";

// WebGPU's flag values, by number: npm's Dawn brings no globals.
const uniformUsage = 0x40 | 0x8; // UNIFORM | COPY_DST

/** Milliseconds of work before others have their turn. */
const pieceMs = 2;

/** A dispatch made ready. */
export interface Launched {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly grid: readonly [number, number, number];
  /** The step that it is of. */
  readonly step: GpuStep;
}

/** A plan that a {@linkcode Launcher} has prepared. */
export class GpuProgram implements Program {
  constructor(readonly dispatches: readonly Launched[], private readonly uniforms: GPUBuffer) {}

  get launches(): number {
    return this.dispatches.length;
  }

  release(): void {
    this.uniforms.destroy();
  }
}

/** In which ways a plan is made ready. */
export interface Ways {
  /** One for each step; the usual one where none is named. */
  readonly ways: readonly (string | undefined)[];
  /** Their scratch; the launcher's own where left out. */
  readonly scratch?: Scratch;
  /** Launches that were made already. */
  readonly launches?: Launches;
}

/** Records dispatches in their order. */
export function encodeAll(pass: GPUComputePassEncoder, dispatches: readonly Launched[]): void {
  for (const { pipeline, bindGroup, grid } of dispatches) {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    // Not destructured: that takes an iterator for each of some hundred dispatches of a step.
    pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
  }
}

/** See the module's documentation. */
export class Launcher {
  readonly #programs: Programs;
  readonly #scratch: Scratch;

  constructor(private readonly gpu: GPUDevice, private readonly limits: Limits) {
    this.#programs = new Programs(gpu, (message) => new DeviceError(message));
    this.#scratch = new Scratch(gpu);
  }

  /** A plan made ready, each step in a way of its kernel. */
  async prepare(
    plan: readonly GpuStep[],
    { ways, scratch = this.#scratch, launches = new Launches(this.limits) }: Ways,
  ): Promise<GpuProgram> {
    const { buffer, bindings } = this.#uniforms(plan);
    try {
      const dispatches: Promise<Launched[]>[] = [];
      let began = performance.now();
      for (const [i, step] of plan.entries()) {
        // Programs are prepared beside steps that run, too.
        if (performance.now() - began > pieceMs) {
          await breathe();
          began = performance.now();
        }
        const made = this.#launch(step, launches.of(step, ways[i]), { uniforms: bindings[i], scratch });
        made.catch(() => {}); // told below
        dispatches.push(made);
      }
      return new GpuProgram((await Promise.all(dispatches)).flat(), buffer);
    } catch (error) {
      buffer.destroy();
      throw error;
    }
  }

  /** Compiles a way of a step, and binds nothing. */
  async compile(step: GpuStep, way: string): Promise<void> {
    const { dispatches } = step.kernel.launch(callOf(step), this.limits, way);
    await Promise.all(dispatches.map((dispatch) => this.#programs.pipeline(dispatch, step.kernel.name)));
  }

  /** Destroys tables and scratch. */
  destroy(): void {
    this.#programs.destroy();
    this.#scratch.destroy();
  }

  /** The uniform words of all steps in one buffer. */
  #uniforms(
    plan: readonly GpuStep[],
  ): { readonly buffer: GPUBuffer; readonly bindings: readonly GPUBufferBinding[] } {
    const stride = this.gpu.limits.minUniformBufferOffsetAlignment;
    const words = plan.map(({ kernel, uniforms }) => uniformWords(kernel, uniforms));
    const offsets = words.map(() => 0);
    let size = 0;
    words.forEach((w, i) => {
      offsets[i] = size;
      size += roundUp(w.byteLength, stride);
    });
    const buffer = this.gpu.createBuffer({
      size: Math.max(size, 16),
      usage: uniformUsage,
      mappedAtCreation: true,
    });
    const mapped = new Uint32Array(buffer.getMappedRange());
    words.forEach((w, i) => mapped.set(w, offsets[i] / 4));
    buffer.unmap();
    return { buffer, bindings: words.map((w, i) => ({ buffer, offset: offsets[i], size: w.byteLength })) };
  }

  async #launch(
    step: GpuStep,
    launched: Launch,
    { uniforms, scratch }: { readonly uniforms: GPUBufferBinding; readonly scratch: Scratch },
  ): Promise<Launched[]> {
    const bound = new Map<string, GPUBufferBinding>();
    for (const [name, t] of Object.entries(step.buffers)) {
      const { buffer, offsetBytes } = deviceBuffer(t);
      bound.set(name, { buffer, offset: offsetBytes, size: Math.max(4, wordBytes(t)) });
    }
    for (const [name, table] of Object.entries(launched.tables ?? {})) {
      bound.set(name, { buffer: this.#programs.table(table) });
    }
    for (const [name, size] of Object.entries(launched.scratch ?? {})) {
      bound.set(name, { buffer: scratch.buffer(name, size), size: roundUp(size, 4) });
    }
    return await Promise.all(launched.dispatches.map(async (dispatch) => ({
      pipeline: await this.#programs.pipeline(dispatch, step.kernel.name),
      bindGroup: this.#programs.bindGroup(dispatch, uniforms, bound),
      grid: dispatch.grid,
      step,
    })));
  }
}
