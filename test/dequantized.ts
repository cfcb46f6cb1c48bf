/**
 * Models of floats whose linears have the numbers that quantised ones stand for.
 *
 * @module
 */
import type { WeightFormat } from "../kernels/formats/format.ts";
import { widen } from "../kernels/half.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { headFormat } from "../src/models/quantization.ts";
import { quantizeTensor } from "../src/models/weights.ts";
import { openFolder } from "../src/runtime/file.ts";
import { bytesSource, fromTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";

/** A model's folder with each linear's weight as its quantised form says it. */
export async function dequantized(path: string, format: WeightFormat): Promise<ReadableFolder> {
  const folder = await openFolder(path);
  const source = await openCheckpoint(folder);
  const views = await Promise.all(source.names.map(async (name) => {
    const weight = await source.read(name) as HostTensor;
    if (!/_proj\.weight$|lm_head/.test(name)) return fromTensor(name, weight);
    const own = name.startsWith("lm_head") ? headFormat : format;
    const { shape, tensors: { words, scales } } = quantizeTensor(weight, { name, format: own });
    const exact = own.rows({ words: words.data, scales: widen(scales.data, scales.dtype) }, shape);
    return fromTensor(name, tensor(exact, weight.shape));
  }));
  await source.close();
  const bytes = writeSafetensors(views);
  return {
    ...folder,
    open: (name) => name === "model.safetensors" ? Promise.resolve(bytesSource(bytes)) : folder.open(name),
    readText: (name, options) => folder.readText(name, options),
    exists: (name) => folder.exists(name),
  };
}
