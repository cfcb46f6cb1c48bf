/**
 * Whether a device has room for a model's weights, found out before the first is read.
 *
 * @module
 */
import type { WeightFormat } from "../../kernels/formats/format.ts";
import type { Device, TensorUse } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { codes } from "../safetensors/tensors.ts";
import { bytesPerElement } from "../tensor.ts";
import { headFormat } from "./quantization.ts";
import { leavesOf, type LinearSpec, type Spec, type SpecTree } from "./spec.ts";

/** What is known of weights that are not read yet. */
export interface WeightSizes {
  readonly names: readonly string[];
  /** Bytes of a weight as it is stored; it takes no fewer on a device, unless it is quantised. Throws for an unknown name. */
  bytes(name: string): number;
  /** The code of a weight's element type, where it is known. */
  dtype(name: string): string | undefined;
}

/** What a device tells of its room. */
type RoomyDevice = Pick<Device, "maxTensorBytes" | "roomFor" | "heldType">;

type HeldType = NonNullable<Device["heldType"]>;

/** How many times its bytes a weight takes on a device: a CPU may widen 16-bit floats. */
function widening(code: string | undefined, held: HeldType, use?: TensorUse): number {
  const stored = (["float16", "bfloat16"] as const).find((dtype) => codes[dtype] === code);
  return stored ? bytesPerElement[held(stored, use)] / bytesPerElement[stored] : 1;
}

/** How linears are stored, or quantised to. */
interface Formats {
  /** Of the layers' linears in files that this program quantised. */
  readonly stored?: WeightFormat;
  /** That the layers' linears are quantised to. */
  readonly format?: WeightFormat;
}

/** Bytes of a weight in a format, with the usual element types of its buffers. */
function formatBytes(
  { buffers, rowElements }: WeightFormat,
  { shape }: Pick<LinearSpec, "shape">,
  held: HeldType,
): number {
  return Object.entries(rowElements(shape.in)).reduce(
    (sum, [name, count]) => sum + shape.out * count * bytesPerElement[held(buffers[name].dtypes[0])],
    0,
  );
}

/** Bytes that a leaf takes on a device at least; tables that no file has are small, and are not counted. */
function leafBytes(
  spec: Spec,
  sizes: WeightSizes,
  { stored, format, held }: Formats & { readonly held: HeldType },
): number {
  // What a file lacks is refused when it is read.
  const bytesOf = (name: string, use?: TensorUse): number =>
    sizes.names.includes(name) ? sizes.bytes(name) * widening(sizes.dtype(name), held, use) : 0;
  const linear = (one: LinearSpec, made: WeightFormat | undefined): number =>
    made ? formatBytes(made, one, held) : bytesOf(`${one.path}.weight`, "weight");
  switch (spec.kind) {
    case "tensor":
      return bytesOf(spec.name);
    case "embedding":
      return bytesOf(spec.name, "weight");
    case "rows":
      return spec.rows.reduce((sum, { name }) => sum + bytesOf(name), 0);
    case "projection":
      return spec.linears.reduce((sum, one) => sum + linear(one, format ?? stored), 0);
    case "head":
      return linear(spec.linear, format || stored ? headFormat : undefined);
    case "table":
      return 0;
  }
}

/** Bytes that one buffer has of a leaf at least: weights with a row for each token may be in parts. */
function bufferBytes(spec: Spec, bytes: number): number {
  if (spec.kind === "embedding") return bytes / spec.shape[0];
  return spec.kind === "head" ? bytes / spec.linear.shape.out : bytes;
}

/** What a leaf is called. */
function nameOf(spec: Spec): string {
  switch (spec.kind) {
    case "projection":
      return spec.linears.map(({ path }) => path).join(" with ");
    case "head":
      return spec.linear.path;
    case "rows":
      return spec.rows[0].name;
    case "table":
      return "a table";
    default:
      return spec.name;
  }
}

const sized = (bytes: number): string =>
  bytes < 1e9 ? `${(bytes / 1e6).toFixed(2)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;

/** What may help where a device is too small. */
const advice = ({ stored, format }: Formats): string =>
  stored || format ? "take a device with more memory" : "quantise it, or take a device with more memory";

/**
 * Checks that each weight fits a tensor of the device, where it is not in parts, and all together the device's memory, where
 * the device can tell.
 *
 * @throws ConfigError with the numbers.
 */
export async function checkRoom(
  { maxTensorBytes, roomFor, heldType: held = (dtype) => dtype }: RoomyDevice,
  tree: SpecTree,
  { sizes, formats }: { readonly sizes: WeightSizes; readonly formats: Formats },
): Promise<void> {
  let total = 0;
  for (const leaf of leavesOf(tree)) {
    const bytes = leafBytes(leaf, sizes, { ...formats, held });
    if (bufferBytes(leaf, bytes) > maxTensorBytes) {
      throw new ConfigError(
        `Cannot load the model: "${nameOf(leaf)}" takes ${sized(bytes)}, and one buffer of the device ` +
          `holds at most ${sized(maxTensorBytes)}; ${advice(formats)}`,
      );
    }
    total += bytes;
  }
  const room = await roomFor?.(total);
  if (room === undefined || room >= total) return;
  throw new ConfigError(
    `Cannot load the model: its weights take ${sized(total)} at least, and the device has room for ` +
      `${sized(room)}; ${advice(formats)}`,
  );
}
