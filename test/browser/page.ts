/**
 * Runs in a browser's page: every case of every kernel on the page's own `navigator.gpu`, and of those that have WASM on
 * the CPU device.
 *
 * @module
 */
import { type Kernel, kernels } from "../../kernels/mod.ts";
import { cpuDevice } from "../../src/device/cpu.ts";
import type { Device } from "../../src/device/device.ts";
import { webgpuDevice } from "../../src/device/webgpu.ts";
import { openGpu } from "../../src/runtime/gpu.ts";
import { checkCase } from "../kernel_contract.ts";

/** What the page found. */
export interface PageReport {
  readonly description: string;
  readonly passed: number;
  /** One sentence for each case that failed. */
  readonly failures: readonly string[];
}

const seed = 1;

/** Called by the test from outside the page. */
export async function testKernels(): Promise<PageReport> {
  const gpu = await openGpu();
  const device = webgpuDevice(gpu.device, gpu);
  const cpu = cpuDevice();
  const failures: string[] = cpu.description.includes("WASM") ? [] : [`${cpu.description} has no WASM`];
  let passed = 0;
  const check = async (device: Device, list: readonly Kernel[]): Promise<void> => {
    for (const kernel of list) {
      for (const testCase of kernel.cases) {
        try {
          await checkCase(device, { kernel, testCase, seed });
          passed++;
        } catch (error) {
          failures.push(`${kernel.name}, case "${testCase.name}": ${(error as Error).message}`);
        }
      }
    }
  };
  await check(device, kernels);
  await check(cpu, kernels.filter(({ wasm }) => wasm));
  device.destroy();
  return { description: gpu.description, passed, failures };
}
