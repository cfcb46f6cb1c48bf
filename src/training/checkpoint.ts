/**
 * What a training run keeps: an adapter PEFT loads, the optimizer's numbers, and what the run was.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { fromTensor, parseSafetensors, toFloat32, toTensor, writeSafetensors } from "../safetensors/mod.ts";
import { type HostTensor, tensor } from "../tensor.ts";
import type { TrainerNumbers } from "./trainer.ts";

/** Files by name, complete. */
export type Files = ReadonlyMap<string, Uint8Array>;

/** Where a run's checkpoints are kept. */
export interface CheckpointStore {
  /** Keeps a step's files; when it resolves they are complete, and older ones may be gone. */
  save(step: number, files: Files): Promise<void>;
  /** Files of the newest checkpoint, the one that was saved last; undefined when there is none. */
  latest(): Promise<Files | undefined>;
}

/** The names of a checkpoint's files. */
const checkpointFiles = {
  config: "adapter_config.json",
  adapter: "adapter_model.safetensors",
  optimizer: "optimizer.safetensors",
  state: "trainer_state.json",
} as const;

const text = (value: unknown): Uint8Array => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);

/** An adapter folder's two files. */
export function adapterFiles(
  config: Readonly<Record<string, unknown>>,
  tensors: ReadonlyMap<string, HostTensor>,
): Map<string, Uint8Array> {
  const views = [...tensors].map(([name, t]) => fromTensor(name, t));
  return new Map([
    [checkpointFiles.config, text(config)],
    [checkpointFiles.adapter, writeSafetensors(views, { metadata: { format: "pt" } })],
  ]);
}

/** A checkpoint's files. `run` says what the run is: a resumption must say the same. */
export function checkpointToFiles(
  { numbers, tensors, config, run }: {
    readonly numbers: TrainerNumbers;
    readonly tensors: ReadonlyMap<string, HostTensor>;
    readonly config: Readonly<Record<string, unknown>>;
    readonly run: Readonly<Record<string, unknown>>;
  },
): Files {
  const { params, m, v, step } = numbers;
  const parts = Object.entries({ params, m, v }).map(([name, values]) => fromTensor(name, tensor(values)));
  return new Map([
    ...adapterFiles(config, tensors),
    [checkpointFiles.optimizer, writeSafetensors(parts)],
    [checkpointFiles.state, text({ step, run })],
  ]);
}

/** A file of a checkpoint; SafetensorsError and JSON's errors are SyntaxErrors that name no file. */
function parsed<T>(files: Files, name: string, parse: (bytes: Uint8Array) => T): T {
  const bytes = files.get(name);
  if (!bytes) throw new ConfigError(`Cannot resume: the checkpoint has no ${name}`);
  try {
    return parse(bytes);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new ConfigError(`Cannot resume: the checkpoint's ${name} is broken: ${error.message}`, {
      cause: error,
    });
  }
}

/** The adapter's tensors of a checkpoint, as float32 or int32; throws ConfigError where it has none. */
export function tensorsFromFiles(files: Files): Map<string, HostTensor> {
  const file = parsed(files, checkpointFiles.adapter, parseSafetensors);
  return new Map([...file.tensors.keys()].map((name) => [name, toTensor(file.read(name))]));
}

/** The run's settings by name; those of the adapter's config each by its own. */
function fieldsOf({ config, ...run }: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const own = Object.entries(config ?? {}).map(([name, value]) => [`config.${name}`, value]);
  return { ...run, ...Object.fromEntries(own) };
}

interface State {
  readonly step: number;
  readonly run: Readonly<Record<string, unknown>>;
}

function parseState(bytes: Uint8Array): State {
  const { step, run } = JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  if (Number.isSafeInteger(step) && typeof run === "object" && run !== null) return { step, run };
  throw new SyntaxError('it must have "step", an integer, and "run", an object');
}

/**
 * A checkpoint's numbers.
 *
 * @throws ConfigError when it is of another run: it names the first field that differs. Of a broken file it names the file.
 */
export function numbersFromFiles(files: Files, run: Readonly<Record<string, unknown>>): TrainerNumbers {
  const state = parsed(files, checkpointFiles.state, parseState);
  const had = fieldsOf(state.run), has = fieldsOf(run);
  // Older checkpoints say less; of what they do not say there is nothing to compare.
  for (const field of Object.keys(had)) {
    const [was, is] = [had[field], has[field]].map((value) => JSON.stringify(value));
    if (was !== is) {
      throw new ConfigError(
        `Cannot resume: the checkpoint's run had "${field}" = ${was}, this one has ${is}`,
      );
    }
  }
  const file = parsed(files, checkpointFiles.optimizer, parseSafetensors);
  const numbers = (name: string): Float32Array => toFloat32(file.read(name)).slice();
  return { params: numbers("params"), m: numbers("m"), v: numbers("v"), step: state.step };
}
