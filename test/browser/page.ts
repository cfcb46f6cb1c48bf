/**
 * Runs in a browser's page: every case of every kernel on the page's own `navigator.gpu`.
 *
 * @module
 */
import { kernels } from "../../kernels/mod.ts";
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
  const failures: string[] = [];
  let passed = 0;
  for (const kernel of kernels) {
    for (const testCase of kernel.cases) {
      try {
        await checkCase(device, { kernel, testCase, seed });
        passed++;
      } catch (error) {
        failures.push(`${kernel.name}, case "${testCase.name}": ${(error as Error).message}`);
      }
    }
  }
  device.destroy();
  return { description: gpu.description, passed, failures };
}
