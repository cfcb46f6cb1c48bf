/**
 * Classifiers on a device: the folder's own, and those that adapters bring, each with labels of its own.
 *
 * A classifier is run for the sequences of a batch that have it. Those of adapters stay on the device until others need the
 * room.
 *
 * @module
 */
import { embedding } from "../../kernels/embedding.ts";
import { tanh } from "../../kernels/tanh.ts";
import type { LoadedAdapter } from "../adapters/peft.ts";
import type { Device, Program } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import type { ClassifierLinear } from "../models/family.ts";
import { denseWeight, linearStep } from "../models/weights.ts";
import { type Plan, step } from "../plan.ts";
import { type HostTensor, type Tensor, tensor } from "../tensor.ts";
import { widen } from "../../kernels/half.ts";
import { roundedUp } from "./runner.ts";

/** A classifier's parameters by name, on the host. */
export type ClassifierParameters = ReadonlyMap<string, HostTensor>;

/** A linear on the device. */
interface Layer extends ClassifierLinear {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly out: number;
}

/** A classifier on the device. */
export interface Classifier {
  readonly key: string;
  readonly labels: number;
  readonly bytes: number;
}

interface Resident extends Classifier {
  readonly layers: readonly Layer[];
  /** (maxOutputs, labels) */
  readonly logits: Tensor;
  readonly programs: Map<number, Program>;
}

const bytesPerNumber = 4;

/** Adapters at most that are known to have no classifier of their own. */
const mostPlain = 2 ** 14;

/** See the module's documentation. */
export class Classifiers {
  /** Least recently used first. */
  readonly #residents = new Map<string, Resident>();
  readonly #ids: Tensor;
  readonly #buffers: readonly Tensor[];
  #bytes = 0;
  /** Digests of adapters that have the folder's. */
  readonly #plain = new Set<string>();

  constructor(
    private readonly device: Device,
    private readonly options: {
      readonly linears: readonly ClassifierLinear[];
      readonly hiddenSize: number;
      /** (maxOutputs, hiddenSize): what classifiers read. */
      readonly pooled: Tensor;
      readonly maxOutputs: number;
      /** Bytes of classifiers on the device at most; one alone may have more. */
      readonly maxBytes: number;
      /** The folder's own parameters; empty where it has none. */
      readonly base: ClassifierParameters;
    },
  ) {
    const { maxOutputs, hiddenSize } = options;
    this.#ids = device.alloc([maxOutputs], "uint32");
    this.#buffers = [0, 1].map(() => device.alloc([maxOutputs, hiddenSize], "float32"));
  }

  /** The classifier of an adapter, by the digest of its files, where it is known and on the device. */
  find(digest: string | undefined): Classifier | undefined {
    const key = digest === undefined || this.#plain.has(digest) ? "" : digest,
      known = this.#residents.get(key);
    if (!known) return undefined;
    this.#residents.delete(key);
    this.#residents.set(key, known);
    return known;
  }

