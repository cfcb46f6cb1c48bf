/**
 * What a launch needs of a GPU beside the caller's buffers: pipelines, each text compiled once, constant tables, and the
 * uniform words.
 *
 * @module
 */
import type { Binding, Dispatch, Kernel, Limits, Table, UniformType } from "../kernel.ts";
import { type BufferPart, storageBuffer } from "./buffers.ts";

const computeStage = 0x4;

/** WebGPU's name of the feature of matrix units, experimental as yet. */
export const matrixUnitsFeature = "chromium-experimental-subgroup-matrix" as GPUFeatureName;

/**
 * What a GPU offers to launches.
 *
 * @param matrixUnits Whether products may run on matrix units: these round, and not all are of our kernels' shape.
 */
export function gpuLimits(gpu: GPUDevice, matrixUnits = false): Limits {
  const { features, limits } = gpu;
  const names = new Set<string>(features);
  if (!matrixUnits) names.delete(matrixUnitsFeature);
  return {
    workgroupStorageBytes: limits.maxComputeWorkgroupStorageSize,
    invocations: Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX),
    workgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
    storageBuffers: limits.maxStorageBuffersPerShaderStage,
    features: names,
  };
}

/** A kernel's uniform words in their declared order, as binding 0 holds them: 16 bytes at least. */
export function uniformWords(
  kernel: Pick<Kernel, "uniforms">,
  uniforms: Readonly<Record<string, number>>,
): Uint32Array {
  const types = Object.entries<UniformType>(kernel.uniforms);
  const words = new DataView(new ArrayBuffer(Math.max(16, 4 * types.length)));
  types.forEach(([name, type], i) => {
    if (type === "u32") words.setUint32(4 * i, uniforms[name], true);
    else words.setFloat32(4 * i, uniforms[name], true);
  });
  return new Uint32Array(words.buffer);
}

/** Pipelines, their layouts, and constant tables of one GPU. */
export class Programs {
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  /** Of dispatches that several layers share: to look a long text up takes a while. */
  readonly #known = new WeakMap<Dispatch, Promise<GPUComputePipeline>>();
  readonly #tables = new Map<string, GPUBuffer>();

  /** @param refusal The error of a text that the GPU's compiler refuses. */
  constructor(
    private readonly gpu: GPUDevice,
    private readonly refusal: (message: string) => Error = (message) => new Error(message),
  ) {}

  /**
   * The pipeline of a dispatch.
   *
   * @param label The kernel's name, for messages.
   * @throws The refusal (as rejection) when the GPU's compiler refuses the text.
   */
  pipeline(dispatch: Dispatch, label: string): Promise<GPUComputePipeline> {
    const known = this.#known.get(dispatch);
    if (known) return known;
    const key = dispatch.wgsl + JSON.stringify(dispatch.constants ?? {});
    const made = this.#pipelines.get(key) ?? this.#compile(dispatch, label);
    this.#pipelines.set(key, made);
    this.#known.set(dispatch, made);
    return made;
  }

  /** The uniform words, then what a dispatch names, in binding order. */
  bindGroup(
    { bindings }: Dispatch,
    uniforms: BufferPart,
    bound: ReadonlyMap<string, BufferPart>,
  ): GPUBindGroup {
    return this.gpu.createBindGroup({
      layout: this.#layout(bindings),
      entries: [
        { binding: 0, resource: uniforms },
        ...bindings.map(({ name }, i) => ({ binding: i + 1, resource: bound.get(name)! })),
      ],
    });
  }

  /** A table's buffer, made when it is first asked for. */
  table({ key, make }: Table): GPUBuffer {
    let buffer = this.#tables.get(key);
    if (!buffer) {
      const data = make();
      buffer = storageBuffer(this.gpu, data.byteLength);
      this.gpu.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
      this.#tables.set(key, buffer);
    }
    return buffer;
  }

  /** Destroys the tables. */
  destroy(): void {
    for (const buffer of this.#tables.values()) buffer.destroy();
    this.#tables.clear();
  }

  async #compile(dispatch: Dispatch, label: string): Promise<GPUComputePipeline> {
    const { gpu } = this;
    const refused = ({ message }: { readonly message: string }): Error =>
      this.refusal(`Cannot compile kernel "${label}" for this GPU: ${message}`);
    gpu.pushErrorScope("validation");
    const module = gpu.createShaderModule({ label, code: dispatch.wgsl });
    const layout = gpu.createPipelineLayout({ bindGroupLayouts: [this.#layout(dispatch.bindings)] });
    const invalid = gpu.popErrorScope();
    const made = gpu.createComputePipelineAsync({
      label,
      layout,
      compute: { module, entryPoint: "main", constants: dispatch.constants },
    });
    made.catch(() => {}); // reported below, after the module's own message
    const error = await invalid;
    if (error) throw refused(error);
    return await made.catch((error) => {
      throw refused(error);
    });
  }

  #layout(bindings: readonly Binding[]): GPUBindGroupLayout {
    const key = bindings.map((b) => b.access).join();
    const known = this.#layouts.get(key);
    if (known) return known;
    const layout = this.gpu.createBindGroupLayout({
      entries: [
        { binding: 0, visibility: computeStage, buffer: { type: "uniform" } },
        ...bindings.map(({ access }, i) => ({
          binding: i + 1,
          visibility: computeStage,
          buffer: { type: access === "read" ? "read-only-storage" as const : "storage" as const },
        })),
      ],
    });
    this.#layouts.set(key, layout);
    return layout;
  }
}
