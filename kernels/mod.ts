/**
 * The kernel library: every kernel once, as data, with what draws a PEFT adapter's frequencies, and a runner on a
 * `GPUDevice` of one's own. Nothing here needs the rest of the package.
 *
 * @module
 */
import { adamw } from "./adamw.ts";
import { add } from "./add.ts";
import { addBias } from "./add_bias.ts";
import { addScaled } from "./add_scaled.ts";
import { addTransposed } from "./add_transposed.ts";
import { attention } from "./attention.ts";
import { cacheFormats, type KvCacheDtype, kvCacheDtypes } from "./caches/mod.ts";
import { circulantGradient } from "./circulant_gradient.ts";
import { circulantLinear } from "./circulant_linear.ts";
import { circulantSpectraOf } from "./circulant_spectra.ts";
import { causalAttention } from "./causal_attention.ts";
import { causalAttentionBackward } from "./causal_attention_backward.ts";
import { clipFactor } from "./clip_factor.ts";
import { copy } from "./copy.ts";
import { crossEntropyHead } from "./cross_entropy_head.ts";
import { crossEntropyLoss } from "./cross_entropy_loss.ts";
import { embedding } from "./embedding.ts";
import { embeddingGradient } from "./embedding_gradient.ts";
import { embeddingPart } from "./embedding_part.ts";
import { adjustLogits } from "./adjust_logits.ts";
import { restoreLogits } from "./restore_logits.ts";
import { maskLogits } from "./mask_logits.ts";
import { tokenLogprobs } from "./token_logprobs.ts";
import { exchange } from "./exchange.ts";
import { fill } from "./fill.ts";
import { dense, formats, nf4_32, q4_32, q4_k, q4z_32, q6_k, q8_32 } from "./formats/mod.ts";
import type { OfFormats } from "./formats/of.ts";
import { fourierDelta } from "./fourier_delta.ts";
import { fourierGradient } from "./fourier_gradient.ts";
import { fourierLinear } from "./fourier_linear.ts";
import { fourierLinears } from "./fourier_linears.ts";
import { gelu, geluBackward } from "./gelu.ts";
import { geluGate, geluGateBackward } from "./gelu_gate.ts";
import { geluGateUp } from "./gelu_gate_up.ts";
import { geluNew, geluNewBackward } from "./gelu_new.ts";
import { geluNewGate, geluNewGateBackward } from "./gelu_new_gate.ts";
import { geluNewGateUp } from "./gelu_new_gate_up.ts";
import type { Kernel } from "./kernel.ts";
import { kronLinear } from "./kron_linear.ts";
import { kvCache } from "./kv_cache.ts";
import { layerNorm } from "./layer_norm.ts";
import { layerNormBackward } from "./layer_norm_backward.ts";
import { linear } from "./linear.ts";
import { linearBias } from "./linear_bias.ts";
import { linearTransposed } from "./linear_transposed.ts";
import { loraBackward } from "./lora_backward.ts";
import { loraLinear } from "./lora_linear.ts";
import { loraNorms } from "./lora_norms.ts";
import { loraProduct } from "./lora_product.ts";
import { magnitude } from "./magnitude.ts";
import { magnitudeBackward } from "./magnitude_backward.ts";
import { multiplyBy, multiplyByBackward } from "./multiply_by.ts";
import { nextTokens } from "./next_tokens.ts";
import { ownBias } from "./own_bias.ts";
import { ownEmbedding } from "./own_embedding.ts";
import { ownEmbeddingFactors } from "./own_embedding_factors.ts";
import { ownNorm } from "./own_norm.ts";
import { ownOutputs } from "./own_outputs.ts";
import { packedAttention } from "./packed_attention.ts";
import { packedAttentionBackward } from "./packed_attention_backward.ts";
import { placeColumns } from "./place_columns.ts";
import { randloraLinear } from "./randlora_linear.ts";
import { qkNorm } from "./qk_norm.ts";
import { reflect } from "./reflect.ts";
import { reflectOutputs } from "./reflect_outputs.ts";
import { relu, reluBackward } from "./relu.ts";
import { reluGate, reluGateBackward } from "./relu_gate.ts";
import { reluGateUp } from "./relu_gate_up.ts";
import { rmsNorm } from "./rms_norm.ts";
import { rmsNormBackward } from "./rms_norm_backward.ts";
import { rope } from "./rope.ts";
import { ropeBackward } from "./rope_backward.ts";
import { ropeCache } from "./rope_cache.ts";
import { rotateBlocks } from "./rotate_blocks.ts";
import { rotateInputs } from "./rotate_inputs.ts";
import { rotatePairs } from "./rotate_pairs.ts";
import { rowSquares } from "./row_squares.ts";
import { sample } from "./sample.ts";
import { scale } from "./scale.ts";
import { scaleColumns } from "./scale_columns.ts";
import { scaleColumnsBackward } from "./scale_columns_backward.ts";
import { scaleOutputs } from "./scale_outputs.ts";
import { silu, siluBackward } from "./silu.ts";
import { siluGate, siluGateBackward } from "./silu_gate.ts";
import { siluGateUp } from "./silu_gate_up.ts";
import { sparseLinear } from "./sparse_linear.ts";
import { scatterRows } from "./scatter_rows.ts";
import { softcap } from "./softcap.ts";
import { softmaxCrossEntropy } from "./softmax_cross_entropy.ts";
import { squaredError } from "./squared_error.ts";
import { sumOfSquares } from "./sum_of_squares.ts";
import { svftBackward } from "./svft_backward.ts";
import { svftLinear } from "./svft_linear.ts";
import { svftProduct } from "./svft_product.ts";
import { causalConv } from "./causal_conv.ts";
import { causalConvBackward } from "./causal_conv_backward.ts";
import { causalConvStep } from "./causal_conv_step.ts";
import { deltaRule } from "./delta_rule.ts";
import { deltaRuleStep } from "./delta_rule_step.ts";
import { gateColumns } from "./gate_columns.ts";
import { takeQueries } from "./take_queries.ts";
import { multiply, multiplyBackward } from "./multiply.ts";
import { takeColumns } from "./take_columns.ts";
import { takeColumnsBackward } from "./take_columns_backward.ts";
import { blockDiagonal } from "./block_diagonal.ts";
import { blockDiagonalBackward } from "./block_diagonal_backward.ts";
import { ownBlocks } from "./own_blocks.ts";
import { takeRows } from "./take_rows.ts";
import { waveletGradient } from "./wavelet_gradient.ts";
import { waveletLinear } from "./wavelet_linear.ts";
import { tanh, tanhBackward } from "./tanh.ts";
import { tileFactors } from "./tile_factors.ts";
import { topSoftmax } from "./top_softmax.ts";
import { topSoftmaxBackward } from "./top_softmax_backward.ts";
import { unitRows } from "./unit_rows.ts";
import { unitRowsBackward } from "./unit_rows_backward.ts";
import { weightGradient } from "./weight_gradient.ts";

