/**
 * An adapter of PEFT's beside a linear that ONNX Runtime Web computes: x and y stay on its `GPUDevice`, and nothing is copied.
 *
 * @module
 */
import { adapterOn, type LoadedAdapter, type OwnLinear, tensorOf } from "fourierft";
import { env, InferenceSession, Tensor } from "onnxruntime-web/webgpu";

/** What the example needs: a model of inputs `x` (rows, in) and `w` (in, out), whose output is `y` (rows, out) = x w. */
export interface Task {
  readonly model: Uint8Array;
  readonly x: Float32Array;
  readonly w: Float32Array;
  readonly rows: number;
  readonly adapter: LoadedAdapter;
  /** The module of the adapter, and its linear's sizes. */
  readonly module: string;
  readonly linear: OwnLinear;
}

/** y = x w + x dW^T, read by ONNX Runtime at the end. */
export async function adapted({ model, x, w, rows, adapter, module, linear }: Task): Promise<Float32Array> {
  const session = await InferenceSession.create(model, {
    executionProviders: ["webgpu"],
    preferredOutputLocation: "gpu-buffer",
  });
  const gpu = await env.webgpu.device; // there once a session is
  const on = await adapterOn(gpu, adapter, { [module]: linear });

  // In: ONNX Runtime reads a buffer of ours, which the adapter reads, too.
  const held = gpu.createBuffer({
    size: x.byteLength,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
  });
  gpu.queue.writeBuffer(held, 0, x as Float32Array<ArrayBuffer>);
  const input = Tensor.fromGpuBuffer(held, { dataType: "float32", dims: [rows, linear.in] });
  const { y } = await session.run({ x: input, w: new Tensor("float32", w, [linear.in, linear.out]) });

  // Out: its output's buffer takes the adapter's part; what ONNX Runtime does next with y sees the sum.
  await on.apply(tensorOf(held, [rows, linear.in]), tensorOf(y.gpuBuffer, [rows, linear.out]));
  const sum = await y.getData() as Float32Array;

  on.release();
  y.dispose();
  held.destroy();
  await session.release();
  return sum;
}
