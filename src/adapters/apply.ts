/**
 * One adapted linear on a device: dW, forward, merge and unmerge, without a model.
 *
 * Where a method has no faster way, its phases of unit rows make dW: the change of row i's output is column i of dW.
 *
 * @module
 */
import { add } from "../../kernels/add.ts";
import type { Device } from "../device/device.ts";
import { step } from "../plan.ts";
import { elements, type HostTensor, type Tensor, tensor, type TypedArray } from "../tensor.ts";
import { type AdaptedLinear, alone } from "./alone.ts";
import { baseLinear } from "./base.ts";
import type { DeltaMode, DeltaRows, LinearShape } from "./method.ts";
import { inWorkspace, runOnce } from "./workspace.ts";

export type { AdaptedLinear } from "./alone.ts";

/** Runs the module's delta step onto `weight`, rows of the linear's own. */
async function deltaOnto(
  device: Device,
  { module, shape }: AdaptedLinear,
  onto: { readonly weight: Tensor; readonly mode: DeltaMode; readonly rows: DeltaRows },
): Promise<void> {
  await inWorkspace(device, async ({ upload }) => {
    await runOnce(device, [module.deltaStep!(shape, { upload, ...onto })]);
  });
}

/** @throws RangeError for a dW that is too large for the host. */
function newDelta({ out, in: inSize }: LinearShape): Float32Array {
  try {
    return new Float32Array(out * inSize);
  } catch (cause) {
    throw new RangeError(
      `Cannot build dW of (${out}, ${inSize}): no array of ${4 * out * inSize} bytes can be had here`,
      { cause },
    );
  }
}

/**
 * All rows of dW in as few pieces of at most `most` as there can be. Of two, one has the rows about 0 and one those about
 * out / 2: row p of a FourierFT dW is row out - p reversed, and both come of one transform where they are in one piece.
 */
export function deltaPieces(out: number, most: number): DeltaRows[] {
  const pieces = Math.ceil(out / most);
  const size = Math.ceil(out / pieces);
  const begin = pieces === 1 ? 0 : out - Math.floor(size / 2);
  return Array.from({ length: Math.ceil(out / size) }, (_, i) => ({
    first: (begin + i * size) % out,
    count: Math.min(size, out - i * size),
  }));
}

/** Some rows of dW, float32, on the host. */
async function deltaRows(
  device: Device,
  linear: AdaptedLinear,
  rows: DeltaRows,
): Promise<TypedArray> {
  const weight = device.alloc([rows.count, linear.shape.in], "float32");
  try {
    await deltaOnto(device, linear, { weight, mode: "write", rows });
    return await device.read(weight);
  } finally {
    device.release(weight);
  }
}

/** dW by the module's own step; built in pieces where it is larger than a tensor of the device. */
async function deltaBySteps(device: Device, linear: AdaptedLinear): Promise<HostTensor> {
  const { out, in: inFeatures } = linear.shape;
  const most = Math.max(1, Math.floor(device.maxTensorBytes / (4 * inFeatures)));
  const [whole, ...others] = deltaPieces(out, most);
  if (others.length === 0) return tensor(await deltaRows(device, linear, whole), [out, inFeatures]);
  const delta = newDelta(linear.shape);
  for (const rows of [whole, ...others]) {
    const piece = await deltaRows(device, linear, rows);
    const toEnd = Math.min(rows.count, out - rows.first) * inFeatures;
    delta.set(piece.subarray(0, toEnd), rows.first * inFeatures);
    delta.set(piece.subarray(toEnd));
  }
  return tensor(delta, [out, inFeatures]);
}

/** Numbers that the products of unit rows may come to at once. */
const mostNumbers = 2 ** 24;

/** dW by its method's phases of unit rows, some at a time. */
async function deltaByPhases(device: Device, linear: AdaptedLinear): Promise<HostTensor> {
  const { shape: { out, in: inSize }, base } = linear;
  const width = base?.shapes.reduce((sum, one) => sum + one.out, 0) ?? out;
  const most = Math.min(device.maxTensorBytes / 4, mostNumbers) / Math.max(inSize, width);
  const size = Math.max(1, Math.min(inSize, Math.floor(most)));
  const delta = newDelta({ out, in: inSize });
  const unit = await alone(device, linear);
  try {
    for (let first = 0; first < inSize; first += size) {
      const rows = Math.min(size, inSize - first);
      const x = new Float32Array(rows * inSize);
      for (let r = 0; r < rows; r++) x[r * inSize + first + r] = 1;
      const changed = await unit.change(x, rows);
      for (let r = 0; r < rows; r++) {
        for (let o = 0; o < out; o++) delta[o * inSize + first + r] = changed[r * out + o];
      }
    }
  } finally {
    unit.release();
  }
  return tensor(delta, [out, inSize]);
}

