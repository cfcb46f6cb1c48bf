/**
 * Every kernel's cases and bench sizes.
 *
 * @module
 */
import { activationCases } from "./activations.ts";
import { adamwCases } from "./adamw.ts";
import { addBiasCases } from "./add_bias.ts";
import { addTransposedCases } from "./add_transposed.ts";
import { attentionCases, attentionCasesOf } from "./attention.ts";
import { causalAttentionCases } from "./causal_attention.ts";
import { causalAttentionBackwardCases } from "./causal_attention_backward.ts";
import { causalConvBackwardCases, causalConvCases } from "./causal_conv.ts";
import { causalConvStepCases } from "./causal_conv_step.ts";
import { circulantGradientCases } from "./circulant_gradient.ts";
import { circulantLinearCases } from "./circulant_linear.ts";
import { circulantSpectraOfCases } from "./circulant_spectra.ts";
import { clipFactorCases } from "./clip_factor.ts";
import { crossEntropyHeadCases } from "./cross_entropy_head.ts";
import { crossEntropyLossCases } from "./cross_entropy_loss.ts";
import { deltaRuleCases, deltaRuleStepCases } from "./delta_rule.ts";
import { embeddingGradientCases } from "./embedding_gradient.ts";
import { embeddingCases, embeddingPartCases } from "./embedding.ts";
import { adjustLogitsCases } from "./adjust_logits.ts";
import { restoreLogitsCases } from "./restore_logits.ts";
import { maskLogitsCases } from "./mask_logits.ts";
import { tokenLogprobsCases } from "./token_logprobs.ts";
import { exchangeCases } from "./exchange.ts";
import { fillCases } from "./fill.ts";
import { fourierDeltaCases } from "./fourier_delta.ts";
import { fourierGradientCases } from "./fourier_gradient.ts";
import { fourierLinearCases } from "./fourier_linear.ts";
import { fourierLinearsCases } from "./fourier_linears.ts";
import { kronLinearCases } from "./kron_linear.ts";
import { gateUpCases } from "./gate_up.ts";
import { kvCacheCases, kvCacheCasesOf } from "./kv_cache.ts";
import { layerNormCases } from "./layer_norm.ts";
import { layerNormBackwardCases } from "./layer_norm_backward.ts";
import { linearCases } from "./linear.ts";
import { linearBiasCases } from "./linear_bias.ts";
import { linearTransposedCases } from "./linear_transposed.ts";
import { loraBackwardCases } from "./lora_backward.ts";
import { loraLinearCases } from "./lora_linear.ts";
import { loraNormsCases } from "./lora_norms.ts";
import { loraProductCases } from "./lora_product.ts";
import { magnitudeCases } from "./magnitude.ts";
import { magnitudeBackwardCases } from "./magnitude_backward.ts";
import { nextTokensCases } from "./next_tokens.ts";
import { ownBiasCases } from "./own_bias.ts";
import { ownEmbeddingCases } from "./own_embedding.ts";
import { ownEmbeddingFactorsCases } from "./own_embedding_factors.ts";
import { ownNormCases } from "./own_norm.ts";
import { ownOutputsCases } from "./own_outputs.ts";
import { packedAttentionCases } from "./packed_attention.ts";
import { packedAttentionBackwardCases } from "./packed_attention_backward.ts";
import { scatterRowsCases } from "./scatter_rows.ts";
import { softmaxCrossEntropyCases } from "./softmax_cross_entropy.ts";
import { placeColumnsCases } from "./place_columns.ts";
import { randloraLinearCases } from "./randlora_linear.ts";
import { qkNormCases } from "./qk_norm.ts";
import { reflectCases } from "./reflect.ts";
import { reflectOutputsCases } from "./reflect_outputs.ts";
import { rmsNormCases } from "./rms_norm.ts";
import { rmsNormBackwardCases } from "./rms_norm_backward.ts";
import { ropeCases } from "./rope.ts";
import { ropeBackwardCases } from "./rope_backward.ts";
import { ropeCacheCases, ropeCacheCasesOf } from "./rope_cache.ts";
import { rotateBlocksCases } from "./rotate_blocks.ts";
import { rotateInputsCases } from "./rotate_inputs.ts";
import { rotatePairsCases } from "./rotate_pairs.ts";
import { rowSquaresCases } from "./row_squares.ts";
import { sampleCases } from "./sample.ts";
import { scaleColumnsCases } from "./scale_columns.ts";
import { scaleColumnsBackwardCases } from "./scale_columns_backward.ts";
import { scaleOutputsCases } from "./scale_outputs.ts";
import { sparseLinearCases } from "./sparse_linear.ts";
import { scalingCases } from "./scaling.ts";
import { sumOfSquaresCases } from "./sum_of_squares.ts";
import { svftBackwardCases } from "./svft_backward.ts";
import { svftLinearCases } from "./svft_linear.ts";
import { svftProductCases } from "./svft_product.ts";
import { gateColumnsCases, takeQueriesCases } from "./gate_columns.ts";
import { takeColumnsCases } from "./take_columns.ts";
import { takeColumnsBackwardCases } from "./take_columns_backward.ts";
import { waveletGradientCases } from "./wavelet_gradient.ts";
import { waveletLinearCases } from "./wavelet_linear.ts";
import { blockDiagonalBackwardCases } from "./block_diagonal_backward.ts";
import { blockDiagonalCases } from "./block_diagonal.ts";
import { ownBlocksCases } from "./own_blocks.ts";
import { takeRowsCases } from "./take_rows.ts";
import { tileFactorsCases } from "./tile_factors.ts";
import { topSoftmaxBackwardCases } from "./top_softmax_backward.ts";
import { topSoftmaxCases } from "./top_softmax.ts";
import { unitRowsBackwardCases } from "./unit_rows_backward.ts";
import { unitRowsCases } from "./unit_rows.ts";
import { weightGradientCases } from "./weight_gradient.ts";
import type { CacheFormat } from "../caches/format.ts";
import { cacheFormats } from "../caches/mod.ts";
import { isElementwise } from "../elementwise.ts";
import type { WeightFormat } from "../formats/format.ts";
import { formats } from "../formats/mod.ts";
import type { Kernel } from "../kernel.ts";
import type { KernelCases } from "./case.ts";
import { elementwiseCases } from "./elementwise.ts";

