/**
 * What the page of the test does: runs an example on a small linear, and compares its y with the CPU device's.
 *
 * @module
 */
import { normals } from "../../kernels/kernel.ts";
import { applyModule, cpuDevice, loadAdapter, openUrlFolder, tensor } from "../../mod.ts";
import { distance, randomSource } from "../kernel_contract.ts";
import { matMulModel } from "./model.ts";

const linear = { out: 256, in: 256 }, rows = 3;
const module = "model.layers.0.self_attn.q_proj";

/** What each example offers; `model` is for ONNX Runtime. */
interface Example {
  adapted(task: Readonly<Record<string, unknown>>): Promise<Float32Array>;
}

/** Relative distances of the example's y: to x w + x dW^T, and to x w alone. */
export interface Distances {
  readonly toSum: number;
  readonly toProduct: number;
}

/** Runs the example that is at a URL. */
export async function check(url: string): Promise<Distances> {
  const adapter = await loadAdapter(openUrlFolder(new URL("/adapter/", location.href).href));
  const random = randomSource(7), numbers = (count: number) => normals(count, random);
  const x = numbers(rows * linear.in), w = numbers(linear.in * linear.out).map((value) => value / 16);
  const product = new Float32Array(rows * linear.out);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < linear.out; o++) {
      for (let i = 0; i < linear.in; i++) {
        product[r * linear.out + o] += x[r * linear.in + i] * w[i * linear.out + o];
      }
    }
  }
  const adapted = { method: adapter.method, module: adapter.modules.get(module)!, shape: linear };
  const right = await applyModule(cpuDevice(), adapted, {
    x: tensor(x, [rows, linear.in]),
    y: tensor(product, [rows, linear.out]),
  });
  const { adapted: run } = await import(url) as Example;
  const found = await run({ model: matMulModel(rows, linear), x, w, rows, adapter, module, linear });
  return { toSum: distance(found, right.data as Float32Array), toProduct: distance(found, product) };
}
