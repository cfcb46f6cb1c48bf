/**
 * Chats written by a model's template, and what the template is given.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { type Rendered, type Stretch, Template } from "../jinja/template.ts";
import type { ChatTemplate } from "./template_files.ts";
import type { ChatMessage, ChatOptions, ChatWriter, Tokenizer } from "./tokenizer_types.ts";

/** What a template sees besides the messages, e.g. `bos_token`. */
export type TemplateVariables = Readonly<Record<string, string>>;

/** Names that a chat always has, and that `variables` may not set. */
const fixed = ["messages", "tools", "documents", "add_generation_prompt"];

function checkVariables(variables: Readonly<Record<string, unknown>>): void {
  const name = fixed.find((name) => Object.hasOwn(variables, name));
  if (name === undefined) return;
  throw new ConfigError(`Cannot give the chat template a variable "${name}": the chat has its own`);
}

/** The text of the template that is meant. */
function sourceOf(template: ChatTemplate | undefined, { tools }: ChatOptions): string {
  if (template === undefined) {
    throw new ConfigError("Cannot write a chat prompt: the model has no chat template");
  }
  if (typeof template === "string") return template;
  const found = (tools === undefined ? undefined : template.tool_use) ?? template.default;
  if (found !== undefined) return found;
  throw new ConfigError(
    'Cannot write a chat prompt: the model has a chat template for tools, and no "default"',
  );
}

/** Whether a template marks what the assistant writes; searched for as transformers does. */
const marks = /\{%[-+]?\s*generation\s*[-+]?%\}/;

function generationsOf({ generations, hasLostGeneration }: Rendered): readonly Stretch[] {
  if (!hasLostGeneration) return generations.filter(({ start, end }) => end > start);
  throw new ConfigError(
    "Cannot follow {% generation %} of the model's chat template: it stands in a macro, a call, or another block whose text is caught first",
  );
}

/**
 * Functions from messages to the text of a prompt that asks for the assistant's next message, unless told not to.
 *
 * A template is parsed at its first use, so that a model with a broken one still completes text.
 *
 * @param now What `strftime_now` of a template reads, in local time.
 */
export function chatWriter(
  template: ChatTemplate | undefined,
  variables: TemplateVariables,
  { now }: { now?: () => Date } = {},
): Pick<ChatWriter, "chatPrompt" | "chatGenerations"> {
  const parsed = new Map<string, Template>();
  const write = (source: string, messages: readonly ChatMessage[], options: ChatOptions): Rendered => {
    checkVariables(options.variables ?? {});
    try {
      const found = parsed.get(source) ?? new Template(source);
      parsed.set(source, found);
      const given = {
        ...variables,
        ...options.variables,
        messages,
        // transformers passes these always, and templates test them for none rather than for being defined.
        tools: options.tools ?? null,
        documents: options.documents ?? null,
        add_generation_prompt: options.addGenerationPrompt ?? true,
      };
      return found.renderMarked(given, { now });
    } catch (error) {
      throw new ConfigError(
        `Cannot write a chat prompt by the model's template: ${(error as Error).message}`,
      );
    }
  };
  return {
    chatPrompt: (messages, options = {}) => write(sourceOf(template, options), messages, options).text,
    chatGenerations(messages, options = {}) {
      const source = sourceOf(template, options);
      return marks.test(source) ? generationsOf(write(source, messages, options)) : undefined;
    },
  };
}

/** As {@linkcode chatWriter}, its `chatPrompt` alone. */
export function chatFormatter(...args: Parameters<typeof chatWriter>): Tokenizer["chatPrompt"] {
  return chatWriter(...args).chatPrompt;
}
