/**
 * A GGUF file as a model folder: the files that a folder has, made of the file's metadata.
 *
 * @module
 */
import { bytesSource } from "../../safetensors/mod.ts";
import { ConfigError } from "../../errors.ts";
import { isPlainName, MissingFileError, type ReadableFolder, readTextBy } from "../../folder.ts";
import { type GgufFile, readGguf } from "../../gguf/reader.ts";
import { ggufName } from "../checkpoint.ts";
import { families } from "../families.ts";
import { widened } from "../weights.ts";
import { weightOfBytes } from "./blocks.ts";
import { configOfGguf } from "./config.ts";
import { type RopeFactors, ropeFactorsNames } from "./names.ts";
import { tokenizerOfGguf } from "./tokenizer.ts";

/** Every architecture that a family has. */
const architectures = Object.assign({}, ...families.map(({ names }) => names.gguf));

async function ropeFactorsOf(file: GgufFile): Promise<RopeFactors> {
  const found: [string, readonly number[]][] = [];
  for (const [kind, name] of Object.entries(ropeFactorsNames)) {
    const info = file.tensors.get(name);
    if (info) found.push([kind, [...widened(weightOfBytes(info, await file.read(info))).data]]);
  }
  return Object.fromEntries(found);
}

/**
 * Opens a GGUF file as a model folder: whatever takes the folder of a model takes it. `config.json`, `tokenizer.json`,
 * `tokenizer_config.json` and `generation_config.json` are made of the file's metadata.
 *
 * @param folder Where the file is: on a disk, behind a URL, in the hub's cache.
 * @param name The file's name in it.
 * @throws ConfigError that names the key or tensor and the rule: for a file that breaks the format, for an architecture or
 * a tokenizer that is not supported, and for what the metadata says and nobody knows.
 */
export async function openGguf(folder: ReadableFolder, name: string): Promise<ReadableFolder> {
  const source = await folder.open(name);
  let texts: ReadonlyMap<string, string>;
  try {
    const file = await readGguf(source);
    const made = {
      "config.json": configOfGguf(file, { architectures, ropeFactors: await ropeFactorsOf(file) }),
      ...tokenizerOfGguf(file.metadata),
    };
    texts = new Map(Object.entries(made).map(([file, fields]) => [file, JSON.stringify(fields, null, 1)]));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(`Cannot open model ${JSON.stringify(name)}: ${error.message}`, { cause: error });
  } finally {
    await source.close?.();
  }
  const check = (asked: string): void => {
    if (isPlainName(asked)) return;
    throw new ConfigError(
      `Cannot open file ${JSON.stringify(asked)}: the rule is a plain name, without folders`,
    );
  };
  const open: ReadableFolder["open"] = async (asked) => {
    check(asked);
    if (asked === ggufName) return await folder.open(name);
    const text = texts.get(asked);
    if (text !== undefined) return bytesSource(new TextEncoder().encode(text));
    throw new MissingFileError(
      `Cannot open file ${JSON.stringify(asked)}: a GGUF file has none of that name`,
    );
  };
  return {
    open,
    readText: (asked, options) => readTextBy(open, asked, options),
    async exists(asked) {
      check(asked);
      return texts.has(asked) || (asked === ggufName && await folder.exists(name));
    },
  };
}
