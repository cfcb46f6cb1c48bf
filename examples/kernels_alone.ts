/**
 * The kernels without the rest of the library: a FourierFT linear by plain WebGPU calls, on buffers of the caller.
 *
 *     deno run -A examples/kernels_alone.ts
 *
 * A kernel's `launch` is data: WGSL, bindings, grid. What a caller does with it is below, whole.
 *
 * @module
 */
import { frequencies, openGpu } from "fourierft";
import {
  bitsOf,
  type Call,
  fourierLinear,
  fourierTable,
  inOrder,
  type Kernel,
  type Limits,
  normals,
  noSlot,
  type TypedArray,
} from "fourierft/kernels";

// WebGPU's flags by number: not every runtime has the globals that name them.
const [mapRead, copySrc, copyDst, uniformUse, storageUse] = [0x1, 0x4, 0x8, 0x40, 0x80];

function bufferOf(gpu: GPUDevice, data: TypedArray, usage = storageUse): GPUBuffer {
  const buffer = gpu.createBuffer({ size: data.byteLength, usage: usage | copyDst | copySrc });
  gpu.queue.writeBuffer(buffer, 0, data as TypedArray & { buffer: ArrayBuffer });
  return buffer;
}

function limitsOf({ limits, features }: GPUDevice): Limits {
  return {
    workgroupStorageBytes: limits.maxComputeWorkgroupStorageSize,
    invocations: limits.maxComputeInvocationsPerWorkgroup,
    workgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
    features: new Set(features),
  };
}

/** The kernel's uniform words, in their declared order, as binding 0 holds them. */
function uniformBuffer<B extends string, U extends string>(
  gpu: GPUDevice,
  kernel: Kernel<B, U>,
  values: Readonly<Record<U, number>>,
): GPUBuffer {
  const names = Object.keys(kernel.uniforms) as U[];
  const words = new Uint32Array(Math.max(4, names.length)); // a uniform buffer has 16 bytes at least
  names.forEach((name, i) =>
    words[i] = kernel.uniforms[name] === "f32" ? bitsOf(values[name]) : values[name]
  );
  return bufferOf(gpu, words, uniformUse);
}

/** Runs a kernel on buffers that are named as it names them. */
function runKernel<B extends string, U extends string>(
  gpu: GPUDevice,
  kernel: Kernel<B, U>,
  { buffers, ...call }: Call<B, U> & { readonly buffers: Readonly<Record<B, GPUBuffer>> },
): void {
  const { dispatches, scratch = {}, tables = {} } = kernel.launch(call, limitsOf(gpu));
  const named: Record<string, GPUBuffer> = { ...buffers };
  for (const [name, size] of Object.entries(scratch)) {
    named[name] = gpu.createBuffer({ size, usage: storageUse });
  }
  for (const [name, table] of Object.entries(tables)) named[name] = bufferOf(gpu, table.make());
  const uniforms = uniformBuffer(gpu, kernel, call.uniforms);
  const encoder = gpu.createCommandEncoder();
  const pass = encoder.beginComputePass();
  for (const { wgsl, bindings, constants, grid } of dispatches) {
    const pipeline = gpu.createComputePipeline({
      layout: "auto",
      compute: { module: gpu.createShaderModule({ code: wgsl }), entryPoint: "main", constants },
    });
    const entries = [uniforms, ...bindings.map(({ name }) => named[name])]
      .map((buffer, binding) => ({ binding, resource: { buffer } }));
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(...grid);
  }
  pass.end();
  gpu.queue.submit([encoder.finish()]);
}

async function readFloats(gpu: GPUDevice, buffer: GPUBuffer): Promise<Float32Array> {
  const staging = gpu.createBuffer({ size: buffer.size, usage: mapRead | copyDst });
  const encoder = gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
  gpu.queue.submit([encoder.finish()]);
  await staging.mapAsync(0x1);
  return new Float32Array(staging.getMappedRange().slice(0));
}

const shape = { out: 96, in: 80 };
const rows = 3;
const n = 50;
const { u, v } = frequencies(n, shape, { seed: 777 });
const { table, order } = fourierTable({ destination: u, source: v }, {
  destination: shape.out,
  source: shape.in,
});
const scale = 150 / (shape.out * shape.in);
const arrays = {
  x: normals(rows * shape.in, Math.random),
  slots: Uint32Array.of(0, noSlot, 0), // the row between has no adapter
  records: Uint32Array.of(0, 0, n, bitsOf(scale)), // one layer, one slot
  tables: table,
  values: inOrder(normals(n, Math.random), order),
  y: new Float32Array(rows * shape.out),
};
const uniforms = { rows, ...shape, layer: 0, capacity: 1 };
const dtypes = {
  x: "float32",
  slots: "uint32",
  records: "uint32",
  tables: "uint32",
  values: "float32",
  y: "float32",
} as const;

const { device: gpu, description, destroy } = await openGpu();
const buffers = {
  x: bufferOf(gpu, arrays.x),
  slots: bufferOf(gpu, arrays.slots),
  records: bufferOf(gpu, arrays.records),
  tables: bufferOf(gpu, arrays.tables),
  values: bufferOf(gpu, arrays.values),
  y: bufferOf(gpu, arrays.y),
};
runKernel(gpu, fourierLinear, { uniforms, dtypes, buffers });
const y = await readFloats(gpu, buffers.y);
destroy();

fourierLinear.reference(arrays, uniforms); // the kernel's specification, onto arrays.y
const largest = Math.max(...arrays.y.map(Math.abs));
const error = Math.max(...arrays.y.map((value, i) => Math.abs(value - y[i])));
console.log(
  `${description}: y (${rows}, ${shape.out}), largest ${largest.toFixed(3)}, error ${error.toExponential(1)}`,
);
if (!(error <= 1e-5 * largest)) throw new Error("The GPU's numbers are not the reference's");
