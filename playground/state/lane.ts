/// <reference lib="dom" />
/**
 * A column: its adapters, the questions and the answers.
 *
 * @module
 */
import { type ReadonlySignal, signal } from "@preact/signals";
import type { Backend, Job, Message, Term } from "../backend/backend.ts";
import { messageOf, wasAborted } from "./session.ts";

/** What a text took. */
export interface Figures {
  readonly tokens: number;
  /** Milliseconds from the question to the first token. */
  readonly firstTokenMs: number;
  /** Tokens a second after the first one; absent before the second. */
  readonly tokensPerSecond?: number;
}

/** How a text stands. */
export type Status = "waiting" | "writing" | "done" | "stopped" | "failed";

/** A question of the column and its answer. */
export interface Exchange {
  readonly question: string;
  readonly answer: string;
  readonly status: Status;
  readonly figures?: Figures;
  /** Why it ended: the engine's reason, or what went wrong. */
  readonly reason?: string;
}

/** What all columns are asked alike. */
export interface Question extends Omit<Job, "input" | "terms"> {
  readonly mode: "completion" | "chat";
  readonly text: string;
  readonly system: string;
}

/** Columns are told apart by numbers: two may have the same adapter. */
let made = 0;

/** See the module's documentation. */
export class Lane {
  readonly id: number = ++made;
  readonly #terms = signal<readonly Term[]>([]);
  readonly #exchanges = signal<readonly Exchange[]>([]);
  #running: AbortController | undefined;
  #asked: Question | undefined;

  constructor(terms: readonly Term[]) {
    this.#terms.value = terms;
  }

  /** None: the base model. */
  get terms(): ReadonlySignal<readonly Term[]> {
    return this.#terms;
  }

  get exchanges(): ReadonlySignal<readonly Exchange[]> {
    return this.#exchanges;
  }

  /** What it was asked last. */
  get asked(): Question | undefined {
    return this.#asked;
  }

  setTerms(terms: readonly Term[]): void {
    this.#terms.value = terms;
  }

  /** Ends its text. */
  stop(): void {
    this.#running?.abort(new DOMException("The text was stopped", "AbortError"));
  }

  /** Forgets what was said. */
  clear(): void {
    this.stop();
    this.#running = undefined;
    this.#asked = undefined;
    this.#exchanges.value = [];
  }

  /** Asks; of a chat the answer is added to what was said before. An answer that is still written ends. */
  async ask(backend: Backend, question: Question): Promise<void> {
    const isChat = question.mode === "chat" && this.#asked?.mode === "chat";
    await this.#write(backend, question, isChat ? this.#exchanges.value.map(settled) : []);
  }

  /** Asks the last question again, with the adapters that it has now. */
  async askAgain(backend: Backend): Promise<void> {
    if (this.#asked) await this.#write(backend, this.#asked, this.#exchanges.value.slice(0, -1));
  }

  async #write(backend: Backend, question: Question, before: readonly Exchange[]): Promise<void> {
    this.stop();
    const running = this.#running = new AbortController();
    this.#asked = question;
    const { mode: _, text, system: __, ...rest } = question;
    const job: Job = { ...rest, input: inputOf(question, before), terms: this.#terms.value };
    const writer = new Writer(text, (exchange) => {
      // A text that was stopped for the next one has nothing to show any more.
      if (this.#running === running) this.#exchanges.value = [...before, exchange];
    });
    try {
      for await (const piece of backend.generate(job, running.signal)) {
        if (running.signal.aborted) break;
        writer.take(piece.text, piece.tokens, piece.finishReason);
      }
      writer.end(running.signal.aborted ? "stopped" : "done");
    } catch (error) {
      if (wasAborted(error)) writer.end("stopped");
      else writer.end("failed", messageOf(error));
    } finally {
      if (this.#running === running) this.#running = undefined;
    }
  }
}

const settled = (exchange: Exchange): Exchange =>
  exchange.status === "waiting" || exchange.status === "writing"
    ? { ...exchange, status: "stopped" }
    : exchange;

/** A question that got no word is no part of what was said, as in `fourierft chat`. */
function inputOf({ mode, text, system }: Question, before: readonly Exchange[]): Job["input"] {
  if (mode === "completion") return { prompt: text };
  const messages: Message[] = system === "" ? [] : [{ role: "system", content: system }];
  for (const { question, answer, status } of before) {
    if (answer === "" || status === "failed") continue;
    messages.push({ role: "user", content: question }, { role: "assistant", content: answer });
  }
  return { messages: [...messages, { role: "user", content: text }] };
}

/** A shorter time tells no rate: a short answer may come in one piece. */
const leastSeconds = 0.05;

/** An answer that grows: shown once a frame, however many pieces come. */
class Writer {
  #exchange: Exchange;
  #frame: number | undefined;
  #ended = false;
  #firstMs: number | undefined;
  readonly #beganMs = performance.now();

  constructor(question: string, private readonly show: (exchange: Exchange) => void) {
    this.#exchange = { question, answer: "", status: "waiting" };
    show(this.#exchange);
  }

  take(text: string, tokens: number, finishReason: string | null): void {
    const now = performance.now();
    if (tokens > 0) this.#firstMs ??= now;
    const { answer, question } = this.#exchange;
    this.#exchange = {
      question,
      answer: answer + text,
      status: "writing",
      ...(this.#firstMs === undefined ? {} : { figures: this.#figures(tokens, now, this.#firstMs) }),
      ...(finishReason === null ? {} : { reason: finishReason }),
    };
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      if (!this.#ended) this.show(this.#exchange);
    });
  }

  end(status: "done" | "stopped" | "failed", reason?: string): void {
    this.#ended = true;
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    this.#exchange = { ...this.#exchange, status, ...(reason === undefined ? {} : { reason }) };
    this.show(this.#exchange);
  }

  #figures(tokens: number, now: number, firstMs: number): Figures {
    const seconds = (now - firstMs) / 1000;
    return {
      tokens,
      firstTokenMs: firstMs - this.#beganMs,
      ...(tokens > 1 && seconds >= leastSeconds ? { tokensPerSecond: (tokens - 1) / seconds } : {}),
    };
  }
}
