/**
 * A conversation line by line: prompts, answers as they come, commands, and Ctrl-C.
 *
 * @module
 */
import { ApiError } from "../../client/mod.ts";
import { emit, log } from "../log.ts";
import { counted, rateText, shownText } from "../words.ts";
import { ChatError, followCommand, voiceText } from "./commands.ts";
import type { History } from "./history.ts";
import { type Lines, openLines, type Streams } from "./lines.ts";
import type { Answer, Session } from "./session.ts";

/** How a conversation is held. */
export interface ConverseOptions {
  readonly streams: Streams;
  readonly history: History;
  /** Whether answers are events on standard output, in place of text. */
  readonly json?: boolean;
  /** Milliseconds; by default the process's clock. */
  readonly now?: () => number;
}

class Conversation {
  turns = 0;
  readonly #lines: Lines;
  #stop: AbortController | undefined;
  /** Whether the next Ctrl-C ends: the one before stopped something, or had nothing to stop. */
  #warned = false;
  #saysMode = true;

  constructor(private readonly session: Session, private readonly options: ConverseOptions) {
    this.#lines = openLines(options.streams, {
      prompt: "> ",
      history: options.history,
      onInterrupt: (typed) => this.#interrupted(typed),
    });
  }

  /** @returns Whether the conversation is over. */
  #interrupted(typed: string): boolean {
    const ends = this.#warned;
    this.#warned = true;
    if (ends) this.#stop?.abort();
    if (ends) return true;
    if (this.#stop) this.#stop.abort();
    else if (typed === "") this.#write("\n(Ctrl-C again, or /quit, ends)\n");
    else this.#write("\n");
    return false;
  }

  #write(text: string): void {
    this.options.streams.output.write(text);
  }

  /** Tells people something that is no answer. On a terminal it stands among the answers. */
  #note(lines: readonly string[]): void {
    if (this.options.json) emit("note", { lines });
    else if (this.options.streams.terminal) this.#write(lines.map((line) => `${shownText(line)}\n`).join(""));
    else for (const line of lines) log(line);
  }

  #onText(text: string): void {
    if (this.options.json) emit("text", { text });
    else this.#write(this.options.streams.terminal ? shownText(text) : text);
  }

  /** What ended an answer before its own end, and how fast it came. */
  #ending({ finishReason, usage }: Answer, seconds: number): string[] {
    const why = finishReason === "aborted"
      ? ["stopped"]
      : finishReason === "length"
      ? ["cut off: max_tokens or the context ended"]
      : [];
    const tokens = usage?.completion_tokens ?? 0;
    const speed = this.options.streams.terminal && tokens > 1 && seconds > 0
      ? [`${counted(tokens, "token")}, ${rateText(tokens / seconds)} tokens/s`]
      : [];
    return [...why, ...speed];
  }

  async #answer(line: string): Promise<void> {
    const now = this.options.now ?? (() => performance.now()), { session } = this;
    const stop = this.#stop = new AbortController(), began = now();
    try {
      const answer = await session.answer(line, {
        signal: stop.signal,
        onText: (text) => {
          this.#sayMode();
          this.#onText(text);
        },
      });
      this.#sayMode();
      this.turns++;
      if (this.options.json) {
        return emit("answer", { text: answer.text, finish_reason: answer.finishReason, usage: answer.usage });
      }
      this.#write("\n");
      const ending = this.#ending(answer, (now() - began) / 1000);
      if (ending.length > 0) this.#note([`(${ending.join("; ")})`]);
    } finally {
      this.#stop = undefined;
    }
  }

  /** Says once, before the first completion, that there is no template. */
  #sayMode(): void {
    if (this.#saysMode && this.session.mode === "completion") {
      this.#note(["(the model has no chat template: each line is continued by itself)"]);
    }
    if (this.session.mode !== "unknown") this.#saysMode = false;
  }

  /** @returns Whether the conversation goes on. */
  async #follow(line: string): Promise<boolean> {
    if (line.trim() === "") return true;
    if (!line.startsWith("/")) {
      await this.#answer(line);
      return true;
    }
    const { lines, ends = false } = await followCommand(this.session, line);
    if (lines.length > 0) this.#note(lines);
    return !ends;
  }

  /** Whether a fault is told, and the conversation goes on: a user can do better, a pipe cannot. */
  #survives(error: unknown): boolean {
    if (!this.options.streams.terminal) return false;
    return error instanceof ApiError || error instanceof ChatError || error instanceof TypeError ||
      /^Cannot /.test((error as Error).message);
  }

  async run(): Promise<void> {
    if (this.options.streams.terminal) this.#note([`${voiceText(this.session)}; /help lists the commands`]);
    try {
      for (;;) {
        const line = await this.#lines.next();
        if (line === undefined) break;
        this.#warned = false;
        try {
          if (!await this.#follow(line)) break;
        } catch (error) {
          if (!this.#survives(error)) throw error;
          this.#note([(error as Error).message]);
        }
      }
    } finally {
      this.#lines.close();
    }
  }
}

/**
 * Holds a conversation until its lines end, `/quit`, or Ctrl-C twice.
 *
 * @returns How many lines were answered.
 * @throws What a line of a pipe fails with: the lines after it may depend on it.
 */
export async function converse(
  session: Session,
  options: ConverseOptions,
): Promise<{ readonly turns: number }> {
  const conversation = new Conversation(session, options);
  await conversation.run();
  return { turns: conversation.turns };
}
