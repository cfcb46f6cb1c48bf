/**
 * Weights from a folder onto a device: each read once, checked, and quantised where that was asked for.
 *
 * @module
 */
import type { Linear } from "../adapters/bank.ts";
import type { LinearShape } from "../adapters/method.ts";
import type { Device, TensorUse } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { canSlice, type DType, elements, type HostTensor, newArray, type Tensor, tensor } from "../tensor.ts";
import { widen } from "../../kernels/half.ts";
import type { WeightFormat } from "../../kernels/formats/format.ts";
import type { Projection } from "./projection.ts";
import { headFormat, quantizedNames } from "./quantization.ts";
import {
  type EmbeddingSpec,
  headOf,
  type HeadSpec,
  layerLinears,
  type LinearSpec,
  type ProjectionSpec,
  type RowsSpec,
  type Spec,
  type SpecTree,
  type TensorSpec,
} from "./spec.ts";
import { transposed } from "./transpose.ts";
import {
  denseWeight,
  floatsOf,
  inParts,
  type LinearWeights,
  quantizeWeight,
  tensorShapes,
  useOf,
  type Weight,
  widened,
  withTensors,
} from "./weights.ts";

/** Weights by name, one at a time. */
export interface WeightSource {
  readonly names: readonly string[];
  /** `dtype` is the code of safetensors, where it is known. */
  info(name: string): { readonly shape: readonly number[]; readonly dtype?: string };
  /** See `Checkpoint`; without it nobody asks a device for room. */
  bytes?(name: string): number;
  read(name: string): Promise<HostTensor>;
  /** See `Checkpoint`. */
  readWeight?(name: string): Promise<Weight<HostTensor>>;
  /** See `Checkpoint`. */
  notice?(): string | undefined;
}

const weightName = ({ path }: Pick<Linear, "path">): string => `${path}.weight`;

const float32 = ({ data, dtype, shape }: HostTensor): HostTensor => tensor(widen(data, dtype), shape);

/** The same numbers, each with `plus` added. */
function added(host: HostTensor, plus = 0): HostTensor {
  if (plus === 0) return host;
  return tensor(float32(host).data.map((value) => value + plus), host.shape);
}

/** Tensors one after the other along their first dimension; float32 where their dtypes differ. */
function stacked(parts: readonly HostTensor[]): HostTensor {
  if (parts.length === 1) return parts[0];
  const [{ dtype, shape: [, ...rest] }] = parts;
  if (parts.some((part) => part.dtype !== dtype)) return stacked(parts.map(float32));
  const shape = [parts.reduce((sum, part) => sum + part.shape[0], 0), ...rest];
  const data = newArray(dtype, elements(shape));
  let at = 0;
  for (const part of parts) {
    data.set(part.data, at);
    at += part.data.length;
  }
  return tensor(data, shape, { dtype });
}

/** Whether weights can stand one after the other as they are stored. */
const isOneFormat = ([first, ...rest]: readonly Weight<HostTensor>[]): boolean =>
  rest.every(({ format }) => format === first.format);

/** Weights one after the other along `out`; float32 where their formats differ, which no product takes together. */
function stackedWeights(parts: readonly Weight<HostTensor>[]): Weight<HostTensor> {
  if (!isOneFormat(parts)) return stackedWeights(parts.map((part) => denseWeight(widened(part))));
  const [{ format, shape, tensors }] = parts;
  const names = Object.keys(tensors);
  return {
    format,
    shape: { ...shape, out: parts.reduce((sum, part) => sum + part.shape.out, 0) },
    tensors: Object.fromEntries(
      names.map((name) => [name, stacked(parts.map((part) => part.tensors[name]))]),
    ),
  };
}

/** Whether two weights of one shape hold the same numbers; each may be stored in another way. */
function sameNumbers(a: Weight<HostTensor>, b: Weight<HostTensor>): boolean {
  const [p, q] = [floatsOf(a), floatsOf(b)];
  const [x, y] = p && q && p.dtype === q.dtype ? [p.data, q.data] : [widened(a).data, widened(b).data];
  return x.length === y.length && x.every((value: number, i: number) => value === y[i]);
}

