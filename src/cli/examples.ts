/**
 * Files of labelled examples: JSON lines, CSV, and folders of images by class.
 *
 * @module
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { CsvError, parse } from "csv-parse/sync";
import { decode as decodePng } from "fast-png";
import jpeg from "jpeg-js";
import { ConfigError } from "../errors.ts";
import { openFile } from "../runtime/file.ts";
import { streamOf } from "../training/data.ts";
import { exampleOf, examplesOfJsonLines, type ImageExample, type TextExample } from "../training/examples.ts";

/** Pixels of an image at most, and MiB that its decoder may take. */
const maxPixels = 64e6, maxMemory = 1024;

/** A label of a CSV file: a number where it is written as one. */
const labelOf = (text: string): string | number =>
  /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : text;

/** Examples of a CSV file whose first line names the columns `text`, `label` and, for pairs, `text_pair`. */
function examplesOfCsv(text: string): TextExample[] {
  let rows: { readonly record: Record<string, string>; readonly info: { readonly lines: number } }[];
  try {
    rows = parse(text, { bom: true, columns: true, info: true, skip_empty_lines: true });
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new SyntaxError(`Cannot read the CSV: ${error.message}`, { cause: error });
  }
  const columns = Object.keys(rows[0]?.record ?? {});
  if (rows.length > 0 && !columns.includes("text")) {
    throw new SyntaxError(
      `Cannot read the CSV: its first line must name the columns text and label, it names ${
        columns.join(", ")
      }`,
    );
  }
  return rows.map(({ record, info: { lines } }) => {
    const { label, text_pair: pair, ...rest } = record;
    const fields = { ...rest, ...pair === undefined ? {} : { text_pair: pair } };
    return exampleOf(
      { ...fields, ...label === undefined ? {} : { label: labelOf(label.trim()) } },
      `line ${lines}`,
    );
  });
}

/** A file's examples of texts, by its ending: `.jsonl` or `.csv`. */
export async function textExamples(path: string): Promise<TextExample[]> {
  const ending = extname(path).toLowerCase();
  if (ending !== ".jsonl" && ending !== ".csv") {
    throw new ConfigError(`Cannot read examples of "${path}": it must be JSON lines (.jsonl) or CSV (.csv)`);
  }
  const file = await openFile(path);
  try {
    if (ending === ".jsonl") return await examplesOfJsonLines(streamOf(file));
    return examplesOfCsv(new TextDecoder().decode(await file.read(0, file.sizeBytes)));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new SyntaxError(`${path}: ${error.message}`, { cause: error });
  } finally {
    await file.close?.();
  }
}

/** Samples of fewer than 8 bits, one a byte: rows begin at whole bytes. */
function unpacked(data: ArrayLike<number>, depth: number, width: number, height: number): Uint8Array {
  const line = Math.ceil(width * depth / 8), most = 2 ** depth - 1;
  return Uint8Array.from({ length: width * height }, (_, i) => {
    const bit = (i % width) * depth, byte = data[Math.floor(i / width) * line + (bit >> 3)];
    return (byte >> (8 - depth - bit % 8)) & most;
  });
}

/** Red, green and blue of what a PNG has: grey, a palette, with or without alpha, which is left out as PIL does. */
function rgbOfPng(bytes: Uint8Array): Pick<ImageExample, "rgb" | "width" | "height"> {
  const { data, width, height, channels, depth, palette } = decodePng(bytes);
  if (depth > 8) throw new ConfigError(`it has ${depth} bits a channel; write it with 8`);
  const samples = depth < 8 ? unpacked(data, depth, width, height) : data;
  const rgb = new Uint8Array(3 * width * height), scale = 255 / (2 ** depth - 1);
  for (let i = 0; i < width * height; i++) {
    const color = palette?.[samples[i]];
    if (palette && !color) throw new ConfigError(`pixel ${i} has color ${samples[i]} of ${palette.length}`);
    for (let c = 0; c < 3; c++) {
      rgb[3 * i + c] = color ? color[c] : scale * samples[i * channels + (channels < 3 ? 0 : c)];
    }
  }
  return { rgb, width, height };
}

function rgbOfJpeg(bytes: Uint8Array): Pick<ImageExample, "rgb" | "width" | "height"> {
  const { data, width, height } = jpeg.decode(bytes, {
    ...{ useTArray: true, formatAsRGBA: false },
    ...{ maxResolutionInMP: maxPixels / 1e6, maxMemoryUsageInMB: maxMemory },
  });
  return { rgb: data, width, height };
}

/** Width and height of a PNG by its header, so that a few bytes do not take all memory. */
function checkPngSize(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 24) throw new ConfigError("it ends within its header");
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  if (width * height > maxPixels) {
    throw new ConfigError(`it has ${width} x ${height} pixels, at most ${maxPixels} are taken`);
  }
}

/** An image of PNG or JPEG bytes; throws ConfigError that names it. */
export function decodeImage(bytes: Uint8Array, name: string): Pick<ImageExample, "rgb" | "width" | "height"> {
  const isPng = bytes[0] === 0x89 && bytes[1] === 0x50, isJpeg = bytes[0] === 0xff && bytes[1] === 0xd8;
  if (!isPng && !isJpeg) throw new ConfigError(`Cannot read image "${name}": it is neither PNG nor JPEG`);
  try {
    if (isJpeg) return rgbOfJpeg(bytes);
    checkPngSize(bytes);
    return rgbOfPng(bytes);
  } catch (error) {
    const why = error instanceof ConfigError ? error.message : "its data is broken, or cut off";
    throw new ConfigError(`Cannot read image "${name}": ${why}`, { cause: error });
  }
}

const isImage = (name: string): boolean => /\.(png|jpe?g)$/i.test(name);

/** Names in a folder, sorted, without those that begin with a dot. */
async function namesIn(path: string): Promise<string[]> {
  const names = await readdir(path).catch((error) => {
    const why = error.code === "ENOENT" ? "there is no such folder" : `the system says ${error.code}`;
    throw new ConfigError(`Cannot read the folder of images "${path}": ${why}`, { cause: error });
  });
  return names.filter((name) => !name.startsWith(".")).sort();
}

/** The images of a folder that has a folder for each class; a class is called as its folder. */
export async function* imageExamples(path: string): AsyncGenerator<ImageExample> {
  const classes = await namesIn(path);
  if (classes.length === 0) throw new ConfigError(`Cannot find a class in "${path}": it is an empty folder`);
  for (const label of classes) {
    const folder = join(path, label);
    if (!(await stat(folder)).isDirectory()) {
      throw new ConfigError(`Cannot use "${folder}": beside the classes' folders there may be nothing`);
    }
    const names = await namesIn(folder), other = names.find((name) => !isImage(name));
    if (other !== undefined) {
      throw new ConfigError(`Cannot use "${join(folder, other)}": images are .png, .jpg and .jpeg files`);
    }
    if (names.length === 0) {
      throw new ConfigError(`Cannot learn class "${label}": its folder "${folder}" is empty`);
    }
    for (const name of names) {
      const place = join(folder, name);
      yield { ...decodeImage(new Uint8Array(await readFile(place)), place), label, place };
    }
  }
}
