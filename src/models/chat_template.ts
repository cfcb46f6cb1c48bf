/**
 * Chat templates: where a model's files keep one, and what it is given.
 *
 * @module
 */
import { Template } from "@huggingface/jinja";
import { ConfigError } from "../errors.ts";
import type { Tokenizer } from "./tokenizer_types.ts";

/** What a template sees besides the messages, e.g. `bos_token`. */
export type TemplateVariables = Readonly<Record<string, string>>;

/**
 * The template of a `chat_template` field: a text, or a list of named texts of which `default` is meant.
 *
 * @throws ConfigError when the field is something else, or no entry is named `default`.
 */
export function templateOf(field: unknown, file: string): string | undefined {
  if (field === undefined || field === null || typeof field === "string") return field ?? undefined;
  const entries: readonly unknown[] = Array.isArray(field) ? field : [];
  for (const entry of entries) {
    const { name, template } = Object(entry) as { name?: unknown; template?: unknown };
    if (name === "default" && typeof template === "string") return template;
  }
  throw new ConfigError(
    `Cannot read "chat_template" of ${file}: it must be a text, or a list with an entry named "default"`,
  );
}

/** The texts of the fields that name a token: `bos_token`, `eos_token` and their like, as a text or as an object. */
export function tokenVariables(config: Readonly<Record<string, unknown>>): TemplateVariables {
  const variables: Record<string, string> = {};
  for (const [name, value] of Object.entries(config)) {
    if (!name.endsWith("_token")) continue;
    const text = typeof value === "string" ? value : (Object(value) as { content?: unknown }).content;
    if (typeof text === "string") variables[name] = text;
  }
  return variables;
}

/**
 * A function from messages to the text of a prompt that asks for the assistant's next message, unless told not to.
 *
 * The template is parsed at the first call, so that a model with a broken one still completes text.
 */
export function chatFormatter(
  source: string | undefined,
  variables: TemplateVariables,
): Tokenizer["chatPrompt"] {
  let template: Template | undefined;
  return (messages, { addGenerationPrompt = true } = {}) => {
    if (source === undefined) {
      throw new ConfigError("Cannot write a chat prompt: the model has no chat template");
    }
    try {
      template ??= new Template(source);
      // transformers passes these two always, and templates test them for none rather than for being defined.
      const absent = { tools: null, documents: null };
      return template.render({
        ...variables,
        ...absent,
        messages,
        add_generation_prompt: addGenerationPrompt,
      });
    } catch (error) {
      throw new ConfigError(
        `Cannot write a chat prompt by the model's template: ${(error as Error).message}`,
      );
    }
  };
}
