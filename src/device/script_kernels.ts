/**
 * The package's kernels in TypeScript, by name, for the threads that run them where WASM has no function.
 *
 * @module
 */
import { adjustLogits } from "../../kernels/adjust_logits.ts";
import type { Kernel } from "../../kernels/kernel.ts";
import { nextTokens } from "../../kernels/next_tokens.ts";
import { restoreLogits } from "../../kernels/restore_logits.ts";

type ByName = ReadonlyMap<string, Kernel>;

const byName = (kernels: readonly Kernel[]): ByName => new Map(kernels.map((one) => [one.name, one]));

/** What steps of every model have: the other kernels are loaded for the first program that has one of them. */
let known = byName([adjustLogits, nextTokens, restoreLogits]);
let isWhole = false;

/** Whether a kernel's name says enough now, so that nothing has to be loaded. */
export const isAtHand = (name: string): boolean => isWhole || known.has(name);

/** The package's kernel of a name; undefined where there is none, or none at hand. */
export const scriptKernel = (name: string): Kernel | undefined => known.get(name);

/** Has every kernel at hand. */
export async function loadScriptKernels(): Promise<void> {
  const { kernels } = await import("../../kernels/mod.ts");
  known = byName(kernels);
  isWhole = true;
}
