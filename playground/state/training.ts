/// <reference lib="dom" />
/**
 * Training in the page: the form, the run that goes on, and the run that is kept in the browser's storage.
 *
 * @module
 */
import { type ReadonlySignal, signal } from "@preact/signals";
import type { NamedFile } from "../backend/backend.ts";
import { type BrowserBackend, startWorker } from "../backend/browser.ts";
import type { Caller } from "../backend/caller.ts";
import type { KeptRun, LossCurve, Opening, TrainJob, TrainProgress } from "../worker/protocol.ts";
import { adapterName } from "./files.ts";
import { type MethodChoice, methodChoices } from "./methods.ts";
import { messageOf, type Session } from "./session.ts";
import { formatOfFile, formatOfText, type TextFormat } from "./training_text.ts";

/** What the form says. */
export interface TrainForm {
  readonly name: string;
  readonly text: string;
  /** A file in the text's place. */
  readonly file?: File;
  /** Absent: what the text, or the file's name, says. */
  readonly format?: TextFormat;
  readonly method: MethodChoice;
  /** Absent: the method's usual one. */
  readonly size?: number;
  /** Names of linears with commas between; empty for PEFT's. */
  readonly targetModules: string;
  readonly steps: number;
  readonly batchSize: number;
  /** Absent: 128 tokens, or the model's. */
  readonly contextLength?: number;
  /** Absent: the method's own. */
  readonly lr?: number;
  /** In percent. */
  readonly heldOut: number;
}

const usualForm: TrainForm = {
  name: "my-adapter",
  text: "",
  method: methodChoices[0],
  targetModules: "",
  steps: 100,
  batchSize: 4,
  heldOut: 10,
};

/** Tokens of a sequence unless told; `longest` is the model's. */
export const usualContextLength = (longest: number | null): number => Math.min(128, longest ?? Infinity);

/** The format of the form's text. */
export const formatOfForm = ({ format, file, text }: TrainForm): TextFormat =>
  format ?? (file ? formatOfFile(file) : formatOfText(text));

/** What the form asks for. */
function jobOf(form: TrainForm, longest: number | null): TrainJob {
  const { method, size = method.size?.usual ?? 0, steps, batchSize, lr } = form;
  const { contextLength = usualContextLength(longest) } = form;
  const names = form.targetModules.split(",").map((name) => name.trim()).filter((name) => name !== "");
  if (form.name.trim() === "") throw new Error("Cannot train without a name: give the adapter one");
  return {
    id: crypto.randomUUID(),
    name: adapterName({ name: form.name.trim(), files: [] }),
    adapter: method.adapter(size, names.length > 0 ? names : undefined),
    settings: { steps, batchSize, contextLength, ...(lr === undefined ? {} : { lr }) },
    format: formatOfForm(form),
    heldOut: form.heldOut / 100,
  };
}

/** See the module's documentation. */
export class Training {
  readonly #form = signal<TrainForm>(usualForm);
  readonly #status = signal<"looking" | "idle" | "training" | "pausing">("looking");
  readonly #progress = signal<TrainProgress | undefined>(undefined);
  readonly #kept = signal<KeptRun | undefined>(undefined);
  #worker: Caller | undefined;
  /** Where the worker computes. */
  #device: Opening["device"] = "cpu";
  #hasLooked = false;
  /** Of the run that goes on, or went on last. */
  #job: TrainJob | undefined;

  constructor(private readonly session: Session) {}

  get form(): ReadonlySignal<TrainForm> {
    return this.#form;
  }

  /** `looking` until the browser's storage has said which run is kept. */
  get status(): ReadonlySignal<"looking" | "idle" | "training" | "pausing"> {
    return this.#status;
  }

  /** Of the run that goes on. */
  get progress(): ReadonlySignal<TrainProgress | undefined> {
    return this.#progress;
  }

  /** The run in the browser's storage, as it was when the last one began or ended. */
  get kept(): ReadonlySignal<KeptRun | undefined> {
    return this.#kept;
  }

  /** The losses that are shown: those of the run that goes on, else those of the kept run. */
  get curve(): LossCurve | undefined {
    const progress = this.#progress.value;
    if (progress?.kind === "training") return progress.curve;
    const kept = this.#kept.value;
    // A new run that is opening has none, whatever is kept.
    return progress && kept?.job.id !== this.#job?.id ? undefined : kept?.curve;
  }

