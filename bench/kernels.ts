/**
 * Kernels at the bench sizes of `kernels/cases/`: every one that has no table elsewhere, and those of other benches.
 *
 * @module
 */
import { type Bench as KernelBench, type Case, casesOf, type KernelCases } from "../kernels/cases/mod.ts";
import type { Kernel } from "../kernels/kernel.ts";
import { kernels } from "../kernels/mod.ts";
import { uniforms } from "../src/engine/random.ts";
import { copyRate, rates, times, type Work } from "./cells.ts";
import { prepareCase } from "./data.ts";
import { timeJoins } from "./joins.ts";
import type { Bench, BenchContext, Measurement } from "./measurement.ts";
import { timePrograms } from "./timer.ts";

/** A case to time, and what its run is counted as. */
interface Sized {
  readonly row: string;
  readonly testCase: Case;
  readonly work: Work;
}

/** Most work of a case: numbers are made on the host, and a CPU or a software GPU computes slowly. */
function isWithin({ device, quick }: BenchContext, { bytes, flops = 0 }: KernelBench): boolean {
  if (quick) return bytes <= 2 ** 23 && flops <= 2 ** 26;
  return device.kind === "cpu" ? bytes <= 2 ** 27 && flops <= 2 ** 30 : bytes <= 2 ** 30;
}

function largestCase({ kernel: { name }, cases }: KernelCases): Sized[] {
  const bytes = ({ make }: Case): number =>
    Object.values(make(uniforms(1))).reduce((sum, { byteLength }) => sum + byteLength, 0);
  const sized = cases.map((testCase) => ({ testCase, bytes: bytes(testCase) }));
  return sized.sort((a, b) => b.bytes - a.bytes).slice(0, 1)
    .map(({ testCase }) => ({ row: `${name}, a test's case: ${testCase.name}`, testCase, work: {} }));
}

/** The sizes to time of a kernel: its bench sizes, or a test's case where a quick run has none small enough. */
function sizes(context: BenchContext, kernel: Kernel): Sized[] {
  const own = casesOf(kernel);
  const fitting = own.benches.filter((bench) => isWithin(context, bench));
  if (fitting.length === 0 && context.quick) return largestCase(own);
  for (const { name } of own.benches.filter((bench) => !fitting.includes(bench))) {
    if (!context.quick) context.log(`left out: ${kernel.name}, ${name}: too large for this device or host`);
  }
  return fitting.map((bench) => ({ row: `${kernel.name}, ${bench.name}`, testCase: bench, work: bench }));
}

/** The rows of one kernel; one that cannot run here (memory, limits) is left out, and the log says why. */
export async function* timeKernel(
  context: BenchContext,
  { kernel, table, known }: {
    readonly kernel: Kernel;
    readonly table: string;
    /** Rows that are timed already. */
    readonly known?: ReadonlySet<string>;
  },
): AsyncGenerator<Measurement> {
  const { median: copyGBs } = await copyRate(context);
  for (const { row, testCase, work } of sizes(context, kernel)) {
    if (known?.has(row)) continue;
    try {
      const { programs, release } = await prepareCase(context, { kernel, testCase });
      const timing = await timePrograms(context.device, programs, context);
      release();
      yield* times({ table, row }, timing);
      yield* rates({ table, row }, timing, { ...work, copyGBs });
    } catch (error) {
      context.log(`left out: ${row}: ${(error as Error).message}`);
    }
  }
}

/** Whether a kernel multiplies by a weight, of any format: those are in the table of products. */
export function isProduct({ name }: Kernel): boolean {
  return name.startsWith("linear");
}

/** Whether a kernel is of the FourierFT family, which has tables of its own. */
export function isFourier({ name }: Kernel): boolean {
  return name.startsWith("fourier_");
}

/** See the module's documentation. */
export const kernelsBench: Bench = {
  name: "kernels",
  doc: "every other kernel at its own bench sizes, against a copy on the same device",
  async *measure(context) {
    yield await copyRate(context);
    for (const kernel of kernels.filter((kernel) => !isProduct(kernel) && !isFourier(kernel))) {
      yield* timeKernel(context, { kernel, table: "kernels" });
    }
    yield* timeJoins(context, "kernels");
  },
};