  /**
   * Puts a classifier on the device: an adapter's own parameters, the folder's where it has none of that name.
   *
   * @param taken Those that must stay.
   * @returns undefined while those that must stay take the room.
   * @throws ConfigError where there is no classifier, and for one that does not fit.
   */
  place(
    adapter: Pick<LoadedAdapter, "replacements" | "digest"> | undefined,
    taken: ReadonlySet<string>,
  ): Classifier | undefined {
    const names = this.options.linears.flatMap(({ path }) => [`${path}.weight`, `${path}.bias`]);
    const own = names.some((name) => adapter?.replacements.has(name)) ? adapter : undefined;
    if (adapter && !own) {
      if (this.#plain.size >= mostPlain) this.#plain.clear();
      this.#plain.add(adapter.digest);
    }
    const key = own?.digest ?? "", known = this.find(own?.digest);
    if (known) return known;
    const layers = this.#layersOf(own);
    const labels = layers.at(-1)!.out;
    const parameters = layers.reduce(
      (sum, { weight, bias }) => sum + weight.data.length + bias.data.length,
      0,
    );
    const bytes = bytesPerNumber * (parameters + this.options.maxOutputs * labels);
    for (const [other, resident] of this.#residents) {
      if (this.#bytes + bytes <= this.options.maxBytes) break;
      if (!taken.has(other)) this.#release(resident);
    }
    if (this.#bytes + bytes > this.options.maxBytes && taken.size > 0) return undefined;
    const made: Resident = {
      key,
      labels,
      bytes,
      layers: layers.map((layer) => ({
        ...layer,
        weight: this.device.upload(layer.weight),
        bias: this.device.upload(layer.bias),
      })),
      logits: this.device.alloc([this.options.maxOutputs, labels], "float32"),
      programs: new Map(),
    };
    this.#bytes += bytes;
    this.#residents.set(key, made);
    return made;
  }

  #layersOf(
    adapter: Pick<LoadedAdapter, "replacements"> | undefined,
  ): (Layer & { readonly weight: HostTensor; readonly bias: HostTensor })[] {
    const { linears, hiddenSize, base } = this.options;
    const read = (name: string): HostTensor => {
      const own = adapter?.replacements.get(name);
      if (own && own.kind !== "whole") {
        throw new ConfigError(
          `Cannot use adapter tensor "${own.tensor}": a classifier's "${name}" must be whole`,
        );
      }
      const found = own?.data ?? base.get(name);
      if (!found) {
        throw new ConfigError(
          `Cannot classify: neither the model's folder nor the adapter has the classifier's "${name}"`,
        );
      }
      return tensor(widen(found.data, found.dtype), found.shape);
    };
    return linears.map((linear) => {
      const { path, last } = linear, weight = read(`${path}.weight`), bias = read(`${path}.bias`);
      const out = last ? weight.shape[0] : hiddenSize;
      if (weight.shape.length !== 2 || weight.shape[0] !== out || weight.shape[1] !== hiddenSize) {
        throw new ConfigError(
          `Cannot use the classifier's "${path}.weight" of shape [${weight.shape}]: it must be [${
            last ? "labels" : hiddenSize
          },${hiddenSize}]`,
        );
      }
      if (bias.shape.length !== 1 || bias.shape[0] !== out) {
        throw new ConfigError(
          `Cannot use the classifier's "${path}.bias" of shape [${bias.shape}]: its weight makes it [${out}]`,
        );
      }
      return { ...linear, weight, bias, out };
    });
  }

  /**
   * Runs a classifier for sequences of the batch on the device, by their numbers.
   *
   * @returns (sequences, labels): the logits.
   */
  async run({ key }: Classifier, sequences: readonly number[]): Promise<Float32Array> {
    const resident = this.#residents.get(key)!;
    const rows = Math.min(roundedUp(sequences.length), this.options.maxOutputs);
    let program = resident.programs.get(rows);
    if (!program) {
      program = await this.device.prepare(this.#plan(resident, rows));
      resident.programs.set(rows, program);
    }
    const ids = new Uint32Array(rows);
    ids.set(sequences);
    this.device.write(this.#ids, ids);
    const range = { at: 0, count: sequences.length * resident.labels };
    return await this.device.runAndRead(program, resident.logits, range) as Float32Array;
  }

  #plan({ layers, logits }: Resident, rows: number): Plan {
    const { pooled, hiddenSize, maxOutputs } = this.options;
    let [x, free] = this.#buffers;
    const steps: Plan[number][] = [
      step(embedding, { ids: this.#ids, weight: pooled, y: x }, { rows, dim: hiddenSize, vocab: maxOutputs }),
    ];
    for (const { weight, bias, out, last, activation } of layers) {
      const y = last ? logits : free;
      const sizes = { rows, in: hiddenSize, out, accumulate: 0 };
      steps.push(linearStep({ weight: denseWeight(weight), bias }, { x, y }, sizes));
      [x, free] = [y, x];
      if (activation === undefined) continue;
      steps.push(step(tanh, { x, y: free }, { count: rows * out }));
      [x, free] = [free, x];
    }
    return steps;
  }

  #release({ key, bytes, layers, logits, programs }: Resident): void {
    this.#residents.delete(key);
    this.#bytes -= bytes;
    for (const program of programs.values()) program.release();
    for (const { weight, bias } of layers) [weight, bias].forEach((t) => this.device.release(t));
    this.device.release(logits);
  }

  /** Frees all of them. */
  release(): void {
    for (const resident of [...this.#residents.values()]) this.#release(resident);
    for (const t of [this.#ids, ...this.#buffers]) this.device.release(t);
  }
}
