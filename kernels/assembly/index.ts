// Every function that a kernel's `wasm` names. Arguments are byte offsets in memory, numbers of elements and rows, and
// strides in elements.
export { attention } from "./attention";
export { fourier_linear } from "./fourier";
export { linear } from "./linear";
export { lora_linear } from "./lora";
export { sample } from "./sample";
export { add, embedding, rms_norm, rope, scatter_rows, silu_gate } from "./rows";
