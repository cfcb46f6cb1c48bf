/**
 * What forwards are written in: each operation records itself, and says how its kernels are bound in plans.
 *
 * A new operation is a file here. It needs a binding for step plans and one for whole plans; where models with it are to be
 * trained, the kernels of the latter need a `backward`.
 *
 * @module
 */
export { activate, type Activation, activationNames } from "./activate.ts";
export { add } from "./add.ts";
export { attendAll } from "./attend_all.ts";
export { attend, type Attention, type QkNorm } from "./attend.ts";
export { type Convolution, convolve } from "./convolve.ts";
export { type DeltaHeads, deltaRule } from "./delta.ts";
export { embed } from "./embed.ts";
export { gated } from "./gate.ts";
export { gateBy } from "./gate_by.ts";
export { layerNorm } from "./layer_norm.ts";
export { logits, outputsOf, states } from "./logits.ts";
export { headNorm, rmsNorm } from "./norm.ts";
export { project, projectOnto } from "./project.ts";
export { scale } from "./scale.ts";
export { patches } from "./patches.ts";
export { split } from "./split.ts";
export { takeQueries } from "./take_queries.ts";
