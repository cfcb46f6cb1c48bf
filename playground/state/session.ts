/// <reference lib="dom" />
/**
 * What the whole page shares: the backend, its adapters, and how the opening of a model goes.
 *
 * @module
 */
import { type ReadonlySignal, signal } from "@preact/signals";
import { type BrowserBackend, openBrowser, type OpeningChoice } from "../backend/browser.ts";
import type { AdapterInfo, Backend, NamedFile } from "../backend/backend.ts";
import type { OpenProgress } from "../worker/protocol.ts";
import type { OfferedModel, PageConfig } from "./config.ts";

/** How long a server that loads its model is left alone. */
const againMs = 1000;

/** The message of whatever was thrown. */
export const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error);

/** Whether something ended because it was told to. */
export const wasAborted = (error: unknown): boolean =>
  error instanceof DOMException && error.name === "AbortError";

/** See the module's documentation. */
export class Session {
  readonly #backend = signal<Backend | undefined>(undefined);
  readonly #adapters = signal<readonly AdapterInfo[]>([]);
  readonly #progress = signal<OpenProgress | undefined>(undefined);
  readonly #failure = signal<string | undefined>(undefined);
  readonly #needsToken = signal(false);
  readonly #notice = signal("");
  #opening: AbortController | undefined;
  /** What the open model was offered as; absent of a server's. */
  offered: OfferedModel | undefined;

  /** Of the server's operator, who may add adapters. */
  readonly operatorToken = signal("");

  constructor(readonly config: PageConfig) {}

  /** What answers now. */
  get backend(): ReadonlySignal<Backend | undefined> {
    return this.#backend;
  }

  get adapters(): ReadonlySignal<readonly AdapterInfo[]> {
    return this.#adapters;
  }

  /** While a model is opened. */
  get progress(): ReadonlySignal<OpenProgress | undefined> {
    return this.#progress;
  }

  /** Why no model is open, or an adapter was not taken. */
  get failure(): ReadonlySignal<string | undefined> {
    return this.#failure;
  }

  /** Whether the server asks for a token. */
  get needsToken(): ReadonlySignal<boolean> {
    return this.#needsToken;
  }

  /** What a screen reader says next. */
  get notice(): ReadonlySignal<string> {
    return this.#notice;
  }

  say(text: string): void {
    this.#notice.value = text;
  }

  /** Opens the server that the configuration names; waits while the server loads its model. */
  async openServer(token?: string): Promise<void> {
    const { server } = this.config;
    if (server === undefined) return;
    await this.open(async (signal) => {
      // A page that computes by itself has no use for it.
      const { openServer, reached, wantsToken } = await import("../backend/server.ts");
      for (;;) {
        const ready = await reached(fetch(new URL("ready", server), { signal }));
        await ready.body?.cancel();
        signal.throwIfAborted();
        if (ready.status !== 503) break;
        this.#progress.value = { text: "the server loads its model" };
        await new Promise((resolve) => setTimeout(resolve, againMs));
        signal.throwIfAborted();
      }
      try {
        return await openServer({ baseUrl: server, ...(token ? { token } : {}) });
      } catch (error) {
        if (wantsToken(error) && !signal.aborted) this.#needsToken.value = true;
        throw error;
      }
    });
  }

  /** Opens a model in this browser. */
  async openBrowser(opening: OpeningChoice, offered?: OfferedModel): Promise<void> {
    await this.open((signal) => {
      if (!isSecureContext) {
        throw new Error(
          "Cannot run a model in this page: browsers allow what that takes to pages of https and of this machine alone",
        );
      }
      // Two models at once may be more than a device holds.
      if (this.#backend.value?.way === "browser") this.#close();
      return openBrowser(opening, {
        signal,
        onProgress: (progress) => {
          if (!signal.aborted) this.#progress.value = progress;
        },
      });
    }, offered);
  }

  /** Gives up the opening of a model. */
  stopOpening(): void {
    this.#opening?.abort(new DOMException("The opening was stopped", "AbortError"));
  }

  /** Serves an adapter of these files; what goes wrong is told. */
  async addAdapter(name: string, files: readonly NamedFile[]): Promise<AdapterInfo | undefined> {
    return await this.#add((backend) => backend.addAdapter(name, files, this.operatorToken.value));
  }

  /** Serves the adapter of a folder behind a URL. */
  async addAdapterOf(name: string, url: string): Promise<AdapterInfo | undefined> {
    return await this.#add((backend) => (backend as BrowserBackend).addAdapterOf(name, url));
  }

  fail(error: unknown): void {
    this.#failure.value = messageOf(error);
  }

  clearFailure(): void {
    this.#failure.value = undefined;
  }

  #close(): void {
    this.#backend.value?.close();
    this.#backend.value = undefined;
  }

  async #add(add: (backend: Backend) => Promise<AdapterInfo>): Promise<AdapterInfo | undefined> {
    const backend = this.#backend.value;
    if (!backend) return undefined;
    this.#failure.value = undefined;
    try {
      const added = await add(backend);
      const all = await backend.adapters();
      if (this.#backend.value !== backend) return undefined;
      this.#adapters.value = all;
      this.say(`Adapter ${added.id} is ready`);
      return added;
    } catch (error) {
      if (this.#backend.value === backend) this.#failure.value = messageOf(error);
      return undefined;
    }
  }

  /**
   * Takes the place of the backend by what `open` gives; what goes wrong is told.
   *
   * @param offered What the model was offered as, if it was.
   */
  async open(open: (signal: AbortSignal) => Promise<Backend>, offered?: OfferedModel): Promise<void> {
    this.stopOpening();
    const opening = this.#opening = new AbortController();
    this.#failure.value = undefined;
    this.#needsToken.value = false;
    this.#progress.value = { text: "opening" };
    let made: Backend | undefined;
    try {
      made = await open(opening.signal);
      const adapters = await made.adapters();
      opening.signal.throwIfAborted();
      this.#close();
      this.offered = offered;
      this.#adapters.value = adapters;
      this.#backend.value = made;
      this.say(`Model ${made.model.id} is ready`);
    } catch (error) {
      made?.close();
      if (this.#opening === opening && !wasAborted(error)) this.#failure.value = messageOf(error);
    } finally {
      if (this.#opening === opening) {
        this.#opening = undefined;
        this.#progress.value = undefined;
      }
    }
  }
}
