/**
 * An adapted linear on the page's GPU (or the CPU, where the page has none); `index.html` shows it.
 *
 * @module
 */
import {
  applyModule,
  deltaOf,
  type LinearShape,
  loadAdapter,
  openDevice,
  openUrlFolder,
  tensor,
} from "fourierft";

/** What the page shows. */
export interface Shown {
  /** The device that computed it. */
  readonly device: string;
  /** The module's settings. */
  readonly summary: string;
  readonly width: number;
  readonly height: number;
  /** dW as RGBA: red for positive, blue for negative, full colour for the largest magnitude. */
  readonly pixels: Uint8ClampedArray<ArrayBuffer>;
  /** Relative distance of x dW^T without dW, and x times the dW that was built. */
  readonly distance: number;
}

function pixelsOf(delta: Float32Array): Uint8ClampedArray<ArrayBuffer> {
  const largest = delta.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const pixels = new Uint8ClampedArray(4 * delta.length).fill(255);
  delta.forEach((value, i) => {
    const pale = 255 * (1 - Math.abs(value) / largest);
    pixels.set(value > 0 ? [255, pale, pale] : [pale, pale, 255], 4 * i);
  });
  return pixels;
}

function product(delta: Float32Array, x: Float32Array, shape: LinearShape): Float32Array {
  return Float32Array.from(
    { length: shape.out },
    (_, j) => x.reduce((sum, v, q) => sum + v * delta[j * shape.in + q], 0),
  );
}

/** What to show. */
export interface Choice {
  /** Module path in the adapter. */
  readonly path: string;
  /** The shape of that module's weight. */
  readonly shape: LinearShape;
  /** `auto` takes the CPU where the page's only GPU is a software one. */
  readonly device: "auto" | "webgpu" | "cpu";
}

/** Reads the adapter at `url` (ending in a slash), builds a module's dW, and applies it to a random x. */
export async function show(url: string, { path, shape, device: kind }: Choice): Promise<Shown> {
  const { method, modules } = await loadAdapter(openUrlFolder(url));
  const module = modules.get(path);
  if (!module) {
    throw new Error(`Cannot find module "${path}": the adapter has ${[...modules.keys()].join(", ")}`);
  }
  module.check(path, shape);
  const device = await openDevice({ kind });
  const linear = { method, module, shape };
  const delta = (await deltaOf(device, linear)).data as Float32Array;
  const x = Float32Array.from({ length: shape.in }, () => Math.random() - 0.5);
  const y = (await applyModule(device, linear, { x: tensor(x, [1, shape.in]) })).data;
  const expected = product(delta, x, shape);
  const distance = Math.hypot(...expected.map((value, i) => value - y[i])) / Math.hypot(...expected);
  device.destroy();
  return {
    device: device.description,
    summary: module.summary,
    width: shape.in,
    height: shape.out,
    pixels: pixelsOf(delta),
    distance,
  };
}
