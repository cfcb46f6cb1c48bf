/**
 * Which of the package's WASM modules a runtime takes.
 *
 * @module
 */
import { relaxedWasmBytes, wasmBytes } from "../../kernels/wasm_bytes.ts";

/** A module with one function that multiplies and adds: `(func (param v128) (result v128) (f32x4.relaxed_madd ...))`. */
const probe = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0],
  // Types: (v128) -> v128. Functions: one of that type.
  ...[1, 6, 1, 0x60, 1, 0x7b, 1, 0x7b],
  ...[3, 2, 1, 0],
  // Code: the parameter three times, then the instruction 0xfd 0x105.
  ...[10, 13, 1, 11, 0, 0x20, 0, 0x20, 0, 0x20, 0, 0xfd, 0x85, 2, 0x0b],
);

/** Whether the runtime has relaxed SIMD. */
export function hasRelaxedSimd(): boolean {
  return WebAssembly.validate(probe);
}

/** The bytes of the package's module for this runtime: with relaxed SIMD where there is any. */
export function ownWasmBytes(): Uint8Array<ArrayBuffer> {
  return hasRelaxedSimd() ? relaxedWasmBytes() : wasmBytes();
}
