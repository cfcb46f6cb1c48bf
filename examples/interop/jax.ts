/**
 * An adapter of PEFT's beside a linear that jax-js computes. x is read where it lies. jax-js asks that its buffers are not
 * changed, so that y is copied once on the GPU; it has no way to take a buffer back.
 *
 * @module
 */
import { adapterOn, type LoadedAdapter, type OwnLinear, tensorOf } from "fourierft";
import { kernelRunner } from "fourierft/kernels";
import { defaultDevice, getWebGPUDevice, init, numpy as np } from "@jax-js/jax";

/** What the example needs: x (rows, in), the transposed weight w (in, out), and an adapter's module. */
export interface Task {
  readonly x: Float32Array;
  readonly w: Float32Array;
  readonly rows: number;
  readonly adapter: LoadedAdapter;
  readonly module: string;
  readonly linear: OwnLinear;
}

/** y = x w + x dW^T. */
export async function adapted({ x, w, rows, adapter, module, linear }: Task): Promise<Float32Array> {
  await init("webgpu");
  defaultDevice("webgpu");
  const gpu = getWebGPUDevice();
  const on = await adapterOn(gpu, adapter, { [module]: linear });
  const array = (data: Float32Array, shape: number[]) =>
    np.array(data as Float32Array<ArrayBuffer>, { shape });

  // `.ref` keeps an array that jax-js would free once its buffer is asked for.
  const input = array(x, [rows, linear.in]);
  const product = np.matmul(input.ref, array(w, [linear.in, linear.out]));
  const held = await input.ref.gpuBuffer(), made = await product.ref.gpuBuffer();

  const sizeBytes = 4 * rows * linear.out;
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const sum = gpu.createBuffer({ size: sizeBytes, usage });
  const part = await on.prepare(tensorOf(held, [rows, linear.in]), tensorOf(sum, [rows, linear.out]));

  // The copy and the adapter's part, in one submission.
  const encoder = gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(made, 0, sum, 0, sizeBytes);
  part.encode(encoder);
  gpu.queue.submit([encoder.finish()]);
  const y = new Float32Array(await kernelRunner(gpu).read(sum));

  on.release();
  input.dispose();
  product.dispose();
  sum.destroy();
  return y;
}
