/// <reference lib="dom" />
/**
 * A run of training from its first step, or from the checkpoint that the page keeps.
 *
 * @module
 */
import { type CheckpointStore, type Files, openDevice, train, type TrainEvent } from "fourierft";
import { Losses } from "./curve.ts";
import { openSource } from "./folders.ts";
import { parted } from "./held_out.ts";
import { modelKey } from "./model_key.ts";
import type { LossCurve, Methods, TrainProgress } from "./protocol.ts";
import {
  checkpointsIn,
  clear,
  curveFile,
  dataFile,
  type PrivateFolder,
  readFile,
  readRecord,
  type RunRecord,
  writeFile,
  writeRecord,
} from "./run_folder.ts";

/** The page is told so often at most: more would be drawn by nobody. */
const tellEveryMs = 100;

/** Evaluations and checkpoints of a run. */
const marks = 10;

/** A run that is to be trained, and where it is kept. */
interface Placed {
  readonly record: RunRecord;
  readonly data: Blob;
  readonly checkpoints: CheckpointStore;
  readonly latest: Files | undefined;
}

/** A new run takes the kept one's place when it has something to keep: what is refused before costs nothing. */
function newRun(folder: PrivateFolder, { record, data }: Pick<Placed, "record" | "data">): Placed {
  const store = checkpointsIn(folder);
  let isPlaced = false;
  return {
    record,
    data,
    latest: undefined,
    checkpoints: {
      async save(step, files) {
        if (!isPlaced) {
          await clear(folder);
          await writeFile(folder, dataFile, data);
          await writeRecord(folder, record);
          isPlaced = true;
        }
        await store.save(step, files);
      },
      latest: () => store.latest(),
    },
  };
}

/** The run that is kept. */
async function keptRun(folder: PrivateFolder, key: string): Promise<Placed> {
  const record = await readRecord(folder), data = await readFile(folder, dataFile);
  if (!record || !data) throw new Error("Cannot go on: no run is kept");
  if (record.key !== key) {
    throw new Error(
      `Cannot go on with "${record.job.name}": it was trained on model "${record.model}", and another is open`,
    );
  }
  const checkpoints = checkpointsIn(folder);
  return { record, data, checkpoints, latest: await checkpoints.latest() };
}

/** Tells the page how a run goes. */
class Teller {
  #from = 0;
  #beganMs = 0;
  #toldMs = -Infinity;
  #step = 0;
  #parameters = 0;

  constructor(
    private readonly losses: Losses,
    private readonly device: string,
    private readonly tell: (event: TrainProgress) => void,
  ) {}

  hear(event: TrainEvent): void {
    if (event.kind === "weight") {
      return this.tell({
        kind: "opening",
        text: `weight ${event.done} of ${event.total}`,
        part: event.done / event.total,
      });
    }
    if (event.kind === "start") {
      this.#parameters = event.parameters;
      this.#step = event.step;
    } else if (event.kind === "step") {
      if (this.#beganMs === 0) [this.#from, this.#beganMs] = [event.step, performance.now()];
      this.#step = event.step;
      this.losses.step(event.step, event.loss);
      if (performance.now() - this.#toldMs < tellEveryMs) return;
    } else if (event.kind === "evaluation") this.losses.evaluation(event.step, event.loss);
    this.say();
  }

  say(): void {
    const now = performance.now(), steps = this.#step - this.#from;
    this.#toldMs = now;
    this.tell({
      kind: "training",
      step: this.#step,
      curve: this.losses.curve,
      device: this.device,
      parameters: this.#parameters,
      ...(this.#beganMs > 0 && steps > 0 ? { stepsPerSecond: 1000 * steps / (now - this.#beganMs) } : {}),
    });
  }
}

/** Checkpoints that have the curve among their files. */
function withCurve(store: CheckpointStore, losses: Losses): CheckpointStore {
  return {
    save: (step, files) =>
      store.save(
        step,
        new Map([...files, [curveFile, new TextEncoder().encode(JSON.stringify(losses.curve))]]),
      ),
    latest: () => store.latest(),
  };
}

/** How a run is told to end early, and whom it tells. */
export interface RunCall {
  readonly tell: (event: TrainProgress) => void;
  readonly signal: AbortSignal;
}

/**
 * Trains until the last step, or the signal; what was learnt is in the folder.
 *
 * @throws what `train` throws; Error for a run of another model.
 */
export async function runIn(
  folder: PrivateFolder,
  { opening, begin }: Methods["train"]["input"],
  { tell, signal }: RunCall,
): Promise<undefined> {
  const opens = (progress: { readonly text: string; readonly part?: number }): void =>
    tell({ kind: "opening", ...progress });
  opens({ text: "opening the device" });
  const device = await openDevice({ kind: opening.device });
  try {
    const { name: model, folder: base } = await openSource(opening.source, opens);
    const key = await modelKey(base);
    const { record: { job }, data, checkpoints, latest } = begin
      ? newRun(folder, { record: { job: begin.job, model, key }, data: begin.data })
      : await keptRun(folder, key);
    const curve = latest?.get(curveFile);
    const losses = new Losses(curve && JSON.parse(new TextDecoder().decode(curve)) as LossCurve);
    const teller = new Teller(losses, device.description, tell);
    const every = Math.max(1, Math.ceil(job.settings.steps / marks));
    await train(device, {
      evaluateEvery: every,
      checkpointEvery: every,
      ...job.settings,
      ...await parted(data, job),
      folder: base,
      adapter: job.adapter,
      checkpoints: withCurve(checkpoints, losses),
      resume: latest !== undefined,
      signal,
      onEvent: (event) => teller.hear(event),
    });
    teller.say();
  } finally {
    device.destroy();
  }
}