/** An embedding's weight, and where it is. */
interface Embedding {
  /** Where the head needs it. */
  readonly host?: Weight<HostTensor>;
  readonly uploaded: Weight;
}

/** Reads each weight once, checks its shape, and remembers which were asked for. */
export class Loader {
  readonly #used = new Set<string>();
  readonly #uploaded: Tensor[] = [];
  /** Of tensors that are no linears' weights. */
  readonly #specs = new Map<Tensor, TensorSpec>();
  /** Numbers of the layers' linears by path. */
  readonly #numbers: ReadonlyMap<string, number>;
  /** Embeddings that a head may have its weight from, until it is loaded. */
  readonly #embeddings = new Map<EmbeddingSpec, Embedding>();

  constructor(
    private readonly device: Device,
    private readonly source: WeightSource,
    private readonly options: {
      readonly tree: SpecTree;
      /** Whether a linear's weight is stored (in, out). */
      readonly isTransposed: (path: string) => boolean;
      readonly maxModelLen: number;
      /** The format of the layers' linears in the folder, where they are quantised. */
      readonly stored?: WeightFormat;
      /** The format that they are quantised to. */
      readonly format?: WeightFormat;
      readonly onWeight: (done: number, total: number) => void;
    },
  ) {
    this.#numbers = new Map(layerLinears(options.tree).map(({ path }, i) => [path, i]));
  }

  /** Everything that is on the device, each tensor once. */
  get uploaded(): readonly Tensor[] {
    return this.#uploaded;
  }

  /** What the files have a tensor as that is no linear's; undefined for one that is made of others. */
  specOf(t: Tensor): TensorSpec | undefined {
    return this.#specs.get(t);
  }

  /** Loads a leaf of the tree. */
  async load(spec: Spec): Promise<Tensor | Weight | Projection> {
    switch (spec.kind) {
      case "tensor":
        return this.#named(spec, this.#put(added(await this.#host(spec), spec.plus)));
      case "embedding":
        return await this.#embedding(spec);
      case "projection":
        return await this.#projection(spec);
      case "head":
        return await this.#head(spec);
      case "rows":
        return await this.#rows(spec);
      case "table":
        return this.#put(spec.make(this.options.maxModelLen));
    }
  }