  /** Steps in all of the run that goes on. */
  get steps(): number {
    return this.#job?.settings.steps ?? 0;
  }

  set(changed: Partial<TrainForm>): void {
    this.#form.value = { ...this.#form.value, ...changed };
  }

  /**
   * Takes a file as the text.
   *
   * @throws Error for a file that is no text.
   */
  takeFile(file: File): void {
    formatOfFile(file);
    this.set({ file, format: undefined });
    this.session.say(`${file.name} is the text to learn`);
  }

  /** Asks the browser's storage for a run, once. */
  async look(): Promise<void> {
    if (this.#hasLooked) return;
    this.#hasLooked = true;
    await this.#tried(() => this.#lookAgain());
    this.#status.value = "idle";
  }

  /** Trains what the form says; a run that was kept is forgotten. */
  async begin(): Promise<void> {
    const form = this.#form.value;
    await this.#train(() => {
      const data = form.file ?? new Blob([form.text]);
      return { begin: { job: jobOf(form, this.session.backend.value?.model.maxModelLen ?? null), data } };
    });
  }

  /** Goes on with the kept run. */
  async goOn(): Promise<void> {
    await this.#train(() => ({}));
  }

  /** Ends the run after the step under way; what was learnt is kept. */
  async pause(): Promise<void> {
    if (this.#status.value !== "training") return;
    this.#status.value = "pausing";
    await this.#caller().call("pauseTraining", undefined);
  }

  /** Ends the run at once, and forgets what was learnt. */
  async discard(): Promise<void> {
    const job = this.#status.value === "idle" ? this.#kept.value?.job : this.#job;
    if (!job) return;
    this.#worker?.end();
    this.#worker = undefined;
    if (this.#kept.value?.job.id === job.id) this.#kept.value = undefined;
    await this.#tried(async () => {
      try {
        await this.#caller().call("forgetRun", job.id);
      } finally {
        await this.#lookAgain();
      }
      this.session.say("The run was discarded");
    });
  }

  /** The kept run's adapter as files of a folder. */
  async files(): Promise<readonly NamedFile[]> {
    const name = this.#kept.value?.job.name ?? "";
    const files = await this.#caller().call("keptAdapter", undefined);
    return [...files].map(([path, bytes]) => ({
      path: `${name}/${path}`,
      file: new File([bytes as Uint8Array<ArrayBuffer>], path),
    }));
  }

  /** The worker; one of another device takes its place where it shall compute. */
  #caller(device = this.#device): Caller {
    if (device !== this.#device) {
      this.#worker?.end();
      this.#worker = undefined;
      this.#device = device;
    }
    return this.#worker ??= startWorker(device);
  }

  async #lookAgain(): Promise<void> {
    this.#kept.value = await this.#caller().call("keptRun", undefined);
  }

  async #tried(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.session.fail(messageOf(error));
    }
  }

  async #train(
    input: () => { readonly begin?: { readonly job: TrainJob; readonly data: Blob } },
  ): Promise<void> {
    const backend = this.session.backend.value;
    if (backend?.way !== "browser" || this.#status.value !== "idle") return;
    const { opening } = backend as BrowserBackend;
    this.session.clearFailure();
    await this.#tried(async () => await this.#run({ opening, ...input() }));
    this.#progress.value = undefined;
    this.#status.value = "idle";
  }

  async #run(input: {
    readonly opening: Opening;
    readonly begin?: { readonly job: TrainJob; readonly data: Blob };
  }): Promise<void> {
    this.#job = input.begin?.job ?? this.#kept.value?.job;
    this.#status.value = "training";
    this.#progress.value = { kind: "opening", text: "starting" };
    this.session.say("Training begins");
    const worker = this.#caller(input.opening.device);
    try {
      await worker.call("train", input, { onEvent: (event) => this.#progress.value = event });
    } catch (error) {
      // Ended by `discard`.
      if (this.#worker !== worker) return;
      // The worker may be broken, or hold what the run needed.
      worker.end();
      this.#worker = undefined;
      await this.#lookAgain();
      throw error;
    }
    await this.#lookAgain();
    this.session.say(`Training stands at step ${this.#kept.value?.step ?? 0}`);
  }
}