export {
  adamw,
  add,
  addBias,
  addScaled,
  addTransposed,
  adjustLogits,
  attention,
  blockDiagonal,
  blockDiagonalBackward,
  causalAttention,
  causalAttentionBackward,
  causalConv,
  causalConvBackward,
  causalConvStep,
  circulantGradient,
  circulantLinear,
  circulantSpectraOf,
  clipFactor,
  copy,
  crossEntropyHead,
  crossEntropyLoss,
  deltaRule,
  deltaRuleStep,
  embedding,
  embeddingGradient,
  embeddingPart,
  exchange,
  fill,
  fourierDelta,
  fourierGradient,
  fourierLinear,
  fourierLinears,
  gateColumns,
  gelu,
  geluBackward,
  geluGate,
  geluGateBackward,
  geluGateUp,
  geluNew,
  geluNewBackward,
  geluNewGate,
  geluNewGateBackward,
  geluNewGateUp,
  kronLinear,
  kvCache,
  layerNorm,
  layerNormBackward,
  linear,
  linearBias,
  linearTransposed,
  loraBackward,
  loraLinear,
  loraNorms,
  loraProduct,
  magnitude,
  magnitudeBackward,
  maskLogits,
  multiply,
  multiplyBackward,
  multiplyBy,
  multiplyByBackward,
  nextTokens,
  ownBias,
  ownBlocks,
  ownEmbedding,
  ownEmbeddingFactors,
  ownNorm,
  ownOutputs,
  packedAttention,
  packedAttentionBackward,
  placeColumns,
  qkNorm,
  randloraLinear,
  reflect,
  reflectOutputs,
  relu,
  reluBackward,
  reluGate,
  reluGateBackward,
  reluGateUp,
  restoreLogits,
  rmsNorm,
  rmsNormBackward,
  rope,
  ropeBackward,
  ropeCache,
  rotateBlocks,
  rotateInputs,
  rotatePairs,
  rowSquares,
  sample,
  scale,
  scaleColumns,
  scaleColumnsBackward,
  scaleOutputs,
  scatterRows,
  silu,
  siluBackward,
  siluGate,
  siluGateBackward,
  siluGateUp,
  softcap,
  softmaxCrossEntropy,
  sparseLinear,
  squaredError,
  sumOfSquares,
  svftBackward,
  svftLinear,
  svftProduct,
  takeColumns,
  takeColumnsBackward,
  takeQueries,
  takeRows,
  tanh,
  tanhBackward,
  tileFactors,
  tokenLogprobs,
  topSoftmax,
  topSoftmaxBackward,
  unitRows,
  unitRowsBackward,
  waveletGradient,
  waveletLinear,
  weightGradient,
};
export { adamwHyper, type AdamwStep } from "./adamw.ts";
export { type CirculantShape, circulantSpectra, circulantTable } from "./circulant/blocks.ts";
export { noTarget } from "./cross_entropy/launch.ts";
export {
  type FourierTable,
  fourierTable,
  type Frequencies,
  inOrder,
  type TableAxes,
} from "./fourier_table.ts";
export { type Draw, frequencies } from "./frequencies.ts";
export * from "./kernel.ts";
export type { Consume, Parts, PartsBank, Produce, ReadSource, ReadUnit, Relay, Together } from "./parts.ts";
export * from "./formats/format.ts";
export { dense, formats, nf4_32, q4_32, q4_k, q4z_32, q6_k, q8_32 };
export type { BlockBuffers } from "./formats/q32/blocks.ts";
export type { OfFormats };
export type { CacheFormat, CachePlace, CacheSizes, OfCaches, PackedText } from "./caches/format.ts";
export { cacheFormats, type KvCacheDtype, kvCacheDtypes };
export { bitsOf, floatOf, noSlot, recordWords } from "./record.ts";
export { svftPattern } from "./svft/pattern.ts";
export { randperm, type RandpermOptions } from "./torch_random.ts";
export {
  elementWavelet,
  type Wavelet,
  type WaveletName,
  waveletNames,
  waveletOf,
} from "./wavelet/filters.ts";
export { type MatrixShape, waveletPlaces, type WaveletTable, waveletTable } from "./wavelet/table.ts";
export type { BufferPart } from "./webgpu/buffers.ts";
export { type KernelRunner, kernelRunner, type RunCall } from "./webgpu/runner.ts";