  #named(spec: TensorSpec, t: Tensor): Tensor {
    this.#specs.set(t, spec);
    return t;
  }

  #put(host: HostTensor, use?: TensorUse): Tensor {
    const uploaded = this.device.upload(host, use);
    this.#uploaded.push(uploaded);
    return uploaded;
  }

  /** A tied model's file may have the embedding under the head's name alone. */
  async #embedding(spec: EmbeddingSpec): Promise<Weight> {
    const { name, shape: [out, inSize] } = spec, { names } = this.source, head = headOf(this.options.tree);
    const headName = head?.tied ? weightName(head.linear) : undefined;
    const isHead = headName !== undefined && !names.includes(name) && names.includes(headName);
    const host = await this.#matrix(isHead ? headName : name, { out, in: inSize });
    const uploaded = this.#uploadRows(host), floats = floatsOf(uploaded);
    if (floats) this.#named({ ...spec, kind: "tensor" }, floats);
    // The head is quantised of it, or compared with it; else it is in no memory of the host while the layers are loaded.
    const isNeeded = this.options.format !== undefined || (!isHead && headName && names.includes(headName));
    if (head?.tied) this.#embeddings.set(spec, { uploaded, ...(isNeeded ? { host } : {}) });
    return uploaded;
  }

  async #host({ name, shape, fileShape = shape }: TensorSpec): Promise<HostTensor> {
    return { ...await this.#read(name, fileShape), shape };
  }

  async #rows({ rows }: RowsSpec): Promise<Tensor> {
    const hosts: HostTensor[] = [];
    for (const row of rows) hosts.push(await this.#host(row));
    return this.#put(stacked(hosts));
  }

  /** Linears of one input as one. */
  async #projection({ name, linears }: ProjectionSpec): Promise<Projection> {
    const { stored, format } = this.options;
    const weights: Weight<HostTensor>[] = [];
    const biases: HostTensor[] = [];
    for (const spec of linears) {
      weights.push(await this.#weight(spec, { stored, format }));
      if (spec.bias) biases.push(float32(await this.#read(`${spec.path}.bias`, [spec.shape.out])));
    }
    const outs = linears.map(({ shape }) => shape.out), weight = this.#upload(stackedWeights(weights));
    const made: Projection = {
      kind: name,
      linears: { first: this.#numbers.get(linears[0].path)!, count: linears.length },
      outs,
      shape: weight.shape,
      weight,
    };
    const whole = biases.length === 0 ? made : { ...made, bias: this.#put(stacked(biases)) };
    const copies = weights.map((weight, i) => this.#copy(whole, { weight, bias: biases[i] }, i));
    return copies.some((copy) => copy) ? { ...whole, copies } : whole;
  }

  /** Tensors of a projection's linear of its own, where a GPU cannot bind it as a part: in few models but small ones. */
  #copy(
    { weight: { tensors }, bias: stackedBias, outs }: Projection,
    { weight, bias }: { readonly weight: Weight<HostTensor>; readonly bias?: HostTensor },
    index: number,
  ): LinearWeights | undefined {
    const at = outs.slice(0, index).reduce((sum, size) => sum + size, 0);
    const canBind = (t: Tensor): boolean => canSlice(t, at * elements(t.shape.slice(1)));
    if ([...Object.values(tensors), ...stackedBias ? [stackedBias] : []].every(canBind)) return undefined;
    const copy = { weight: this.#upload(weight) };
    return bias ? { ...copy, bias: this.#put(bias) } : copy;
  }

  /** The head: its weight is the embedding's where they are tied and not to be quantised. */
  async #head(spec: HeadSpec): Promise<Projection> {
    const { linear: { shape } } = spec;
    return {
      kind: "head",
      linears: { first: this.#numbers.size, count: 1 },
      outs: [shape.out],
      shape,
      weight: await this.#headWeight(spec),
    };
  }

  async #headWeight({ linear, embedding }: HeadSpec): Promise<Weight> {
    const { stored, format } = this.options;
    const tied = this.#embeddings.get(embedding);
    this.#embeddings.delete(embedding);
    const isOwn = tied?.host && stored === undefined && await this.#hasOwnHead(linear, tied.host);
    if (tied && stored === undefined && !isOwn) {
      if (!tied.host || format === undefined) return tied.uploaded;
      return this.#uploadRows(quantizeWeight(tied.host, { name: linear.path, format: headFormat }));
    }
    return this.#uploadRows(
      await this.#weight(linear, { stored: stored && headFormat, format: format && headFormat }),
    );
  }

  /** Whether a tied model's file has a head that differs from its embedding: as in transformers, it is used. */
  async #hasOwnHead({ path, shape }: Linear, embedding: Weight<HostTensor>): Promise<boolean> {
    const name = weightName({ path });
    if (!this.source.names.includes(name)) return false;
    return !sameNumbers(await this.#matrix(name, shape), embedding);
  }

  /** A linear's weight: as the folder has it, in format `stored` or floats, or quantised to `format`. */
  async #weight(
    { path, shape, fileShape }: Omit<LinearSpec, "bias">,
    { stored, format }: { readonly stored?: WeightFormat; readonly format?: WeightFormat },
  ): Promise<Weight<HostTensor>> {
    if (stored === undefined) {
      const name = weightName({ path }), turns = this.options.isTransposed(path);
      const host = await this.#matrix(name, shape, { turns, fileShape });
      return format === undefined ? host : quantizeWeight(host, { name: path, format });
    }
    const names = quantizedNames(path), shapes = tensorShapes(stored, shape);
    const tensors: Record<string, HostTensor> = {};
    for (const [buffer, { dtypes: [dtype] }] of Object.entries(stored.buffers)) {
      tensors[buffer] = await this.#read(names[buffer], shapes[buffer], dtype);
    }
    return { format: stored, shape, tensors };
  }

  /** A matrix (out, in), in the format that the file has it in; `turns` where a file of floats has it (in, out). */
  async #matrix(
    name: string,
    { out, in: inSize }: LinearShape,
    { turns = false, fileShape = turns ? [inSize, out] : [out, inSize] }: {
      readonly turns?: boolean;
      readonly fileShape?: readonly number[];
    } = {},
  ): Promise<Weight<HostTensor>> {
    this.#check(name, fileShape);
    if (this.source.readWeight) {
      const weight = await this.source.readWeight(name);
      this.#use(name);
      return weight;
    }
    const host = await this.#read(name, fileShape);
    return denseWeight(turns ? transposed(host) : { ...host, shape: [out, inSize] });
  }

  #upload(weight: Weight<HostTensor>): Weight {
    const use = useOf(weight.format);
    return withTensors(weight, (t) => this.#put(t, use));
  }

  /** A weight with a row for each token: of a large vocabulary no buffer of the device may hold it. */
  #uploadRows(weight: Weight<HostTensor>): Weight {
    return this.#upload(inParts(weight, this.device));
  }

  #use(name: string): void {
    this.#used.add(name);
    this.options.onWeight(this.#used.size, this.source.names.length);
  }

  /** Whether the source has a tensor of that name and shape. */
  #check(name: string, shape: readonly number[]): void {
    if (!this.source.names.includes(name)) {
      const { names } = this.source, one = names.find((name) => /\.\d+\./.test(name)) ?? names[0];
      throw new ConfigError(
        `Cannot find weight "${name}" in the model's folder: it has ${names.length} weights, as "${one}"`,
      );
    }
    const { shape: found } = this.source.info(name);
    if (found.length !== shape.length || found.some((size, i) => size !== shape[i])) {
      throw new ConfigError(
        `Cannot use weight "${name}" of shape [${found}]: config.json makes it [${shape}]`,
      );
    }
  }

  async #read(name: string, shape: readonly number[], dtype?: DType): Promise<HostTensor> {
    this.#check(name, shape);
    const host = await this.source.read(name);
    const isInteger = host.dtype === "int32" || host.dtype === "uint32";
    if (dtype === undefined ? isInteger : host.dtype !== dtype) {
      throw new ConfigError(
        `Cannot use weight "${name}" of ${host.dtype}: config.json makes it ${dtype ?? "floats"}`,
      );
    }
    this.#use(name);
    return host;
  }

  /** Whether a tensor is a bias of zeros of a linear that has none, as GPTQ's writers add to all. */
  async #isZeroBias(name: string): Promise<boolean> {
    if (!name.endsWith(".bias") || !this.#numbers.has(name.slice(0, -".bias".length))) return false;
    const { data, dtype } = await this.source.read(name);
    return widen(data, dtype).every((value) => value === 0);
  }

  /**
   * Looks at what nobody asked for. A weight that no forward reads means that the model computes something this code does
   * not, unless it is `known` to change nothing: then `differs` may have a line about it to log. The first line speaks for
   * all. Tensors without elements hold nothing.
   *
   * @throws ConfigError that names the first weight that is not known.
   */
  async finish(
    known: RegExp,
    differs: ((name: string, found: HostTensor) => string | undefined) | undefined,
    log: (line: string) => void,
  ): Promise<void> {
    const { names } = this.source;
    const unread = names.filter((name) =>
      !this.#used.has(name) && elements(this.source.info(name).shape) > 0
    );
    const rest: string[] = [];
    for (const name of unread) if (!known.test(name) && !await this.#isZeroBias(name)) rest.push(name);
    if (rest.length > 0) {
      const more = rest.length > 1 ? ` and ${rest.length - 1} more` : "";
      throw new ConfigError(
        `Cannot use weight "${rest[0]}"${more}: a model of this config has none of that name`,
      );
    }
    for (const name of differs ? unread.filter((name) => known.test(name)) : []) {
      const line = differs!(name, await this.source.read(name));
      if (line !== undefined) return log(line);
    }
  }
}
