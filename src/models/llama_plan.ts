/**
 * One step of a batch of a Llama as a plan.
 *
 * A step takes rows: each a token of some sequence, with its position, its place in the key-value cache and its adapter.
 * Prompts and new tokens of different sequences stand side by side in one step.
 *
 * @module
 */
import { attention } from "../../kernels/attention.ts";
import { embedding } from "../../kernels/embedding.ts";
import { nextTokens } from "../../kernels/next_tokens.ts";
import { rmsNorm } from "../../kernels/rms_norm.ts";
import { ropeCache } from "../../kernels/rope_cache.ts";
import { sample } from "../../kernels/sample.ts";
import { siluGateUp } from "../../kernels/silu_gate_up.ts";
import type { Device } from "../device/device.ts";
import { type Plan, type Step, step } from "../plan.ts";
import { type Tensor, tensor } from "../tensor.ts";
import type { LlamaModel, Projection } from "./llama.ts";

/** What a step is fed, for the most rows and outputs it may have. */
export interface LlamaInputs {
  /** (maxRows), uint32: outputs of the step before whose tokens are the rows'; see `next_tokens`. */
  readonly from: Tensor;
  /**
   * (maxRows), uint32: token, position, cache row to write, cache row where the sequence starts. A row past the cache's
   * end is not written, and a sequence that starts there has nothing to attend to.
   */
  readonly tokens: Tensor;
  readonly positions: Tensor;
  readonly cacheIndex: Tensor;
  readonly first: Tensor;
  /**
   * (maxRows, headDim / 2, 2): each row's own cosines and sines, where they depend on the length of its sequence; else the
   * model's table has them by position.
   */
  readonly turns?: Tensor;
  /** (maxOutputs), uint32: rows whose logits are wanted. */
  readonly outputs: Tensor;
  /** (maxOutputs, 4), float32: see the `sample` kernel. */
  readonly params: Tensor;
}

/** Tensors a model's steps work in; made once for the most rows and outputs a step may have. */
export interface LlamaState {
  readonly inputs: LlamaInputs;
  readonly maxRows: number;
  readonly maxOutputs: number;
  /** Rows of each cache: sequences times tokens a sequence. */
  readonly cacheRows: number;
  /** (maxRows), uint32: 0, 1, 2, ...; where inputs have turns. */
  readonly rowNumbers?: Tensor;
  readonly logits: Tensor;
  /** (maxOutputs), uint32. */
  readonly sampled: Tensor;
  /** (maxRows), uint32: tokens, those of the step before in place. */
  readonly ids: Tensor;
  readonly hidden: Tensor;
  readonly normed: Tensor;
  /** (maxRows, (heads + 2 kvHeads) headDim) */
  readonly qkv: Tensor;
  readonly attended: Tensor;
  /** (maxRows, 2 intermediateSize) */
  readonly gateUp: Tensor;
  readonly gated: Tensor;
  readonly outputHidden: Tensor;
  readonly outputNormed: Tensor;
  readonly keys: readonly Tensor[];
  readonly values: readonly Tensor[];
}

/** Allocates the tensors of a model's steps. */
export function llamaState(
  device: Device,
  { config }: LlamaModel,
  { inputs, maxRows, maxOutputs, cacheRows }: {
    readonly inputs: LlamaInputs;
    readonly maxRows: number;
    readonly maxOutputs: number;
    readonly cacheRows: number;
  },
): LlamaState {
  const f32 = (...shape: number[]): Tensor => device.alloc(shape, "float32");
  const qSize = config.heads * config.headDim;
  const kvSize = config.kvHeads * config.headDim;
  return {
    inputs,
    maxRows,
    maxOutputs,
    cacheRows,
    rowNumbers: inputs.turns && device.upload(tensor(Uint32Array.from({ length: maxRows }, (_, r) => r))),
    logits: f32(maxOutputs, config.vocabSize),
    sampled: device.alloc([maxOutputs], "uint32"),
    ids: device.alloc([maxRows], "uint32"),
    hidden: f32(maxRows, config.hiddenSize),
    normed: f32(maxRows, config.hiddenSize),
    qkv: f32(maxRows, qSize + 2 * kvSize),
    attended: f32(maxRows, qSize),
    gateUp: f32(maxRows, 2 * config.intermediateSize),
    gated: f32(maxRows, config.intermediateSize),
    outputHidden: f32(maxOutputs, config.hiddenSize),
    outputNormed: f32(maxOutputs, config.hiddenSize),
    keys: Array.from({ length: config.layers }, () => f32(cacheRows, kvSize)),
    values: Array.from({ length: config.layers }, () => f32(cacheRows, kvSize)),
  };
}

