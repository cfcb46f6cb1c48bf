/**
 * Conversations as a chat template writes them, and which stretches of them are learnt.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { Tokenizer } from "../models/tokenizer_types.ts";
import type { LossOn, Segment } from "./documents.ts";
import type { TrainingRecord } from "./records.ts";

type Chat = TrainingRecord & { readonly form: "chat" };

interface Place {
  readonly tokenizer: Pick<Tokenizer, "chatPrompt" | "chatGenerations">;
  readonly place: string;
  readonly lossOn: LossOn;
}

/** The chat without one of its fields; nothing where it has none. */
function without({ turns, options }: Chat, field: string): Pick<Chat, "turns" | "options"> | undefined {
  if (field !== "tool_calls") {
    const { [field as "tools"]: value, ...rest } = options;
    return value && value.length > 0 ? { turns, options: rest } : undefined;
  }
  const changed = turns.map((turn) => {
    const { tool_calls: calls, ...message } = turn.message;
    return Array.isArray(calls) && calls.length > 0 ? { ...turn, message } : turn;
  });
  return changed.some((turn, index) => turn !== turns[index]) ? { turns: changed, options } : undefined;
}

/** Refuses fields that the template does not write: they would be left out in silence. */
function checkWritten(chat: Chat, { whole, tokenizer, place }: Place & { readonly whole: string }): void {
  for (const field of ["tools", "documents", "tool_calls"]) {
    const less = without(chat, field);
    if (!less) continue;
    let text: string | undefined;
    try {
      const messages = less.turns.map(({ message }) => message);
      text = tokenizer.chatPrompt(messages, { ...less.options, addGenerationPrompt: false });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
    }
    if (text !== whole) continue;
    throw new SyntaxError(
      `Cannot follow "${field}" of ${place}: the model's chat template does not write it; take it out`,
    );
  }
}

/** The conversation, cut where the template's `{% generation %}` blocks begin and end that are learnt. */
function markedSegments(
  { turns }: Chat,
  { whole, place, marked }: {
    readonly whole: string;
    readonly place: string;
    readonly marked: readonly { readonly start: number; readonly end: number }[];
  },
): Segment[] {
  const answers = turns.filter(({ message }) => message.role === "assistant");
  const isLearnt = answers.map(({ role }) => role === "answer");
  if (marked.length !== answers.length && isLearnt.includes(false)) {
    throw new SyntaxError(
      `Cannot tell what to learn from ${place}: the model's chat template marks ${marked.length} stretches by ` +
        `{% generation %} for ${answers.length} messages of the assistant, and not all of them are to be learnt`,
    );
  }
  const segments: Segment[] = [];
  let done = 0;
  for (const [index, { start, end }] of marked.entries()) {
    if (isLearnt[index] === false) continue;
    segments.push({ text: whole.slice(done, start), isTarget: false });
    segments.push({ text: whole.slice(start, end), isTarget: true });
    done = end;
  }
  return [...segments, { text: whole.slice(done), isTarget: false }];
}

/**
 * A conversation, cut where the assistant's turns begin and end that are learnt, or are not, unlike the rest: a turn
 * begins where the prompt that asks for it ends. Takes two renderings a cut. Where the loss is on the assistant's turns
 * and the template marks its tokens by `{% generation %}`, the marks alone count, as in transformers.
 *
 * @throws SyntaxError where there is nothing to learn, where the template leaves out tools, documents or calls, or where the template writes what came before a turn anew.
 */
export function chatSegments(chat: Chat, { tokenizer, place, lossOn }: Place): Segment[] {
  const { turns, options } = chat;
  const messages = turns.map(({ message }) => message);
  const closed = { ...options, addGenerationPrompt: false };
  const whole = tokenizer.chatPrompt(messages, closed);
  checkWritten(chat, { whole, tokenizer, place, lossOn });
  const isOnAll = lossOn === "all";
  if (!isOnAll && turns.every(({ role }) => role === "context")) {
    throw new SyntaxError(
      `Cannot learn from ${place}: the loss is on the assistant's turns, and it has none`,
    );
  }
  const marked = isOnAll ? undefined : tokenizer.chatGenerations?.(messages, closed);
  if (marked?.length === 0) {
    throw new SyntaxError(
      `Cannot learn from ${place}: the loss is on what the chat template marks by {% generation %}, and it marks nothing`,
    );
  }
  if (marked) return markedSegments(chat, { whole, place, marked }).filter(({ text }) => text !== "");
  const segments: Segment[] = [];
  let done = 0;
  turns.forEach(({ role }, index) => {
    if (role !== (isOnAll ? "skipped" : "answer")) return;
    const before = index === 0 ? "" : tokenizer.chatPrompt(messages.slice(0, index), options);
    const after = tokenizer.chatPrompt(messages.slice(0, index + 1), closed);
    if (before.length < done || !after.startsWith(before) || !whole.startsWith(after)) {
      throw new SyntaxError(
        `Cannot find message ${index} of ${place} in the conversation: the model's chat template writes what came ` +
          `before a turn anew; ${isOnAll ? "its weight must not be 0" : "the loss must be on all tokens"}`,
      );
    }
    segments.push({ text: whole.slice(done, before.length), isTarget: isOnAll });
    segments.push({ text: whole.slice(before.length, after.length), isTarget: !isOnAll });
    done = after.length;
  });
  return [...segments, { text: whole.slice(done), isTarget: isOnAll }].filter(({ text }) => text !== "");
}
