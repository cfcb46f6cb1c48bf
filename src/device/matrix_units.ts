/**
 * Which GPUs multiply on matrix units as our kernels do.
 *
 * @module
 */
export { matrixUnitsFeature } from "../../kernels/webgpu/programs.ts";

/** An adapter's matrix units as it reports them: newer than the types of WebGPU. */
interface MatrixInfo {
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
  readonly subgroupMatrixConfigs?: Iterable<{
    readonly componentType: string;
    readonly resultComponentType: string;
    readonly M: number;
    readonly N: number;
    readonly K: number;
  }>;
}

/**
 * Whether an adapter's subgroups of 32 multiply 16 x 16 x 16 numbers of float16 with sums of float32. Only an adapter
 * tells: of a device, Dawn's `adapterInfo` lists no shapes.
 */
export function hasMatrixUnits(info: GPUAdapterInfo): boolean {
  const { subgroupMinSize, subgroupMaxSize, subgroupMatrixConfigs = [] } = info as MatrixInfo;
  return subgroupMinSize === 32 && subgroupMaxSize === 32 &&
    [...subgroupMatrixConfigs].some(({ componentType, resultComponentType, M, N, K }) =>
      componentType === "f16" && resultComponentType === "f32" && M === 16 && N === 16 && K === 16
    );
}
