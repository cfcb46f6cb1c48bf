/**
 * A conversation with a server: its messages, who answers, and how. It knows no terminal.
 *
 * @module
 */
import {
  type AdapterTerm,
  ApiError,
  type ChatFinishReason,
  type Client,
  type GenerationFields,
  type Message,
  type ModelCard,
  type Usage,
} from "../../client/mod.ts";

/** Settings of sampling, by OpenAI's and vLLM's names. */
export type Sampling = Readonly<Record<string, number | string | readonly string[]>>;

/** Who answers: the base, an adapter, or a sum of adapters. */
export type Voice =
  | { readonly kind: "base" }
  | { readonly kind: "adapter"; readonly id: string }
  | { readonly kind: "mix"; readonly adapters: readonly AdapterTerm[] };

/** A whole answer. */
export interface Answer {
  readonly text: string;
  /** `aborted` where the asker stopped it. */
  readonly finishReason: Exclude<ChatFinishReason, null> | "aborted";
  readonly usage?: Usage;
}

/** New tokens of a completion at most, unless `max_tokens` is set: a server's own default is 16. */
const completionTokens = 60;

/** Cards that are asked for at once. */
const pageSize = 50;

/** A piece of a stream, the same for chats and completions. */
interface Piece {
  readonly text: string;
  readonly finishReason: ChatFinishReason;
  readonly usage?: Usage | null;
}

/** Whether a server refuses chats because its model has no template; vLLM says the same in its own words. */
function lacksTemplate(error: unknown): boolean {
  return error instanceof ApiError && error.status === 400 &&
    /\b(?:has no|must provide a) chat template\b/.test(error.message);
}

/** See the module's documentation. */
export class Session {
  voice: Voice = { kind: "base" };
  sampling: Sampling = {};
  /** How lines are answered: unknown until the first, which is tried as a chat. */
  mode: "unknown" | "chat" | "completion" = "unknown";
  #system: string | undefined;
  #messages: Message[] = [];

  private constructor(private readonly client: Client, readonly base: ModelCard) {}

  /**
   * @throws ApiError, or what `fetch` throws; Error where the server has no base model.
   */
  static async open(client: Client): Promise<Session> {
    const { data } = await client.models({ limit: pageSize });
    const base = data.find(({ parent }) => parent === null);
    if (!base) throw new Error("Cannot chat: the server has no base model");
    return new Session(client, base);
  }

  /** The system message; undefined for none. */
  get system(): string | undefined {
    return this.#system;
  }

  set system(text: string | undefined) {
    if (text !== undefined && this.mode === "completion") {
      throw new Error("Cannot follow a system message: the model has no chat template");
    }
    this.#system = text;
  }

  /** Messages so far, without the system message. */
  get messages(): readonly Message[] {
    return this.#messages;
  }

  /** Forgets what was said. */
  reset(): void {
    this.#messages = [];
  }

  /** The adapters of the server, the first page of them, and whether there are more. */
  async adapters(): Promise<{ readonly ids: readonly string[]; readonly more: boolean }> {
    const { data, has_more: more = false } = await this.client.models({ limit: pageSize });
    return { ids: data.filter(({ parent }) => parent !== null).map(({ id }) => id), more };
  }

  /**
   * Takes another voice, once the server knows every adapter of it.
   *
   * @throws ApiError for an adapter that the server has not; TypeError for the base's name.
   */
  async speakAs(voice: Voice): Promise<void> {
    const ids = voice.kind === "adapter"
      ? [voice.id]
      : voice.kind === "mix"
      ? voice.adapters.map(({ id }) => id)
      : [];
    for (const id of ids) {
      const card = await this.client.model(id);
      if (card.parent === null) {
        throw new TypeError(`Cannot take "${id}" as an adapter: it is the base model`);
      }
    }
    this.voice = voice;
  }

  /** Fields of every request. */
  #fields(): GenerationFields {
    const { voice, base, sampling } = this;
    return {
      ...sampling,
      model: voice.kind === "adapter" ? voice.id : base.id,
      ...(voice.kind === "mix" ? { adapters: voice.adapters } : {}),
    };
  }

  async *#chat(text: string, signal: AbortSignal): AsyncGenerator<Piece, void, void> {
    const system = this.#system === undefined ? [] : [{ role: "system", content: this.#system }];
    const messages = [...system, ...this.#messages, { role: "user", content: text }];
    const chunks = this.client.streamChat({ ...this.#fields(), messages }, { signal, include_usage: true });
    for await (const { choices: [choice], usage } of chunks) {
      yield { text: choice?.delta.content ?? "", finishReason: choice?.finish_reason ?? null, usage };
    }
  }

  async *#completion(prompt: string, signal: AbortSignal): AsyncGenerator<Piece, void, void> {
    const request = { max_tokens: completionTokens, ...this.#fields(), prompt };
    const chunks = this.client.streamCompletion(request, { signal, include_usage: true });
    for await (const { choices: [choice], usage } of chunks) {
      yield { text: choice?.text ?? "", finishReason: choice?.finish_reason ?? null, usage };
    }
  }

  /** The pieces of an answer. A model without a template is found out by the first chat, which it refuses. */
  async *#pieces(text: string, signal: AbortSignal): AsyncGenerator<Piece, void, void> {
    if (this.mode === "completion") return yield* this.#completion(text, signal);
    try {
      for await (const piece of this.#chat(text, signal)) {
        this.mode = "chat";
        yield piece;
      }
    } catch (error) {
      if (this.mode === "chat" || !lacksTemplate(error)) throw error;
      if (this.#system !== undefined) {
        throw new Error("Cannot follow a system message: the model has no chat template", { cause: error });
      }
      this.mode = "completion";
      yield* this.#completion(text, signal);
    }
  }

  /**
   * Answers a line. An answer that the signal stops is kept as far as it came; one that fails leaves no trace.
   *
   * @param onText Takes each piece of the text.
   * @throws ApiError for a refusal, and what `fetch` throws.
   */
  async answer(
    line: string,
    { signal, onText }: { readonly signal: AbortSignal; onText(text: string): void },
  ): Promise<Answer> {
    let text = "", finishReason: Answer["finishReason"] = "aborted", usage: Usage | undefined;
    try {
      for await (const piece of this.#pieces(line, signal)) {
        if (signal.aborted) break;
        text += piece.text;
        if (piece.text !== "") onText(piece.text);
        finishReason = piece.finishReason ?? finishReason;
        usage = piece.usage ?? usage;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    if (this.mode === "chat" && text !== "") {
      this.#messages.push({ role: "user", content: line }, { role: "assistant", content: text });
    }
    return { text, finishReason: signal.aborted ? "aborted" : finishReason, usage };
  }
}
