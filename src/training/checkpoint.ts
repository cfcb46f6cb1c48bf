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

/** The adapter's tensors of a checkpoint, as float32 or int32; throws ConfigError where it has none. */
export function tensorsFromFiles(files: Files): Map<string, HostTensor> {
  const bytes = files.get(checkpointFiles.adapter);
  if (!bytes) throw new ConfigError(`Cannot resume: the checkpoint has no ${checkpointFiles.adapter}`);
  const file = parseSafetensors(bytes);
  return new Map([...file.tensors.keys()].map((name) => [name, toTensor(file.read(name))]));
}

/**
 * A checkpoint's numbers.
 *
 * @throws ConfigError when it is of another run: it names the first field that differs.
 */
export function numbersFromFiles(files: Files, run: Readonly<Record<string, unknown>>): TrainerNumbers {
  const read = (name: string): Uint8Array => {
    const bytes = files.get(name);
    if (!bytes) throw new ConfigError(`Cannot resume: the checkpoint has no ${name}`);
    return bytes;
  };
  const state = JSON.parse(new TextDecoder().decode(read(checkpointFiles.state))) as {
    step: number;
    run: Record<string, unknown>;
  };
  // Older checkpoints say less; of what they do not say there is nothing to compare.
  for (const field of Object.keys(state.run)) {
    const [was, is] = [state.run[field], run[field]].map((value) => JSON.stringify(value));
    if (was !== is) {
      throw new ConfigError(
        `Cannot resume: the checkpoint's run had "${field}" = ${was}, this one has ${is}`,
      );
    }
  }
  const file = parseSafetensors(read(checkpointFiles.optimizer));
  const numbers = (name: string): Float32Array => toFloat32(file.read(name)).slice();
  return { params: numbers("params"), m: numbers("m"), v: numbers("v"), step: state.step };
}
