/**
 * A model folder with an adapter merged in: every other tensor and file as it was, one weight in memory at a time.
 *
 * @module
 */
import { needsBase } from "./adapters/alone.ts";
import { type AdaptedLinear, deltaOf, mergedBias } from "./adapters/apply.ts";
import { baseLinear } from "./adapters/base.ts";
import { type BaseOptions, baseOptions } from "./adapters/base_options.ts";
import { type CopyFault, withoutCopies } from "./adapters/copies.ts";
import { roundedAs } from "./adapters/merged_parameter.ts";
import type { LinearShape, Method } from "./adapters/method.ts";
import type { LoadedAdapter } from "./adapters/peft.ts";
import { widen } from "../kernels/half.ts";
import type { Device } from "./device/device.ts";
import { ConfigError } from "./errors.ts";
import { copyFiles, copyInnerFiles, type ReadableFolder, type WritableFolder } from "./folder.ts";
import { type FileNames, filesBesideWeights, namedTemplates, openCheckpoint } from "./models/checkpoint.ts";
import { parseConfigText } from "./models/config_fields.ts";
import { copyFaultOf } from "./models/copies.ts";
import { modelLinears, namesOf, parseConfig, pathsOf, readConfigFields } from "./models/families.ts";
import { type OwnMerge, ownMerge } from "./merge_own.ts";
import { quantizedNames, withoutPacking } from "./models/quantization.ts";
import { transposed } from "./models/transpose.ts";
import { fromTensor, layoutSafetensors } from "./safetensors/mod.ts";
import type { HostTensor } from "./tensor.ts";

/** The sum in float32, rounded once to the weight's own dtype. */
function added(weight: HostTensor, delta: HostTensor): HostTensor {
  const sum = widen(weight.data, weight.dtype).slice();
  const change = delta.data as Float32Array;
  for (let i = 0; i < sum.length; i++) sum[i] += change[i];
  return roundedAs(sum, weight);
}

