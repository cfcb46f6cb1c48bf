/**
 * SVFT adapters of one module, with files and bases in memory.
 *
 * @module
 */
import { normals } from "../kernels/kernel.ts";
import { deltaOf } from "../src/adapters/apply.ts";
import { baseLinear } from "../src/adapters/base.ts";
import type { BaseLinear } from "../src/adapters/method.ts";
import { svft } from "../src/adapters/methods/svft.ts";
import type { LoadedAdapter } from "../src/adapters/peft.ts";
import { madeReady } from "../src/adapters/ready.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { uniforms } from "../src/engine/random.ts";
import { memoryFolder } from "../src/testing/mod.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";
import { adapterFiles } from "../src/training/checkpoint.ts";
import { newModule } from "./new_module.ts";

export const device = cpuDevice();

export const shape = { out: 12, in: 9 };
export const square = { out: 12, in: 12 };

/** A base of a seed's weight, or of a given one. */
export function base(
  of: { readonly out: number; readonly in: number },
  weight = normals(of.out * of.in, uniforms(1)),
) {
  return baseLinear(device, device.upload(tensor(weight.slice(), [of.out, of.in])));
}

/** An adapter of one module "l", as files. */
export function filesOf(
  config: Readonly<Record<string, unknown>>,
  tensors: Readonly<Record<string, HostTensor>>,
) {
  const named = Object.entries(tensors).map(([name, t]) => [`l.svft_layer.${name}`, t] as const);
  return memoryFolder(adapterFiles({ peft_type: "SVFT", ...config }, new Map(named)));
}

/** A trained adapter of one module: random numbers on a band, in this package's own file. */
export async function banded(own: BaseLinear, offDiag: number, seed = 2) {
  const { shapes: [of] } = own, fresh = newModule(svft, of, { off_diag: offDiag });
  const { modules } = await madeReady(device, { method: svft, modules: new Map([["l", fresh]]) }, () => own);
  const trainable = modules.get("l")!.trainable!(of, (t) => device.upload(t));
  const tensors = trainable.tensors(normals(trainable.values.length, uniforms(seed)));
  return Object.fromEntries([...tensors].map(([name, t]) => [name.slice(".svft_layer.".length), t]));
}

/** dW of the module "l" on a base. */
export async function delta(adapter: LoadedAdapter, own: BaseLinear): Promise<Float32Array> {
  const module = adapter.modules.get("l")!;
  return (await deltaOf(device, { method: svft, module, shape: own.shapes[0], base: own }))
    .data as Float32Array;
}
