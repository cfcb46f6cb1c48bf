/// <reference lib="dom" />
/**
 * The worker's methods of training. A page keeps one run; of several tabs one trains at a time.
 *
 * @module
 */
import type { Files } from "fourierft";
import type { Handlers } from "./engine.ts";
import type { KeptRun, LossCurve, TrainingMethod } from "./protocol.ts";
import { checkpointsIn, clear, curveFile, readRecord, type RunRecord } from "./run_folder.ts";

/** The name of the folder, and of the lock on it. */
const place = "fourierft-training";

/** A worker that was ended gives its lock back a moment later. */
const lockWaitMs = 3000;

const empty: LossCurve = { training: [], heldOut: [], stride: 1 };

const openFolder = async (): Promise<FileSystemDirectoryHandle> =>
  await (await navigator.storage.getDirectory()).getDirectoryHandle(place, { create: true });

/** Works on the folder while no other tab does. */
async function alone<Value>(work: () => Promise<Value>): Promise<Value> {
  const waited = new AbortController();
  const timer = setTimeout(() =>
    waited.abort(
      new Error("Cannot do this now: another tab of this page trains. Wait for its run, or pause it there"),
    ), lockWaitMs);
  return await navigator.locks.request(place, { signal: waited.signal }, () => {
    clearTimeout(timer);
    return work();
  });
}

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

function keptOf({ job, model }: RunRecord, files: Files | undefined): KeptRun {
  const state = files?.get("trainer_state.json"), curve = files?.get(curveFile);
  return {
    job,
    model,
    step: state ? JSON.parse(textOf(state)).step : 0,
    curve: curve ? JSON.parse(textOf(curve)) : empty,
  };
}

/** See the module's documentation. */
export function trainingHandlers(): Pick<Handlers, TrainingMethod> {
  let running: AbortController | undefined;
  return {
    async train(input, { tell }) {
      if (running) throw new Error("Cannot train yet: a run is going on");
      const own = running = new AbortController();
      try {
        const { runIn } = await import("./run.ts");
        return await alone(async () => await runIn(await openFolder(), input, { tell, signal: own.signal }));
      } finally {
        running = undefined;
      }
    },
    pauseTraining() {
      running?.abort(new DOMException("The run was paused", "AbortError"));
      return Promise.resolve(undefined);
    },
    async keptRun() {
      const folder = await openFolder(), record = await readRecord(folder);
      return record && keptOf(record, await checkpointsIn(folder).latest());
    },
    async keptAdapter() {
      const files = await checkpointsIn(await openFolder()).latest();
      const names = ["adapter_config.json", "adapter_model.safetensors"];
      const found = [...files ?? []].filter(([name]) => names.includes(name));
      if (found.length !== names.length) throw new Error("Cannot read the adapter: no step was kept yet");
      return new Map(found);
    },
    forgetRun: (id) =>
      alone(async () => {
        const folder = await openFolder();
        if ((await readRecord(folder))?.job.id === id) await clear(folder);
        return undefined;
      }),
  };
}
