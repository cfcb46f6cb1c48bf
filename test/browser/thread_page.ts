/**
 * A page's CPU device: with a thread of its own where the page may share memory, else on the page's own thread.
 *
 * @module
 */
import { add, anyKernel, linear } from "../../kernels/mod.ts";
import { step } from "../../src/plan.ts";
import { openCpuDevice } from "../../src/device/open_cpu.ts";
import { type Tensor, tensor } from "../../src/tensor.ts";

/** What a page saw. */
export interface ThreadReport {
  readonly description: string;
  readonly sum: readonly number[];
  /** Turns that the page had while a product was computed. */
  readonly turns: number;
  /** The last number of that product. */
  readonly product: number;
}

/** Opens the device, adds, and counts the page's turns while it multiplies. */
export async function useThreads(threads?: number): Promise<ThreadReport> {
  const device = await openCpuDevice({ threads });
  const x = device.upload(tensor(Float32Array.of(1, 2, 3))),
    y = device.upload(tensor(Float32Array.of(4, 5, 6)));
  const adding = await device.prepare([{
    kernel: anyKernel(add),
    buffers: { x, y },
    uniforms: { count: 3 },
  }]);
  const sum = [...await device.runAndRead(adding, y)];
  const rows = 256, size = 1024;
  const halves = (shape: readonly [number, number]): Tensor =>
    device.upload(tensor(new Float32Array(shape[0] * shape[1]).fill(0.5), shape));
  const a = halves([rows, size]), b = halves([size, size]), c = device.alloc([rows, size], "float32");
  const one = step(linear, { x: a, weight: b, y: c }, { rows, in: size, out: size, accumulate: 0 });
  const program = await device.prepare([one, one, one, one]);
  let turns = 0, computing = true;
  const read = device.runAndRead(program, c).finally(() => computing = false);
  for (; computing; turns++) await new Promise((resolve) => setTimeout(resolve, 0));
  const product = (await read)[rows * size - 1];
  device.destroy();
  return { description: device.description, sum, turns, product };
}
