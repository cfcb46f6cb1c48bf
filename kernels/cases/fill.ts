import { elementwiseCases } from "./elementwise.ts";
import { fill } from "../fill.ts";
import type { KernelCases } from "./case.ts";

/** Cases of {@linkcode fill}. */
export const fillCases: KernelCases = elementwiseCases(fill, {
  cases: [1, 251, 256, 257].map((count) => ({ count, uniforms: { value: count % 2 ? -0.5 : 0 } })),
  bench: { count: 2 ** 22, uniforms: { value: 0 } },
});
