/**
 * The kernels that reconstruct dW, and those that apply it, have every property of spectral reconstruction, on every device.
 */
import { test } from "node:test";
import fc from "fast-check";
import { bitsOf, fourierDelta, fourierLinear, fourierTable, inOrder } from "../kernels/mod.ts";
import { type Device, step, type Tensor, tensor } from "../mod.ts";
import { shapes, spectralProperties, type SpectralReconstruction } from "../src/testing/mod.ts";
import { everyDevice } from "./devices.ts";

/** Runs one kernel call and reads an output; what was uploaded is released. */
async function ran<B extends string>(
  device: Device,
  stepOf: (buffers: Readonly<Record<B, Tensor>>) => ReturnType<typeof step>,
  { buffers, output }: { readonly buffers: Readonly<Record<B, Tensor>>; readonly output: B },
): Promise<ArrayLike<number>> {
  const program = await device.prepare([stepOf(buffers)]);
  try {
    device.run(program);
    return await device.read(buffers[output]);
  } finally {
    program.release();
    for (const t of Object.values<Tensor>(buffers)) device.release(t);
  }
}

/** dW by `fourier_delta`. */
const deltaBy = (device: Device): SpectralReconstruction => ({ coefficients, u, v, scaling }, shape) => {
  const axes = { destination: shape.in, source: shape.out };
  const { table, order } = fourierTable({ destination: v, source: u }, axes);
  const buffers = {
    table: device.upload(tensor(table)),
    values: device.upload(tensor(inOrder(coefficients, order))),
    weight: device.alloc([shape.out, shape.in], "float32"),
  };
  const uniforms = {
    ...shape,
    scale: scaling / (shape.out * shape.in),
    accumulate: 0,
    first: 0,
    rows: shape.out,
  };
  return ran(device, (bound) => step(fourierDelta, bound, uniforms), { buffers, output: "weight" });
};

/** dW by `fourier_linear`, which never builds it: the rows of x are those of the identity, and y is dW^T. */
const appliedBy =
  (device: Device): SpectralReconstruction => async ({ coefficients, u, v, scaling }, shape) => {
    const { out, in: rows } = shape;
    const { table, order } = fourierTable({ destination: u, source: v }, { destination: out, source: rows });
    const identity = Float32Array.from({ length: rows * rows }, (_, i) => Number(i % (rows + 1) === 0));
    const buffers = {
      x: device.upload(tensor(identity, [rows, rows])),
      slots: device.upload(tensor(new Uint32Array(rows))),
      records: device.upload(
        tensor(Uint32Array.of(0, 0, coefficients.length, bitsOf(scaling / (out * rows)))),
      ),
      tables: device.upload(tensor(table)),
      values: device.upload(tensor(inOrder(coefficients, order))),
      y: device.alloc([rows, out], "float32"),
    };
    const uniforms = { rows, ...shape, linear: 0, capacity: 1 };
    const y = await ran(device, (bound) => step(fourierLinear, bound, uniforms), { buffers, output: "y" });
    return Float32Array.from({ length: out * rows }, (_, i) => y[i % rows * out + Math.floor(i / rows)]);
  };

/** A software GPU compiles a text for each shape: it is given few of them. */
const few = fc.constantFrom(
  { out: 1, in: 1 },
  { out: 12, in: 8 },
  { out: 7, in: 30 },
  { out: 32, in: 32 },
);

for (const [name, device] of await everyDevice()) {
  const onGpu = device.kind === "webgpu";
  const options = onGpu ? { shapes: few, numRuns: 8 } : { shapes: shapes({ longest: 96 }), numRuns: 20 };
  for (const [kernel, by] of Object.entries({ fourier_delta: deltaBy, fourier_linear: appliedBy })) {
    for (const [property, check] of Object.entries(spectralProperties)) {
      test(`${kernel} has the property ${property}, on ${name}`, () => check(by(device), options));
    }
  }
}