async function* onePart(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

/** What is merged: a model's weights, by the names its family gives them, and an adapter. */
interface Merge {
  readonly checkpoint: Awaited<ReturnType<typeof openCheckpoint>>;
  readonly fileNames: FileNames | undefined;
  readonly adapter: LoadedAdapter;
  readonly own: OwnMerge;
  readonly onWeight: (done: number, total: number) => void;
}

/** The linear with its base, a weight (out, in) on the host, on the device for as long as `use` takes. */
async function onBase<T>(
  device: Device,
  { linear, weight }: { readonly linear: AdaptedLinear; readonly weight: HostTensor },
  use: (based: AdaptedLinear) => Promise<T>,
): Promise<T> {
  if (!needsBase(linear)) return await use(linear);
  const onDevice = device.upload(weight);
  try {
    return await use({ ...linear, base: baseLinear(device, onDevice) });
  } finally {
    device.release(onDevice);
  }
}

/** The parts of the merged weights' file; everything is checked before the first. */
function mergedParts(
  device: Device,
  { checkpoint, fileNames, adapter: { method, ...adapter }, own, onWeight }: Merge,
): AsyncIterable<Uint8Array> {
  const pathOf = weightPaths(checkpoint.names, adapter, fileNames);
  const biases = changedBiases(checkpoint.names, method, pathOf);
  const isTransposed = (path: string): boolean => fileNames?.isTransposed?.(path) ?? false;
  for (const [name, path] of pathOf) {
    adapter.modules.get(path)!.check(path, shapeOf(name, checkpoint.info(name).shape, isTransposed(path)));
  }
  const specs = [...checkpoint.names, ...own.added].map((name) => {
    const { dtype, shape } = checkpoint.info(own.storedAs(name));
    return { name, dtype, shape };
  });
  const layout = layoutSafetensors(specs, { metadata: { format: "pt" } });
  /** A module's linear, and its weight (out, in). */
  function linearOf(name: string, path: string, stored: HostTensor) {
    const turns = isTransposed(path), module = adapter.modules.get(path)!;
    const shape = shapeOf(name, stored.shape, turns);
    return { linear: { method, module, shape }, weight: turns ? transposed(stored) : stored };
  }
  async function merged(stored: HostTensor, name: string, path: string): Promise<HostTensor> {
    const { linear, weight } = linearOf(name, path, stored);
    const sum = added(weight, await onBase(device, { linear, weight }, (based) => deltaOf(device, based)));
    return isTransposed(path) ? transposed(sum) : sum;
  }
  async function changedBias(bias: HostTensor, name: string, path: string): Promise<HostTensor> {
    const linear = linearOf(name, path, await checkpoint.read(name)), numbers = widen(bias.data, bias.dtype);
    return roundedAs(await onBase(device, linear, (based) => mergedBias(device, based, numbers)), bias);
  }
  async function* parts(): AsyncGenerator<Uint8Array> {
    yield layout.header;
    for (const [i, { name }] of layout.tensors.entries()) {
      const stored = own.merged(name, await checkpoint.read(own.storedAs(name)));
      const path = pathOf.get(name), biased = biases.get(name);
      const made = path !== undefined
        ? await merged(stored, name, path)
        : biased
        ? await changedBias(stored, biased.name, biased.path)
        : stored;
      yield fromTensor(name, made).bytes;
      onWeight(i + 1, layout.tensors.length);
    }
  }
  return parts();
}

/**
 * Merges an adapter into a copy of a model folder. The weights go into one `model.safetensors`.
 *
 * @throws ConfigError when the model lacks a module's weight, and for a copy of a base weight that is none; RangeError
 * when a shape is not the module's.
 */
export async function mergeFolder(
  device: Device,
  { model, adapter, out, onWeight = () => {} }: {
    readonly model: ReadableFolder;
    readonly adapter: LoadedAdapter;
    readonly out: WritableFolder;
    readonly onWeight?: (done: number, total: number) => void;
  },
): Promise<void> {
  const fileNames = await namesOf(model);
  const checkpoint = await openCheckpoint(model, fileNames);
  try {
    const fault: CopyFault = (name, copy) => copyFaultOf({ checkpoint, fileNames }, name, copy);
    const alone = await withoutCopies(adapter, fault);
    const own = await ownMerge(model, { checkpoint, fileNames, adapter: alone });
    const parts = mergedParts(device, { checkpoint, fileNames, adapter: alone, own, onWeight });
    await out.write("model.safetensors", parts);
    const config = await floatsConfig(model, own.config);
    if (config) await out.write("config.json", onePart(config));
    else await copyFiles(model, out, ["config.json"]);
  } finally {
    await checkpoint.close();
  }
  await copyFiles(model, out, filesBesideWeights);
  await copyInnerFiles(model, out, namedTemplates);
}

/** The config.json of merged weights, which are floats; undefined where it is the model's. */
async function floatsConfig(model: ReadableFolder, changed?: Uint8Array): Promise<Uint8Array | undefined> {
  if (!await model.exists("config.json")) return changed;
  const text = changed ? new TextDecoder().decode(changed) : await model.readText("config.json");
  const fields = withoutPacking(parseConfigText(text));
  return fields ? new TextEncoder().encode(`${JSON.stringify(fields, null, 2)}\n`) : changed;
}

/** Which weight each module's dW is added to. */
function weightPaths(
  names: readonly string[],
  { modules }: Pick<LoadedAdapter, "modules">,
  fileNames: FileNames | undefined,
): Map<string, string> {
  const pathOf = new Map<string, string>();
  for (const path of modules.keys()) {
    const name = `${path}.weight`;
    if (!names.includes(name)) {
      const reason = names.includes(quantizedNames(path).words)
        ? "it is quantized; merge into the float model, and quantize what comes out"
        : name === fileNames?.head
        ? "its head is tied to the embedding"
        : "it has no such tensor";
      throw new ConfigError(`Cannot merge module "${path}" into the model's "${name}": ${reason}`);
    }
    pathOf.set(name, path);
  }
  return pathOf;
}

/** The weights and modules of biases that the method changes, by the biases' names. */
function changedBiases(
  names: readonly string[],
  { changesBias = false }: Method,
  pathOf: ReadonlyMap<string, string>,
): Map<string, { readonly name: string; readonly path: string }> {
  const all = [...pathOf].map(([name, path]) => [`${path}.bias`, { name, path }] as const);
  return new Map(changesBias ? all.filter(([bias]) => names.includes(bias)) : []);
}

/** The shape of a linear whose weight a file has (out, in), or transposed. */
function shapeOf(name: string, shape: readonly number[], isTransposed: boolean): LinearShape {
  if (shape.length !== 2) {
    throw new RangeError(`Cannot merge into "${name}" of shape [${shape}]: it must have two dimensions`);
  }
  const [rows, cols] = shape;
  return isTransposed ? { out: cols, in: rows } : { out: rows, in: cols };
}

/**
 * What a model's folder tells adapters that are read for it, by their paths: `loadAdapter`'s options. Shapes are those of
 * the folder's weights. `placeOf` throws ConfigError where config.json does not say the order: it is missing, or of a model
 * that is not supported.
 */
export async function folderOptions(model: ReadableFolder): Promise<BaseOptions> {
  const fileNames = await namesOf(model), checkpoint = await openCheckpoint(model, fileNames);
  try {
    const shapes = new Map(checkpoint.names.map((name) => [name, checkpoint.info(name).shape]));
    const fields = await model.exists("config.json") ? await readConfigFields(model) : {};
    let places: BaseOptions["placeOf"] | undefined;
    return {
      pathOf: pathsOf(fields),
      shapeOf(path) {
        const name = `${path}.weight`, shape = shapes.get(name);
        return shape?.length === 2
          ? shapeOf(name, shape, fileNames?.isTransposed?.(path) ?? false)
          : undefined;
      },
      placeOf(path) {
        places ??= baseOptions(modelLinears(parseConfig(fields))).placeOf;
        return places(path);
      },
    };
  } finally {
    await checkpoint.close();
  }
}
