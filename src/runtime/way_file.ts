/**
 * The fastest ways of kernels on a GPU, kept in the user's cache folder: a file for each GPU and driver.
 *
 * @module
 */
import { type KnownWay, withFound } from "../device/known_ways.ts";
import { tunedLine } from "../device/open_device.ts";
import type { TuningOptions } from "../device/tuner.ts";
import { importOptional, runtimeGlobals, runtimeName } from "./runtime.ts";

/** The answers known at the start, and a place for later ones. */
export interface WayFile {
  readonly known: readonly KnownWay[];
  /**
   * Adds to what the file holds by now: other processes may have saved, too. (Of two that save in the same instant one is
   * lost, and timed again some day.) The path, or undefined when it could not be written.
   */
  save(found: readonly KnownWay[]): string | undefined;
}

/** A number in the file, for the day that it is written differently. */
const format = 1;

/** A process's surroundings, as far as they say where caches are. */
export interface Surroundings {
  readonly platform?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** How a file is opened. */
export interface WayFileOptions {
  readonly log: (line: string) => void;
  /** The process's own where left out. */
  readonly surroundings?: Surroundings;
}

/** The folder for this package's caches; undefined where none can be told. */
export function cacheFolder({ platform, env = {} }: Surroundings): string | undefined {
  if (platform === "win32") return env.LOCALAPPDATA && `${env.LOCALAPPDATA}\\fourierft\\cache`;
  if (platform === "darwin") return env.HOME && `${env.HOME}/Library/Caches/fourierft`;
  // The standard has a relative path ignored.
  if (env.XDG_CACHE_HOME?.startsWith("/")) return `${env.XDG_CACHE_HOME}/fourierft`;
  return env.HOME && `${env.HOME}/.cache/fourierft`;
}

function isKnownWay(value: unknown): value is KnownWay {
  const { kernel, key, way, programs } = Object(value);
  return [kernel, key, way, programs].every((field) => typeof field === "string");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("it is not JSON"); // engines quote lines of it
  }
}

/** @throws Error that says in one line what is wrong with a file's text. */
function parse(text: string, gpu: string): readonly KnownWay[] {
  const file = Object(parseJson(text));
  if (file.format !== format) throw new Error(`its format is ${JSON.stringify(file.format)}, not ${format}`);
  if (file.gpu !== gpu) throw new Error(`it is of another GPU or driver, ${JSON.stringify(file.gpu)}`);
  if (!Array.isArray(file.ways) || !file.ways.every(isKnownWay)) throw new Error("its ways are not ways");
  return file.ways;
}

/**
 * Opens the file of a GPU, which need not be there. A file that cannot be used is told of in one line, and ignored.
 *
 * @returns undefined where there are no files (pages, Workers), or no folder for caches.
 */
export async function openWayFile(
  gpu: string,
  { log, surroundings }: WayFileOptions,
): Promise<WayFile | undefined> {
  if (runtimeName() === "browser") return undefined;
  let fs: typeof import("node:fs");
  let folder: string | undefined;
  try {
    fs = await importOptional<typeof import("node:fs")>("node:fs");
    folder = cacheFolder(surroundings ?? runtimeGlobals.process ?? {});
  } catch {
    return undefined; // no permission to ask
  }
  if (!folder) return undefined;
  const path = `${folder}/ways-${gpu.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 150)}.json`;

  function removeIfThere(file: string): void {
    try {
      fs.rmSync(file);
    } catch {
      // It was never made.
    }
  }

  function load(): readonly KnownWay[] {
    let text: string;
    try {
      text = fs.readFileSync(path, "utf8");
    } catch {
      return []; // nothing kept, or not for us to read
    }
    try {
      return parse(text, gpu);
    } catch (error) {
      log(`ignored ${path}: ${(error as Error).message}`);
      return [];
    }
  }

  return {
    known: load(),
    // Small, and at once: whoever tunes may end the process next.
    save(found) {
      const temporary = `${path}.${crypto.randomUUID()}.partial`;
      try {
        fs.mkdirSync(folder, { recursive: true });
        const ways = withFound(load(), found);
        fs.writeFileSync(temporary, JSON.stringify({ format, gpu, ways }, null, 1) + "\n");
        fs.renameSync(temporary, path);
        return path;
      } catch {
        removeIfThere(temporary);
        return undefined;
      }
    },
  };
}

/** Tuning that begins with what a GPU's file holds, keeps there what is found, and logs a line about it. */
export async function keptTuning(gpu: string, options: WayFileOptions): Promise<TuningOptions> {
  const file = await openWayFile(gpu, options);
  return {
    known: file?.known,
    onTuned(tuned) {
      const path = file?.save(tuned.found);
      options.log(tunedLine(tuned, path === undefined ? "" : `, kept in ${path}`));
    },
  };
}
