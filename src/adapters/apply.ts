/**
 * One adapted linear on a device: dW, forward, merge and unmerge, without a model.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Plan } from "../plan.ts";
import { type HostTensor, type Tensor, tensor, type TypedArray } from "../tensor.ts";
import { Bank } from "./bank.ts";
import type { AdapterModule, DeltaIo, DeltaRows, LinearShape, Method } from "./method.ts";

/** A module, the method that knows it, and the shape of its linear's weight. */
export interface AdaptedLinear {
  readonly method: Method;
  readonly module: AdapterModule;
  readonly shape: LinearShape;
}

async function runOnce(device: Device, plan: Plan): Promise<void> {
  const program = await device.prepare(plan);
  device.run(program);
  program.release();
}

/** Runs the module's delta step onto `weight`, rows of the linear's own; temporaries are released once the device has read them. */
async function deltaOnto(
  device: Device,
  { module, shape }: AdaptedLinear,
  { weight, mode, rows }: Omit<DeltaIo, "upload">,
): Promise<void> {
  const temporaries: Tensor[] = [];
  const upload = (t: HostTensor): Tensor => {
    const uploaded = device.upload(t);
    temporaries.push(uploaded);
    return uploaded;
  };
  try {
    await runOnce(device, [module.deltaStep(shape, { upload, weight, mode, rows })]);
  } finally {
    for (const t of temporaries) device.release(t);
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

/** dW (out, in), float32, on the host; built in pieces where it is larger than a tensor of the device. */
export async function deltaOf(device: Device, linear: AdaptedLinear): Promise<HostTensor> {
  const { out, in: inFeatures } = linear.shape;
  const most = Math.max(1, Math.floor(device.maxTensorBytes / (4 * inFeatures)));
  const [whole, ...others] = deltaPieces(out, most);
  if (others.length === 0) return tensor(await deltaRows(device, linear, whole), [out, inFeatures]);
  const delta = new Float32Array(out * inFeatures);
  for (const rows of [whole, ...others]) {
    const piece = await deltaRows(device, linear, rows);
    const toEnd = Math.min(rows.count, out - rows.first) * inFeatures;
    delta.set(piece.subarray(0, toEnd), rows.first * inFeatures);
    delta.set(piece.subarray(toEnd));
  }
  return tensor(delta, [out, inFeatures]);
}

function checkWeight({ shape }: AdaptedLinear, weight: Tensor): void {
  if (weight.shape.length !== 2 || weight.shape[0] !== shape.out || weight.shape[1] !== shape.in) {
    throw new RangeError(
      `Cannot merge into a weight of shape [${weight.shape}]: the adapted linear is (${shape.out}, ${shape.in})`,
    );
  }
}

/**
 * Adds dW to a weight (out, in), float32, on the device, in place.
 *
 * @throws RangeError when the weight's shape is not the linear's; TypeError when it is not float32.
 */
export async function merge(device: Device, linear: AdaptedLinear, weight: Tensor): Promise<void> {
  checkWeight(linear, weight);
  await deltaOnto(device, linear, { weight, mode: "add", rows: { first: 0, count: linear.shape.out } });
}

/** Takes a merged dW out of a weight again, within float32 rounding; throws as {@linkcode merge}. */
export async function unmerge(device: Device, linear: AdaptedLinear, weight: Tensor): Promise<void> {
  checkWeight(linear, weight);
  await deltaOnto(device, linear, { weight, mode: "subtract", rows: { first: 0, count: linear.shape.out } });
}

function checkRows(name: string, t: HostTensor, features: number): number {
  if (t.dtype !== "float32") throw new TypeError(`Cannot use "${name}" as ${t.dtype}: it must be float32`);
  if (t.shape.length !== 2 || t.shape[1] !== features) {
    throw new RangeError(`Cannot use "${name}" of shape [${t.shape}]: it must be (rows, ${features})`);
  }
  return t.shape[0];
}

/** `y + x dW^T` (or without y): x (rows, in), y and result (rows, out), float32, on the host. */
export async function applyModule(
  device: Device,
  { method, module, shape }: AdaptedLinear,
  { x, y }: { readonly x: HostTensor; readonly y?: HostTensor },
): Promise<HostTensor> {
  const rows = checkRows("x", x, shape.in);
  if (y && checkRows("y", y, shape.out) !== rows) {
    throw new RangeError(`Cannot add to "y" of ${y.shape[0]} rows: "x" has ${rows}`);
  }
  if (rows === 0) return tensor(new Float32Array(0), [0, shape.out]);
  const bank = new Bank(device, method, { linears: [{ path: "linear", shape }], capacity: 1 });
  const slot = bank.load(new Map([["linear", module]]))!;
  const buffers = {
    x: device.upload(x),
    y: y ? device.upload(y) : device.alloc([rows, shape.out], "float32"),
    slots: device.upload(tensor(new Uint32Array(rows).fill(slot))),
  };
  try {
    await runOnce(device, [bank.step({ first: 0, count: 1 }, { ...buffers, rows })]);
    return tensor(await device.read(buffers.y), [rows, shape.out]);
  } finally {
    for (const t of Object.values(buffers)) device.release(t);
    bank.release();
  }
}