export type { Bench, Case, KernelCases } from "./case.ts";

/** Cases of the kernels that read a weight, by a weight of a format. */
const ofWeights: readonly ((format: WeightFormat) => KernelCases)[] = [
  linearCases,
  linearBiasCases,
  linearTransposedCases,
  crossEntropyHeadCases,
  crossEntropyLossCases,
  rowSquaresCases,
  embeddingCases,
  embeddingPartCases,
];

/** Cases of the kernels of a packed cache. */
const ofPackedCaches: readonly ((format: CacheFormat) => KernelCases)[] = [
  attentionCasesOf,
  kvCacheCasesOf,
  ropeCacheCasesOf,
];

/** Cases of the other kernels; an elementwise kernel is here only where the usual sizes do not serve. */
const ofOthers: readonly KernelCases[] = [
  ...activationCases,
  adamwCases,
  addBiasCases,
  addTransposedCases,
  attentionCases,
  causalAttentionCases,
  causalAttentionBackwardCases,
  circulantGradientCases,
  circulantLinearCases,
  circulantSpectraOfCases,
  clipFactorCases,
  exchangeCases,
  adjustLogitsCases,
  restoreLogitsCases,
  maskLogitsCases,
  tokenLogprobsCases,
  fillCases,
  fourierDeltaCases,
  fourierGradientCases,
  fourierLinearCases,
  fourierLinearsCases,
  ...gateUpCases,
  kvCacheCases,
  layerNormCases,
  layerNormBackwardCases,
  loraBackwardCases,
  loraLinearCases,
  loraNormsCases,
  loraProductCases,
  kronLinearCases,
  sparseLinearCases,
  randloraLinearCases,
  magnitudeCases,
  magnitudeBackwardCases,
  nextTokensCases,
  ownBiasCases,
  ownEmbeddingCases,
  ownEmbeddingFactorsCases,
  ownNormCases,
  ownOutputsCases,
  packedAttentionCases,
  packedAttentionBackwardCases,
  embeddingGradientCases,
  scatterRowsCases,
  softmaxCrossEntropyCases,
  placeColumnsCases,
  qkNormCases,
  reflectCases,
  reflectOutputsCases,
  rmsNormCases,
  rmsNormBackwardCases,
  ropeCases,
  ropeBackwardCases,
  ropeCacheCases,
  rotateBlocksCases,
  rotateInputsCases,
  rotatePairsCases,
  sampleCases,
  scaleColumnsCases,
  scaleColumnsBackwardCases,
  scaleOutputsCases,
  ...scalingCases,
  sumOfSquaresCases,
  svftBackwardCases,
  svftLinearCases,
  svftProductCases,
  causalConvBackwardCases,
  causalConvCases,
  causalConvStepCases,
  deltaRuleCases,
  deltaRuleStepCases,
  gateColumnsCases,
  takeColumnsCases,
  takeQueriesCases,
  takeColumnsBackwardCases,
  waveletGradientCases,
  waveletLinearCases,
  blockDiagonalBackwardCases,
  blockDiagonalCases,
  ownBlocksCases,
  takeRowsCases,
  tileFactorsCases,
  topSoftmaxBackwardCases,
  topSoftmaxCases,
  unitRowsBackwardCases,
  unitRowsCases,
  weightGradientCases,
];

/** Every kernel that reads a weight, by one of a format, with its cases. */
export function weightCases(format: WeightFormat): readonly KernelCases[] {
  return ofWeights.map((of) => of(format));
}

/** Every kernel of a packed cache, of every such format, with its cases. */
const cacheCases = [cacheFormats.float16, cacheFormats.int8].flatMap((format) =>
  ofPackedCaches.map((of) => of(format))
);

const known = new Map(
  [...ofOthers, ...cacheCases, ...formats.flatMap(weightCases)].map((one) => [one.kernel, one]),
);

/**
 * The cases of a kernel of the library.
 *
 * @throws Error for a kernel that has none.
 */
export function casesOf(kernel: Kernel): KernelCases {
  const own = known.get(kernel);
  if (own) return own;
  if (isElementwise(kernel)) return elementwiseCases(kernel);
  throw new Error(`Cannot test ${kernel.name}: kernels/cases/mod.ts has no cases of it`);
}
