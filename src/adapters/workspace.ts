/**
 * A device lent for work that ends. The tensors of such work are freed at its end.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Plan } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import type { Workspace } from "./method.ts";

/** Runs a plan that is not run again. */
export async function runOnce(device: Device, plan: Plan): Promise<void> {
  const program = await device.prepare(plan);
  device.run(program);
  program.release();
}

/** What `work` gives, on tensors that are freed when it has ended, or failed. */
export async function inWorkspace<T>(
  device: Device,
  work: (workspace: Workspace) => Promise<T>,
): Promise<T> {
  const made: Tensor[] = [];
  const noted = (t: Tensor): Tensor => {
    made.push(t);
    return t;
  };
  try {
    return await work({
      upload: (t) => noted(device.upload(t)),
      alloc: (shape) => noted(device.alloc(shape, "float32")),
      async read(plan, t) {
        await runOnce(device, plan);
        return await device.read(t) as Float32Array;
      },
    });
  } finally {
    for (const t of made) device.release(t);
  }
}
