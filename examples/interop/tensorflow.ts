/**
 * An adapter of PEFT's beside a linear that TensorFlow.js computes on its WebGPU backend. x goes in without a copy; y is copied
 * once, on the GPU, by `dataToGPU`.
 *
 * @module
 */
import { adapterOn, type LoadedAdapter, type OwnLinear, tensorOf } from "fourierft";
import * as tf from "@tensorflow/tfjs-core";
import type { WebGPUBackend } from "@tensorflow/tfjs-backend-webgpu";
import "@tensorflow/tfjs-backend-webgpu";

/** What the example needs: x (rows, in), the transposed weight w (in, out), and an adapter's module. */
export interface Task {
  readonly x: Float32Array;
  readonly w: Float32Array;
  readonly rows: number;
  readonly adapter: LoadedAdapter;
  readonly module: string;
  readonly linear: OwnLinear;
}

/** y = x w + x dW^T, read by TensorFlow.js at the end. */
export async function adapted({ x, w, rows, adapter, module, linear }: Task): Promise<Float32Array> {
  await tf.setBackend("webgpu");
  await tf.ready();
  const gpu = (tf.backend() as WebGPUBackend).device;
  const on = await adapterOn(gpu, adapter, { [module]: linear });

  // In: a tensor of TensorFlow.js over a buffer of ours.
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const held = gpu.createBuffer({ size: x.byteLength, usage });
  gpu.queue.writeBuffer(held, 0, x as Float32Array<ArrayBuffer>);
  const input = tf.tensor({ buffer: held, zeroCopy: true }, [rows, linear.in], "float32");
  const product = tf.matMul(input as tf.Tensor2D, tf.tensor2d(w, [linear.in, linear.out]));

  // Out: the buffer is that of `tensorRef`, which TensorFlow.js goes on with.
  const { buffer, tensorRef } = product.dataToGPU();
  await on.apply(tensorOf(held, [rows, linear.in]), tensorOf(buffer!, [rows, linear.out]));
  const sum = await tensorRef.data() as Float32Array;

  on.release();
  tf.disposeVariables();
  tf.dispose([input, product, tensorRef]);
  held.destroy();
  return sum;
}
