/**
 * How a model of images takes pixels: preprocessor_config.json.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import { isJsonObject, parseJsonObject } from "../json.ts";

const name = "preprocessor_config.json";

/** What is done to an image's bytes before a model sees them. */
export interface ImageProcessing {
  /** Pixels of an image's sides; see {@linkcode resizedImage}. */
  readonly height: number;
  readonly width: number;
  /** Whether images of other sizes are resized; else they are refused. */
  readonly resizes: boolean;
  /** PIL's number of the filter to resize by: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming. */
  readonly resample: number;
  /** What bytes are multiplied by. */
  readonly rescale: number;
  /** Of each channel: what is taken off, and what the rest is divided by. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

function fail(field: string, value: unknown, rule: string): never {
  throw new ConfigError(`Cannot read ${name} field "${field}" = ${JSON.stringify(value)}: ${rule}`);
}

function channels(fields: Record<string, unknown>, field: string, neutral: number): readonly number[] {
  if (fields.do_normalize === false) return [neutral, neutral, neutral];
  const values = fields[field] ?? [0.5, 0.5, 0.5];
  const isRight = Array.isArray(values) && values.length === 3 &&
    values.every((value) => typeof value === "number" && Number.isFinite(value));
  if (!isRight || (field === "image_std" && values.includes(0))) {
    fail(field, values, "it must be three numbers, and a deviation is not 0");
  }
  return values as number[];
}

/** The sides that images are resized to: a number, or an object of both. */
function sides({ size }: Record<string, unknown>): Pick<ImageProcessing, "height" | "width"> {
  const { height, width } = isJsonObject(size) ? size : { height: size, width: size };
  if (![height, width].every((side) => Number.isSafeInteger(side) && (side as number) > 0)) {
    fail("size", size, "it must be a height and a width");
  }
  return { height: height as number, width: width as number };
}

/**
 * Reads a folder's preprocessor_config.json; undefined where there is none.
 *
 * @throws ConfigError that names the field, its value and the rule.
 */
export async function readImageProcessing(folder: ReadableFolder): Promise<ImageProcessing | undefined> {
  if (!await folder.exists(name)) return undefined;
  const fields = parseJsonObject(await folder.readText(name), name);
  const { resample = 2, rescale_factor: factor = 1 / 255, do_center_crop: crops } = fields;
  if (typeof resample !== "number" || !Number.isInteger(resample) || resample < 0 || resample > 5) {
    fail("resample", resample, "it must be a filter of PIL, 0 to 5");
  }
  if (typeof factor !== "number" || !(factor > 0)) {
    fail("rescale_factor", factor, "it must be a positive number");
  }
  if (crops === true) fail("do_center_crop", crops, "it is not supported");
  return {
    ...sides(fields),
    resizes: fields.do_resize !== false,
    resample,
    rescale: fields.do_rescale === false ? 1 : factor,
    mean: channels(fields, "image_mean", 0),
    std: channels(fields, "image_std", 1),
  };
}

/**
 * The pixels of an image of the right size as a model takes them: (3, height, width), float32.
 *
 * @param rgb (height, width, 3), row-major bytes.
 * @throws RangeError for bytes of another size: an image is resized before.
 */
export function imagePixels(rgb: Uint8Array, processing: ImageProcessing): Float32Array {
  const { height, width, rescale, mean, std } = processing, count = height * width;
  if (rgb.length !== 3 * count) {
    throw new RangeError(
      `Cannot take an image of ${rgb.length} bytes: it must have ${height} x ${width} pixels of red, green and blue`,
    );
  }
  const pixels = new Float32Array(3 * count);
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) pixels[c * count + i] = (rgb[3 * i + c] * rescale - mean[c]) / std[c];
  }
  return pixels;
}
