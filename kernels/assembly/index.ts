// Every function that a kernel's `wasm` names. Arguments are byte offsets in memory, numbers of elements and rows, and
// strides in elements. The sources are compiled twice: with relaxed SIMD, and without.

/** Whether this module has relaxed SIMD. */
export const relaxed: bool = ASC_FEATURE_RELAXED_SIMD;

export { attention } from "./attention";
export { fourier_linears } from "./fourier";
export { linear } from "./linear";
export { lora_linear } from "./lora";
export { quantized_linear } from "./quantized";
export { sample } from "./sample";
export { svft_linear } from "./svft";
export {
  add,
  add_transposed,
  embedding,
  fill,
  qk_norm,
  rms_norm,
  rope,
  rope_cache,
  silu_gate,
  silu_gate_up,
} from "./rows";
