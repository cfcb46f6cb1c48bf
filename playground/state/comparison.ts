/**
 * The columns side by side, and what they are asked together.
 *
 * @module
 */
import { computed, type ReadonlySignal, signal } from "@preact/signals";
import type { AdapterInfo, Backend, Sampling, Term } from "../backend/backend.ts";
import { Lane, type Question } from "./lane.ts";
import type { Session } from "./session.ts";

/** Columns at most. */
export const mostLanes = 4;

/** Columns of a model that nobody chose columns for, the base among them. */
const usualLanes = 3;

/** A slider that moves asks once it has rested so long. */
const restMs = 150;

/** What is asked of every column, as the form has it. */
export interface Settings extends Omit<Sampling, "seed"> {
  readonly mode: Question["mode"];
  readonly system: string;
  readonly maxTokens: number;
  /** Stop strings, one a line. */
  readonly stop: string;
  /** Absent: another one for each question. */
  readonly seed?: number;
}

/** The form's settings to begin with: greedy, so that what differs is the adapters'. */
export const usualSettings: Settings = {
  mode: "completion",
  system: "",
  temperature: 0,
  topP: 1,
  topK: 0,
  repetitionPenalty: 1.1,
  maxTokens: 64,
  stop: "",
};

/** Terms of the first columns: the base, and adapters; FourierFT's first. */
function firstTerms(
  adapters: readonly AdapterInfo[],
  chosen?: readonly string[],
): readonly (readonly Term[])[] {
  const isFourier = ({ peftType }: AdapterInfo): boolean => peftType === "FOURIERFT";
  const ids = chosen?.filter((id) => adapters.some((known) => known.id === id)) ??
    [...adapters.filter(isFourier), ...adapters.filter((adapter) => !isFourier(adapter))]
      .slice(0, usualLanes - 1).map(({ id }) => id);
  return [[], ...ids.map((id) => [{ id, scale: 1 }])].slice(0, mostLanes);
}

/** See the module's documentation. */
export class Comparison {
  readonly #lanes = signal<readonly Lane[]>([]);
  readonly #settings = signal<Settings>(usualSettings);
  readonly prompt = signal("The king");
  /** The adapter that was chosen last, in a column or a view; absent until one is. */
  readonly lastChosen = signal<string | undefined>(undefined);
  readonly #timers = new Map<Lane, ReturnType<typeof setTimeout>>();
  /** Whether a column waits or writes. */
  readonly isRunning: ReadonlySignal<boolean>;
  /** Tokens a second of all columns that write. */
  readonly tokensPerSecond: ReadonlySignal<number>;
  #backend: Backend | undefined;

  constructor(private readonly session: Session) {
    const last = (lane: Lane) => lane.exchanges.value[lane.exchanges.value.length - 1];
    this.isRunning = computed(() =>
      this.#lanes.value.some((lane) => ["waiting", "writing"].includes(last(lane)?.status ?? ""))
    );
    this.tokensPerSecond = computed(() =>
      this.#lanes.value.reduce((sum, lane) => sum + (last(lane)?.figures?.tokensPerSecond ?? 0), 0)
    );
    session.backend.subscribe((backend) => {
      if (backend && backend !== this.#backend) this.#begin(backend);
    });
  }

  get lanes(): ReadonlySignal<readonly Lane[]> {
    return this.#lanes;
  }

  get settings(): ReadonlySignal<Settings> {
    return this.#settings;
  }

  set(changed: Partial<Settings>): void {
    const mode = this.#settings.value.mode;
    this.#settings.value = { ...this.#settings.value, ...changed };
    if (this.#settings.value.mode !== mode) this.clear();
  }

  addLane(terms: readonly Term[] = []): void {
    if (this.#lanes.value.length >= mostLanes) return;
    this.#lanes.value = [...this.#lanes.value, new Lane(terms)];
    if (terms.length > 0) this.lastChosen.value = terms[0].id;
  }

  removeLane(lane: Lane): void {
    lane.clear();
    this.#forget(lane);
    this.#lanes.value = this.#lanes.value.filter((one) => one !== lane);
  }

  /** Changes a column's adapters. The last question is asked again, at once or when a slider has come to rest. */
  setTerms(lane: Lane, terms: readonly Term[], when: "now" | "at rest" = "now"): void {
    const before = lane.terms.value;
    const added = terms.find(({ id }) => !before.some((term) => term.id === id));
    if (added) this.lastChosen.value = added.id;
    lane.setTerms(terms);
    this.#forget(lane);
    if (!lane.asked) return;
    const again = (): void => {
      this.#timers.delete(lane);
      const backend = this.session.backend.value;
      if (backend) void lane.askAgain(backend);
    };
    if (when === "now") again();
    else this.#timers.set(lane, setTimeout(again, restMs));
  }

  /** Asks every column at once: one batch of one device. */
  async ask(): Promise<void> {
    const backend = this.session.backend.value;
    const text = this.prompt.value;
    if (!backend || text.trim() === "") return;
    const { seed = Math.floor(Math.random() * 2 ** 31), stop, ...settings } = this.#settings.value;
    const { mode, system, maxTokens, ...sampling } = settings;
    const question: Question = {
      ...{ mode, system, text, maxTokens },
      stop: stop.split("\n").filter((line) => line !== ""),
      sampling: { ...sampling, seed },
    };
    if (mode === "chat") this.prompt.value = "";
    for (const lane of this.#lanes.value) this.#forget(lane);
    const beganMs = performance.now();
    await Promise.all(this.#lanes.value.map((lane) => lane.ask(backend, question)));
    const seconds = ((performance.now() - beganMs) / 1000).toFixed(1);
    this.session.say(`${this.#lanes.value.length} answers ended after ${seconds} seconds`);
  }

  stop(): void {
    for (const lane of this.#lanes.value) {
      this.#forget(lane);
      lane.stop();
    }
  }

  clear(): void {
    for (const lane of this.#lanes.value) {
      this.#forget(lane);
      lane.clear();
    }
  }

  #forget(lane: Lane): void {
    clearTimeout(this.#timers.get(lane));
    this.#timers.delete(lane);
  }

  #begin(backend: Backend): void {
    this.#backend = backend;
    this.stop();
    const { offered, adapters } = this.session;
    const [prompt] = offered?.prompts ?? [];
    if (prompt !== undefined) this.prompt.value = prompt;
    this.#lanes.value = firstTerms(adapters.value, offered?.columns).map((terms) => new Lane(terms));
  }
}