/** What a projection is run on: y = x W^T + b, or y += where `accumulate` is not 0. */
export interface ProjectionIo {
  readonly x: Tensor;
  readonly y: Tensor;
  readonly rows: number;
  readonly accumulate: number;
}

/** How a projection is run with its rows' adapters; `of` says whether they are the step's rows or those of its outputs. */
export type Project = (
  projection: Projection,
  io: ProjectionIo & { readonly of: "rows" | "outputs" },
) => Plan;

/** The plan of one step: `rows` tokens through the layers, then logits and a sampled token for `outputs` of them. */
export function llamaPlan(
  { config, layers, ...model }: LlamaModel,
  s: LlamaState,
  { rows, outputs, project, around = (draw) => [draw] }: {
    readonly rows: number;
    readonly outputs: number;
    readonly project: Project;
    /** The step that draws tokens from logits, with what goes before and after it. */
    readonly around?: (draw: Step) => Plan;
  },
): Plan {
  const { hiddenSize, heads, kvHeads, headDim, intermediateSize, rmsNormEps, vocabSize } = config;
  const { cacheRows, inputs: { tokens, from, first, positions, cacheIndex: index } } = s;
  const turned = s.inputs.turns && s.rowNumbers
    ? { table: s.inputs.turns, positions: s.rowNumbers }
    : { table: model.ropeTable, positions };
  const norm = (x: Tensor, weight: Tensor, y: Tensor, count = rows): Step =>
    step(rmsNorm, { x, weight, y }, { rows: count, dim: hiddenSize, eps: rmsNormEps });

  const ofRows = (projection: Projection, x: Tensor, y: Tensor, accumulate = 0): Plan =>
    project(projection, { x, y, rows, accumulate, of: "rows" });

  const steps: Step[] = [
    step(nextTokens, { tokens, from, sampled: s.sampled, ids: s.ids }, { rows, outputs: s.maxOutputs }),
    step(embedding, { ids: s.ids, weight: model.embedding, y: s.hidden }, {
      rows,
      dim: hiddenSize,
      vocab: vocabSize,
    }),
  ];
  layers.forEach(({ inputNorm, qkv, o, postNorm, gateUp, down }, i) => {
    const keys = s.keys[i], values = s.values[i];
    const sizes = { rows, heads, kvHeads, headDim, cacheRows };
    steps.push(
      norm(s.hidden, inputNorm, s.normed),
      ...ofRows(qkv, s.normed, s.qkv),
      step(ropeCache, { qkv: s.qkv, ...turned, index, keys, values }, sizes),
      step(attention, { q: s.qkv, keys, values, first, positions, y: s.attended }, {
        ...sizes,
        qStride: qkv.shape.out,
        scale: 1 / Math.sqrt(headDim),
      }),
      ...ofRows(o, s.attended, s.hidden, 1),
      norm(s.hidden, postNorm, s.normed),
      ...ofRows(gateUp, s.normed, s.gateUp),
      step(siluGateUp, { gateUp: s.gateUp, y: s.gated }, { rows, dim: intermediateSize }),
      ...ofRows(down, s.gated, s.hidden, 1),
    );
  });
  if (outputs === 0) return steps;
  steps.push(
    step(embedding, { ids: s.inputs.outputs, weight: s.hidden, y: s.outputHidden }, {
      rows: outputs,
      dim: hiddenSize,
      vocab: s.maxRows,
    }),
    norm(s.outputHidden, model.norm, s.outputNormed, outputs),
    ...project(model.head, {
      ...{ x: s.outputNormed, y: s.logits },
      rows: outputs,
      accumulate: 0,
      of: "outputs",
    }),
    ...around(step(sample, { logits: s.logits, params: s.inputs.params, tokens: s.sampled }, {
      rows: outputs,
      vocab: vocabSize,
    })),
  );
  return steps;
}
