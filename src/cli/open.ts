/**
 * What several commands open the same way: a device, a model with its adapters, a progress bar.
 *
 * @module
 */
import process from "node:process";
import { Presets, SingleBar } from "cli-progress";
import type { AdapterStore } from "../adapters/registry.ts";
import type { Device } from "../device/device.ts";
import type { QuantizeTo } from "../models/quantization.ts";
import { type OpenModel, openModel } from "../open.ts";
import { openFolder } from "../runtime/file.ts";
import type { OpenGpuOptions } from "../runtime/gpu.ts";
import { openDevice } from "../runtime/open_device.ts";

/** Arguments of every command that computes. */
export const deviceArgs = {
  device: { type: "string", default: "auto", description: "auto, webgpu or cpu", valueHint: "D" },
} as const;

/** Arguments of every command that opens a model to compute with it. */
export const modelArgs = {
  quantize: {
    type: "string",
    description: "Quantize the linears' weights at load: int8 or int4",
    valueHint: "TO",
  },
  "matrix-units": {
    type: "boolean",
    description: "Multiply by float16 weights on a GPU's matrix units, x rounded to float16",
  },
} as const;

/** What a `--quantize` argument asks for. */
export function parseQuantize(text: string | undefined): QuantizeTo | undefined {
  if (text === undefined || text === "int8" || text === "int4") return text;
  throw new RangeError(`Cannot read --quantize "${text}": it must be int8 or int4`);
}

/** Writes a line for people: standard error, so that output can be piped. */
export function log(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Opens the device a `--device` argument names, a GPU with these options. */
export async function openNamedDevice(name: string, gpu?: OpenGpuOptions): Promise<Device> {
  if (name !== "auto" && name !== "webgpu" && name !== "cpu") {
    throw new RangeError(`Cannot open device "${name}": it must be auto, webgpu or cpu`);
  }
  return await openDevice({ kind: name, gpu, log });
}

/** A progress bar on standard error; silent when that is not a terminal. */
export function progressBar(unit: string): { update(done: number, total: number): void; stop(): void } {
  const bar = new SingleBar({
    format: `{bar} {value}/{total} ${unit}, {eta_formatted} left`,
    stream: process.stderr,
    noTTYOutput: false,
    hideCursor: true,
  }, Presets.shades_classic);
  let started = false;
  return {
    update(done, total) {
      if (!started) bar.start(total, done);
      else bar.update(done);
      started = true;
    },
    stop() {
      if (started) bar.stop();
    },
  };
}

/** Opens a model folder on a device with a progress bar. */
export async function openNamedModel(
  device: Device,
  { folder, adapters, maxModelLen, quantize, maxAdapters, ...engine }: {
    folder: string;
    adapters?: AdapterStore;
    maxModelLen?: number;
    maxStepTokens?: number;
    maxSequences?: number;
    maxWaiting?: number;
    /** Adapters of one method on the device. */
    maxAdapters?: number;
    quantize?: QuantizeTo;
  },
): Promise<OpenModel> {
  const bar = progressBar("weights");
  try {
    return await openModel(device, {
      folder: await openFolder(folder),
      adapters,
      maxModelLen,
      quantize,
      engine,
      onWeight: bar.update,
      registry: { log, capacity: maxAdapters },
    });
  } finally {
    bar.stop();
  }
}

/** Parses `OUTxIN`. */
export function parseShape(text: string): { out: number; in: number } {
  const match = /^([1-9][0-9]{0,7})x([1-9][0-9]{0,7})$/.exec(text);
  if (!match) throw new RangeError(`Cannot read shape "${text}": it must be OUTxIN, e.g. 4096x4096`);
  return { out: Number(match[1]), in: Number(match[2]) };
}

/** Parses a whole number argument. */
export function parseCount(name: string, text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) {
    throw new RangeError(`Cannot read --${name} "${text}": it must be a whole number`);
  }
  return Number(text);
}
