/**
 * The kernels without the rest of the library: a FourierFT linear on a `GPUDevice` and buffers of the caller.
 *
 *     deno run -A examples/kernels_alone.ts
 *
 * @module
 */
import {
  bitsOf,
  fourierLinear,
  fourierTable,
  frequencies,
  inOrder,
  kernelRunner,
  normals,
  noSlot,
} from "fourierft/kernels";
import { openGpu } from "fourierft/node"; // a page's own: (await navigator.gpu.requestAdapter()).requestDevice()

const shape = { out: 96, in: 80 };
const [rows, n, scaling] = [3, 50, 150];
const { u, v } = frequencies(n, shape, { seed: 777 }); // PEFT's random_loc_seed
const { table, order } = fourierTable({ destination: u, source: v }, {
  destination: shape.out,
  source: shape.in,
});
const arrays = {
  x: normals(rows * shape.in, Math.random),
  slots: Uint32Array.of(0, noSlot, 0), // the row between has no adapter
  records: Uint32Array.of(0, 0, n, bitsOf(scaling / (shape.out * shape.in))), // one linear, one slot
  tables: table,
  values: inOrder(normals(n, Math.random), order),
  y: new Float32Array(rows * shape.out),
};
const uniforms = { rows, ...shape, linear: 0, capacity: 1 };

const { device: gpu, description, destroy } = await openGpu();
const runner = kernelRunner(gpu);
const { x, slots, records, tables, values, y } = arrays;
const buffers = {
  x: runner.upload(x),
  slots: runner.upload(slots),
  records: runner.upload(records),
  tables: runner.upload(tables),
  values: runner.upload(values),
  y: runner.upload(y),
};
await runner.run(fourierLinear, { buffers, uniforms });
const found = new Float32Array(await runner.read(buffers.y));
destroy();

fourierLinear.reference(arrays, uniforms); // the kernel's specification, onto y
const largest = Math.max(...y.map(Math.abs));
const error = Math.max(...y.map((value, i) => Math.abs(value - found[i])));
console.log(
  `${description}: y (${rows}, ${shape.out}), largest ${largest.toFixed(3)}, error ${error.toExponential(1)}`,
);
if (!(error <= 1e-5 * largest)) throw new Error("The GPU's numbers are not the reference's");
