/**
 * The output projection and cross-entropy as a call of the WASM module.
 *
 * @module
 */
import type { StoredWeight } from "../formats/format.ts";
import type { WasmCall } from "../kernel.ts";
import { transposedScratch } from "../linear/transposed_wasm.ts";
import type { Sizes } from "./launch.ts";

/** Rows whose logits are held at once: 2 MiB, which a core's cache holds; whole tiles of three. */
const rowsAtOnce = (vocab: number): number => Math.max(3, Math.min(63, 3 * Math.floor(2 ** 19 / vocab / 3)));

/** A call; undefined for a weight that is not of floats, and of capped logits. `dhidden` is 0 for losses alone. */
export function crossEntropyWasm(
  { format, types }: StoredWeight,
  { rows, dim, vocab, scale, softcap }: Sizes,
  dhidden: "dhidden" | 0,
): WasmCall | undefined {
  const weight = format.wasmWeight?.(types);
  if (!weight || weight.bits < 16 || softcap > 0) return undefined;
  const { args: [name], bits } = weight, most = rowsAtOnce(vocab);
  return {
    function: "cross_entropy",
    args: [
      ...["hidden", name, bits, "targets", "losses", dhidden, "room", "scratch"],
      ...[most, rows, dim, vocab, scale],
    ],
    items: Math.ceil(rows / most),
    work: (dhidden === 0 ? 1 : 2) * rows * dim * vocab,
    each: {
      room: 4 * most * (2 * dim + vocab),
      scratch: transposedScratch({ inner: vocab, columns: dim }),
    },
    halves: [name],
  };
}
