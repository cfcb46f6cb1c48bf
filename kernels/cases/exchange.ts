import { exchange } from "../exchange.ts";
import { normals } from "../kernel.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

/** Places in any order, every fourth past the end. */
function sized(count: number, size: number): CaseOf<typeof exchange> {
  return {
    name: `${count} of ${size}`,
    uniforms: { count, size },
    make(random) {
      const places = Array.from({ length: size }, (_, i) => ({ i, order: random() }));
      const shuffled = places.sort((a, b) => a.order - b.order).map(({ i }) => i);
      return {
        at: Uint32Array.from({ length: count }, (_, i) => i % 4 === 3 ? size + i : shuffled[i]),
        x: normals(size, random),
        kept: normals(count, random),
      };
    },
  };
}

/** Cases of {@linkcode exchange}. */
export const exchangeCases: KernelCases = casesFor(exchange, {
  cases: [sized(1, 1), sized(4, 7), sized(256, 1009), sized(300, 300), sized(257, 5000)],
  benches: [{ ...sized(64, 16 * 128256), bytes: 64 * 5 * 4 }],
});
