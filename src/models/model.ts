/**
 * A model of any family on a device: its weights, and its forward.
 *
 * @module
 */
import type { Linear } from "../adapters/bank.ts";
import type { Parameter } from "../adapters/parameters.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import type { WeightFormat } from "../../kernels/formats/format.ts";
import { familyOf, isTransposed } from "./families.ts";
import type { EncoderConfig, ModelConfig } from "./family.ts";
import { Graph } from "./graph.ts";
import { Loader, type WeightSource } from "./loader.ts";
import { partOf, type Projection } from "./projection.ts";
import { checkRoom } from "./room.ts";
import { formatOf, quantizedAs, type QuantizeTo } from "./quantization.ts";
import { parametersOf } from "./parameters.ts";
import { headOf, linearsOf, loadTree } from "./spec.ts";
import type { LinearWeights } from "./weights.ts";

export type { WeightSource } from "./loader.ts";
export type { Projection } from "./projection.ts";

/** A model of any kind whose weights are on a device. */
export interface LoadedModel {
  readonly config: ModelConfig;
  /** Longest sequence this model was opened for. */
  readonly maxModelLen: number;
  /** Every linear an adapter may adapt: those of the layers, then the head. */
  readonly linears: readonly Linear[];
  /** What the layers multiply by, in the order they do. */
  readonly projections: readonly Projection[];
  /** What adapters may have their own of: the bias of each linear, in the order of `linears`, then all others. */
  readonly parameters: readonly Parameter[];
  /** The forward, which plans are made of. */
  readonly graph: Graph;
  /** Everything on the device. */
  readonly weights: readonly Tensor[];
}

/** A model that gives logits of the next token. */
export interface Model extends LoadedModel {
  readonly head: Projection;
}

/** A model that gives hidden states. */
export interface EncoderModel extends LoadedModel {
  readonly config: ModelConfig & { readonly encoder: EncoderConfig };
}

/** How a model is loaded. */
export interface LoadModelOptions {
  readonly config: ModelConfig;
  readonly source: WeightSource;
  readonly maxModelLen?: number;
  readonly quantize?: QuantizeTo;
  readonly onWeight?: (done: number, total: number) => void;
  /** Told of what the folder says and nobody reads. */
  readonly log?: (line: string) => void;
}

function formatTo({ quantization }: ModelConfig, to: QuantizeTo | undefined): WeightFormat | undefined {
  if (to === undefined) return undefined;
  if (!Object.hasOwn(formatOf, to)) {
    throw new RangeError(`Cannot quantize as "${to}": it must be ${Object.keys(formatOf).join(" or ")}`);
  }
  if (!quantization) return formatOf[to];
  throw new ConfigError(
    `Cannot quantize the model as ${to}: its folder has weights of ${quantizedAs(quantization)} already`,
  );
}

/**
 * Loads a model's weights onto a device, one tensor at a time.
 *
 * @param options `quantize` quantises the linears' weights on the way: it changes the model's numbers a little, and the
 * bytes that a step reads much.
 * @throws ConfigError when a weight is missing, misshapen or unknown, or is to be quantised for a second time.
 */
export async function loadModel(device: Device, options: LoadModelOptions): Promise<Model> {
  const model = await loadAny(device, options);
  return { ...model, head: model.graph.ending.head };
}

/**
 * Loads an encoder's weights onto a device, without a classifier.
 *
 * @throws as {@linkcode loadModel}
 */
export async function loadEncoder(device: Device, options: LoadModelOptions): Promise<EncoderModel> {
  const { encoder, modelType } = options.config;
  if (!encoder) {
    throw new ConfigError(`Cannot encode by a model of type "${modelType}": it predicts next tokens`);
  }
  const model = await loadAny(device, options);
  return { ...model, config: { ...model.config, encoder } };
}

async function loadAny(
  device: Device,
  { config, source, maxModelLen = config.maxPositions, quantize, onWeight = () => {}, log = () => {} }:
    LoadModelOptions,
): Promise<LoadedModel> {
  const family = familyOf(config), forward = await family.forward();
  const tree = family.weights(config);
  const formats = { stored: config.quantization?.format, format: formatTo(config, quantize) };
  const bytes = source.bytes?.bind(source), dtype = (name: string) => source.info(name).dtype;
  if (bytes) await checkRoom(device, tree, { sizes: { names: source.names, bytes, dtype }, formats });
  const loader = new Loader(device, source, {
    tree,
    isTransposed: (path) => isTransposed(config, path),
    maxModelLen,
    ...formats,
    onWeight,
  });
  const loaded = await loadTree(tree, (spec) => loader.load(spec));
  const { names = /$^/, differs } = family.unread ?? {};
  await loader.finish(names, differs && ((name, found) => differs(config, name, found)), log);
  const notice = source.notice?.();
  if (notice !== undefined) log(notice);
  const graph = new Graph();
  forward(graph, config, loaded);
  return {
    config,
    maxModelLen,
    linears: linearsOf(tree),
    projections: graph.projections,
    parameters: parametersOf(graph, {
      linears: linearsOf(tree),
      specOf: (t) => loader.specOf(t),
      head: headOf(tree),
    }),
    graph,
    weights: loader.uploaded,
  };
}

/** The linears of a model's layers: those that can be trained. */
export function layersLinears({ linears, head }: Pick<Model, "linears" | "head">): readonly Linear[] {
  return linears.slice(0, head.linears.first);
}

/**
 * The numbers, in `linears`, of those that can be trained, by path: what the layers multiply by, and what comes after them.
 * Gradients end where the layers begin.
 */
export function trainableLinears(
  { linears, graph }: Pick<LoadedModel, "linears" | "graph">,
): ReadonlyMap<string, number> {
  const numbers = new Map<string, number>();
  for (const { layer, projection } of graph.operations) {
    if (layer < 0 || !projection) continue;
    const { first, count } = projection.linears;
    for (let number = first; number < first + count; number++) numbers.set(linears[number].path, number);
  }
  return numbers;
}

/** The weight and bias of a layer's linear by its number, as parts of its projection's. */
export function linearWeights({ projections }: Pick<Model, "projections">, index: number): LinearWeights {
  const projection = projections.find(({ linears: { first, count } }) =>
    index >= first && index < first + count
  )!;
  return partOf(projection, index - projection.linears.first);
}

/** Frees a model's weights. */
export function releaseModel(device: Device, { weights }: Pick<LoadedModel, "weights">): void {
  for (const t of weights) device.release(t);
}
