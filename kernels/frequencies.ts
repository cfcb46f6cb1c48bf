/**
 * Where a PEFT adapter's coefficients stand: a FourierFT file holds no frequencies, only the seed they are drawn from.
 *
 * @module
 */
import type { Frequencies } from "./fourier_table.ts";
import { randperm, type RandpermOptions } from "./torch_random.ts";

/** PEFT's `random_loc_seed`, and the PyTorch that drew; see {@linkcode RandpermOptions}. */
export type Draw = Pick<RandpermOptions, "seed" | "torch">;

/**
 * The n frequencies PEFT draws for an (out, in) weight: the first n of torch.randperm(out * in), row-major.
 *
 * @throws RangeError when n is more than out * in, or the seed is out of range.
 */
export function frequencies(
  n: number,
  shape: { readonly out: number; readonly in: number },
  draw: Draw,
): Frequencies {
  const flat = randperm(shape.out * shape.in, { ...draw, count: n });
  const u = new Uint32Array(n);
  const v = new Uint32Array(n);
  for (let l = 0; l < n; l++) {
    u[l] = Math.floor(flat[l] / shape.in);
    v[l] = flat[l] % shape.in;
  }
  return { u, v };
}