/**
 * dW (out, in), float32, on the host: what the adapter adds to the weight that the linear multiplies by.
 *
 * @throws ConfigError without the base's weight, where the method needs it; RangeError for a dW that is too large for the
 * host.
 */
export async function deltaOf(device: Device, linear: AdaptedLinear): Promise<HostTensor> {
  return await (linear.module.deltaStep ? deltaBySteps(device, linear) : deltaByPhases(device, linear));
}

/**
 * The bias (out), float32, of a linear whose adapter is merged: what a method that changes the bias makes of it, and the bias
 * itself for other methods.
 *
 * @throws ConfigError without the base's weight, where the method needs it.
 */
export async function mergedBias(
  device: Device,
  linear: AdaptedLinear,
  bias: Float32Array,
): Promise<Float32Array> {
  if (!linear.method.changesBias) return bias;
  const unit = await alone(device, linear);
  try {
    return await unit.bias(bias);
  } finally {
    unit.release();
  }
}

function checkWeight({ shape }: AdaptedLinear, weight: Tensor): void {
  if (weight.shape.length !== 2 || weight.shape[0] !== shape.out || weight.shape[1] !== shape.in) {
    throw new RangeError(
      `Cannot merge into a weight of shape [${weight.shape}]: the adapted linear is (${shape.out}, ${shape.in})`,
    );
  }
  if (weight.dtype !== "float32") {
    throw new TypeError(`Cannot merge into a weight of ${weight.dtype}: it must be float32`);
  }
}

async function sumOnto(device: Device, linear: AdaptedLinear, weight: Tensor, sign: 1 | -1): Promise<void> {
  const { out } = linear.shape;
  if (linear.module.deltaStep) {
    const mode = sign === 1 ? "add" : "subtract";
    return await deltaOnto(device, linear, { weight, mode, rows: { first: 0, count: out } });
  }
  const delta = await deltaByPhases(device, linear);
  if (sign < 0) delta.data.forEach((value, i) => delta.data[i] = -value);
  await inWorkspace(device, async ({ upload }) => {
    await runOnce(device, [step(add, { x: upload(delta), y: weight }, { count: elements(weight.shape) })]);
  });
}

/**
 * Adds dW to a weight (out, in), float32, on the device, in place. For methods that act on the base's weight, this weight is
 * the base unless `linear.base` says another. A bias that the method changes is not touched: {@linkcode mergedBias} makes it.
 *
 * @throws RangeError when the weight's shape is not the linear's; TypeError when it is not float32.
 */
export async function merge(device: Device, linear: AdaptedLinear, weight: Tensor): Promise<void> {
  checkWeight(linear, weight);
  const { base = baseLinear(device, weight) } = linear;
  await sumOnto(device, { ...linear, base }, weight, 1);
}

/**
 * Takes a merged dW out of a weight again, within float32 rounding.
 *
 * @throws as {@linkcode merge}; ConfigError without `linear.base` where dW depends on the base's weight.
 */
export async function unmerge(device: Device, linear: AdaptedLinear, weight: Tensor): Promise<void> {
  checkWeight(linear, weight);
  await sumOnto(device, linear, weight, -1);
}

function checkRows(name: string, t: HostTensor, features: number): number {
  if (t.dtype !== "float32") throw new TypeError(`Cannot use "${name}" as ${t.dtype}: it must be float32`);
  if (t.shape.length !== 2 || t.shape[1] !== features) {
    throw new RangeError(`Cannot use "${name}" of shape [${t.shape}]: it must be (rows, ${features})`);
  }
  return t.shape[0];
}

/**
 * `y + x dW^T` (or without y): x (rows, in), y and result (rows, out), float32, on the host. What a method does to the bias
 * (`changesBias`) is no part of dW.
 *
 * @throws ConfigError without the base's weight, where the method needs it.
 */
export async function applyModule(
  device: Device,
  linear: AdaptedLinear,
  { x, y }: { readonly x: HostTensor; readonly y?: HostTensor },
): Promise<HostTensor> {
  const { out, in: inSize } = linear.shape;
  const rows = checkRows("x", x, inSize);
  if (y && checkRows("y", y, out) !== rows) {
    throw new RangeError(`Cannot add to "y" of ${y.shape[0]} rows: "x" has ${rows}`);
  }
  if (rows === 0) return tensor(new Float32Array(0), [0, out]);
  const unit = await alone(device, linear);
  try {
    return tensor(await unit.change(x.data, rows, y?.data), [rows, out]);
  } finally {
    unit.release();
  }
}
