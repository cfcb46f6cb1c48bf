// Every function that a kernel's `wasm` names. Arguments are byte offsets in memory, numbers of elements and rows, and
// strides in elements. The sources are compiled twice: with relaxed SIMD, and without.
//
// The last two arguments of each are the part of the work that is done: from an item to another. Which items there are, a
// kernel's `wasm` says. A result does not depend on how the work is cut.

/** Whether this module has relaxed SIMD. */
export const relaxed: bool = ASC_FEATURE_RELAXED_SIMD;

export { attention } from "./attention";
export { attention_rows } from "./attention_rows";
export { blocks_linear } from "./blocks";
export { packed_cache_attention, packed_rope_cache } from "./caches";
export {
  causal_attention,
  causal_attention_backward,
  packed_attention,
  packed_attention_backward,
} from "./causal";
export { cross_entropy } from "./cross_entropy";
export { fourier_delta, fourier_gradient, fourier_linears, fourier_sums } from "./fourier";
export { kron_linear } from "./kron";
export { linear } from "./linear";
export { linear_rows, place_rows } from "./linear_rows";
export { lora_linear } from "./lora";
export { lora_gradients, lora_product, lora_rows } from "./lora_training";
export { quantize_fours, quantize_rows } from "./packed";
export { quantized_linear } from "./quantized";
export { randlora_down, randlora_up } from "./randlora";
export { sample } from "./sample";
export { sparse_linear } from "./sparse";
export { svft_linear } from "./svft";
export {
  add,
  add_transposed,
  embedding,
  fill,
  gelu,
  gelu_backward,
  qk_norm,
  rms_norm,
  rms_norm_backward,
  rope,
  rope_backward,
  rope_cache,
  silu_gate,
  silu_gate_backward,
  silu_gate_up,
} from "./rows";
export { linear_transposed, turn, weight_gradient } from "./transposed";
