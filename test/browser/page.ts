/**
 * Runs in a browser's page: every case of every kernel on the page's own `navigator.gpu`, and of those that have WASM on
 * the CPU device.
 *
 * @module
 */
import { type Case, casesOf } from "../../kernels/cases/mod.ts";
import { type Kernel, kernels } from "../../kernels/mod.ts";
import { cpuDevice } from "../../src/device/cpu.ts";
import type { Device } from "../../src/device/device.ts";
import { webgpuDevice } from "../../src/device/webgpu.ts";
import { openGpu } from "../../src/device/open_gpu.ts";
import { checkCase, checkTexts } from "../kernel_contract.ts";

/** What the page found. */
export interface PageReport {
  readonly description: string;
  readonly passed: number;
  /** One sentence for each case that failed. */
  readonly failures: readonly string[];
}

const seed = 1;

/** Called by the test from outside the page; a software GPU runs every case only if told to, else the last of each kernel. */
export async function testKernels({ everything }: { readonly everything: boolean }): Promise<PageReport> {
  const gpu = await openGpu();
  const device = webgpuDevice(gpu.device, gpu);
  const cpu = cpuDevice();
  const failures: string[] = cpu.description.includes("WASM") ? [] : [`${cpu.description} has no WASM`];
  let passed = 0;
  const check = async (name: string, act: () => Promise<unknown>): Promise<void> => {
    try {
      await act();
      passed++;
    } catch (error) {
      failures.push(`${name}: ${(error as Error).message}`);
    }
  };
  const checkAll = async (device: Device, kernel: Kernel, cases: readonly Case[]): Promise<void> => {
    for (const testCase of cases) {
      await check(
        `${kernel.name}, case "${testCase.name}"`,
        () => checkCase(device, { kernel, testCase, seed }),
      );
    }
  };
  for (const kernel of kernels) {
    const { cases } = casesOf(kernel);
    await checkAll(device, kernel, everything ? cases : cases.slice(-1));
    await check(`${kernel.name}'s texts`, () => checkTexts(gpu.device, { kernel, limits: device.limits }));
    if (kernel.wasm) await checkAll(cpu, kernel, cases);
  }
  device.destroy();
  return { description: gpu.description, passed, failures };
}
