/**
 * A model folder with its linears' weights quantised: the same numbers as when they are quantised at load.
 *
 * @module
 */
import type { WeightFormat } from "../kernels/formats/format.ts";
import { ConfigError } from "./errors.ts";
import { copyFiles, copyInnerFiles, type ReadableFolder, type WritableFolder } from "./folder.ts";
import { type Checkpoint, filesBesideWeights, namedTemplates } from "./models/checkpoint.ts";
import { isTransposed, openWeights, parseConfig, readConfigFields, weightsOf } from "./models/families.ts";
import type { ModelConfig } from "./models/family.ts";
import {
  formatOf,
  headFormat,
  quantizationFields,
  quantizedAs,
  quantizedNames,
  type QuantizeTo,
} from "./models/quantization.ts";
import { headOf, layerLinears, type LinearSpec } from "./models/spec.ts";
import { transposed } from "./models/transpose.ts";
import { denseWeight, quantizeWeight, tensorShapes, type Weight } from "./models/weights.ts";
import { fromTensor, layoutSafetensors, type TensorSpec } from "./safetensors/mod.ts";
import { codes } from "./safetensors/tensors.ts";
import type { HostTensor } from "./tensor.ts";

/** A tensor of the new file, and how it is made. */
interface Part {
  readonly spec: TensorSpec;
  make(): Promise<HostTensor>;
}

/** A weight (out, in) in the format that the files have it in. */
async function weightOf(
  checkpoint: Checkpoint,
  { from, shape: { out, in: inSize }, turns }: Pick<LinearSpec, "shape"> & {
    readonly from: string;
    readonly turns: boolean;
  },
): Promise<Weight<HostTensor>> {
  if (checkpoint.readWeight) return await checkpoint.readWeight(from);
  const stored = await checkpoint.read(from);
  return denseWeight(turns ? transposed(stored) : { ...stored, shape: [out, inSize] });
}

/** The tensors of a quantised weight, which the first that is asked for makes: the others wait for their turn. */
function quantizedParts(
  checkpoint: Checkpoint,
  { path, from, shape, turns, format }: Pick<LinearSpec, "path" | "shape"> & {
    readonly from: string;
    /** Whether it is stored (in, out). */
    readonly turns: boolean;
    readonly format: WeightFormat;
  },
): Part[] {
  const names = quantizedNames(path), shapes = tensorShapes(format, shape);
  const waiting = new Map<string, HostTensor>();
  async function make(buffer: string): Promise<HostTensor> {
    if (!waiting.has(buffer)) {
      const weight = await weightOf(checkpoint, { from, shape, turns });
      const { tensors } = quantizeWeight(weight, { name: from, format });
      for (const [name, made] of Object.entries(tensors)) waiting.set(name, made);
    }
    const made = waiting.get(buffer)!;
    waiting.delete(buffer);
    return made;
  }
  return Object.entries(format.buffers).map(([buffer, { dtypes: [dtype] }]) => ({
    spec: { name: names[buffer], dtype: codes[dtype], shape: shapes[buffer] },
    make: () => make(buffer),
  }));
}

/** Every tensor of the new file, in no order. */
function partsOf(checkpoint: Checkpoint, config: ModelConfig, to: QuantizeTo): Part[] {
  const tree = weightsOf(config);
  const head = headOf(tree), linears = [...layerLinears(tree), ...head ? [head.linear] : []];
  const sourceOf = (path: string): string =>
    // A tied model's file may have a head of its own all the same: then it is that.
    path === head?.linear.path && head.tied && !checkpoint.names.includes(`${path}.weight`)
      ? head.embedding.name
      : `${path}.weight`;
  const replaced = new Set(linears.map(({ path }) => `${path}.weight`));
  const kept = checkpoint.names.filter((name) => !replaced.has(name)).map((name): Part => {
    const { dtype, shape } = checkpoint.info(name);
    return { spec: { name, dtype, shape }, make: () => checkpoint.read(name) };
  });
  return linears.flatMap(({ path, shape, fileShape }) => {
    const from = sourceOf(path), found = checkpoint.info(from).shape;
    const turns = isTransposed(config, path);
    const stored = fileShape ?? (turns ? [shape.in, shape.out] : [shape.out, shape.in]);
    if (found.length !== stored.length || found.some((size, i) => size !== stored[i])) {
      throw new ConfigError(
        `Cannot use weight "${from}" of shape [${found}]: config.json makes it [${stored}]`,
      );
    }
    const format = path === head?.linear.path ? headFormat : formatOf[to];
    return quantizedParts(checkpoint, { path, shape, from, turns, format });
  }).concat(kept);
}

/** The file of these tensors, made one after the other. */
async function* fileOf(
  parts: readonly Part[],
  onTensor: (done: number, total: number) => void,
): AsyncGenerator<Uint8Array> {
  const byName = new Map(parts.map((part) => [part.spec.name, part]));
  const layout = layoutSafetensors(parts.map(({ spec }) => spec), { metadata: { format: "pt" } });
  yield layout.header;
  for (const [i, { name }] of layout.tensors.entries()) {
    yield fromTensor(name, await byName.get(name)!.make()).bytes;
    onTensor(i + 1, layout.tensors.length);
  }
}

async function* only(text: string): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode(text);
}

/**
 * Quantises a copy of a model folder, one weight in memory at a time. The weights go into one `model.safetensors`.
 *
 * @throws ConfigError when a weight is missing or misshapen, or the folder is quantised already; RangeError when a
 * weight's element is NaN or infinite.
 */
export async function quantizeFolder(
  { model, to, out, onWeight = () => {} }: {
    readonly model: ReadableFolder;
    readonly to: QuantizeTo;
    readonly out: WritableFolder;
    readonly onWeight?: (done: number, total: number) => void;
  },
): Promise<void> {
  const fields = await readConfigFields(model);
  const config = parseConfig(fields);
  if (config.quantization) {
    throw new ConfigError(
      `Cannot quantize the model as ${to}: its folder has weights of ${
        quantizedAs(config.quantization)
      } already`,
    );
  }
  const checkpoint = await openWeights(model, config);
  try {
    await out.write("model.safetensors", fileOf(partsOf(checkpoint, config, to), onWeight));
  } finally {
    await checkpoint.close();
  }
  await copyFiles(model, out, filesBesideWeights);
  await copyInnerFiles(model, out, namedTemplates);
  const quantized = { ...fields, quantization_config: quantizationFields(formatOf[to]) };
  await out.write("config.json", only(`${JSON.stringify(quantized, null, 2)}\n`));
}