/** Kernels that read a weight: one of each for every format. */
const ofWeights = [
  linear,
  linearBias,
  linearTransposed,
  crossEntropyHead,
  crossEntropyLoss,
  rowSquares,
  embedding,
  embeddingPart,
];

/** Kernels of the key-value cache: one of each for every format. */
const ofCacheFormats = Object.values(cacheFormats).flatMap((format) => [
  ropeCache.of(format),
  kvCache.of(format),
  attention.of(format),
]);

/** Every kernel of the library. */
export const kernels: readonly Kernel[] = [
  fourierDelta,
  fourierGradient,
  fourierLinear,
  fourierLinears,
  circulantLinear,
  circulantSpectraOf,
  circulantGradient,
  waveletLinear,
  waveletGradient,
  loraLinear,
  loraNorms,
  loraProduct,
  kronLinear,
  sparseLinear,
  randloraLinear,
  svftLinear,
  svftProduct,
  magnitude,
  magnitudeBackward,
  ownBias,
  ownEmbedding,
  ownEmbeddingFactors,
  ownNorm,
  ownOutputs,
  scaleColumns,
  scaleColumnsBackward,
  packedAttention,
  placeColumns,
  ...formats.flatMap((format) => ofWeights.map((kernel) => (kernel as OfFormats<string, string>).of(format))),
  nextTokens,
  rmsNorm,
  layerNorm,
  rope,
  ...ofCacheFormats,
  scale,
  scaleOutputs,
  rotatePairs,
  rotateBlocks,
  rotateInputs,
  reflect,
  reflectOutputs,
  qkNorm,
  siluGate,
  siluGateUp,
  geluGate,
  geluGateUp,
  geluNewGate,
  geluNewGateUp,
  reluGate,
  reluGateUp,
  softcap,
  gelu,
  geluNew,
  relu,
  silu,
  add,
  addScaled,
  multiplyBy,
  addBias,
  addTransposed,
  sample,
  exchange,
  adjustLogits,
  restoreLogits,
  maskLogits,
  tokenLogprobs,
  rmsNormBackward,
  ropeBackward,
  siluGateBackward,
  geluGateBackward,
  geluNewGateBackward,
  reluGateBackward,
  multiplyByBackward,
  layerNormBackward,
  geluBackward,
  geluNewBackward,
  reluBackward,
  siluBackward,
  takeColumns,
  takeColumnsBackward,
  causalConv,
  causalConvBackward,
  causalConvStep,
  deltaRule,
  deltaRuleStep,
  gateColumns,
  takeQueries,
  multiply,
  multiplyBackward,
  takeRows,
  causalAttention,
  causalAttentionBackward,
  packedAttentionBackward,
  embeddingGradient,
  scatterRows,
  softmaxCrossEntropy,
  squaredError,
  loraBackward,
  weightGradient,
  topSoftmax,
  topSoftmaxBackward,
  unitRows,
  unitRowsBackward,
  blockDiagonal,
  blockDiagonalBackward,
  ownBlocks,
  tanh,
  tanhBackward,
  tileFactors,
  svftBackward,
  fill,
  copy,
  sumOfSquares,
  clipFactor,
  adamw,
] as unknown as readonly Kernel[];
