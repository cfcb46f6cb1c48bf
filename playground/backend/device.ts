/**
 * Where a model of the page computes.
 *
 * @module
 */
import { openGpu } from "fourierft";
import type { Opening } from "../worker/protocol.ts";

/** What a user may choose: a device, or the page's choice. */
export type DeviceChoice = "auto" | Opening["device"];

/**
 * The device of a choice. The page chooses a GPU that opens and does not compute on the CPU, else the CPU. That is known
 * before a worker is started, since each device has a worker's script of its own.
 */
export async function deviceOf(choice: DeviceChoice): Promise<Opening["device"]> {
  if (choice !== "auto") return choice;
  try {
    const gpu = await openGpu();
    gpu.destroy();
    return gpu.software ? "cpu" : "webgpu";
  } catch {
    return "cpu";
  }
}
