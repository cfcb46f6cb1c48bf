/**
 * How models write calls of tools into their texts, and which way a model's chat template asks for.
 *
 * @module
 */
import type { TagFormat } from "../grammar/spec.ts";

/** A way of writing calls. */
export interface ToolFormat {
  /** vLLM's name of its parser. */
  readonly name: string;
  /** The text before a call, or before a list of calls. */
  readonly mark: string;
  /** The text after a call; absent where a call, or the list, goes on to the text's end. */
  readonly end?: string;
  /** Whether the mark is a special token, which a text is without unless asked. */
  readonly isSpecial: boolean;
  /** Whether a text that begins with a brace is a call without a mark. */
  readonly mayBeBare?: boolean;
  /** Whether calls stand in a list. */
  readonly isList: boolean;
  /** The field of a call's arguments. */
  readonly field: "arguments" | "parameters";
  /** Characters of a call's id, where templates ask for so many letters and digits. */
  readonly idLength?: number;
  /** Whether a template asks for this way. */
  fits(template: string): boolean;
}

/** Every way that is known; the first that fits a template is taken. */
export const toolFormats: readonly ToolFormat[] = [
  {
    name: "mistral",
    mark: "[TOOL_CALLS]",
    isSpecial: true,
    isList: true,
    field: "arguments",
    idLength: 9,
    fits: (template) => template.includes("[TOOL_CALLS]"),
  },
  {
    name: "granite",
    mark: "<|tool_call|>",
    isSpecial: true,
    isList: true,
    field: "arguments",
    fits: (template) => template.includes("<|tool_call|>"),
  },
  {
    // Hermes, Qwen 2.5 and 3, SmolLM3, Granite 4.
    name: "hermes",
    mark: "<tool_call>",
    end: "</tool_call>",
    isSpecial: false,
    isList: false,
    field: "arguments",
    // Qwen3-Coder writes XML into the same tags.
    fits: (template) => template.includes("<tool_call>") && !template.includes("<function="),
  },
  {
    name: "llama3_json",
    mark: "<|python_tag|>",
    isSpecial: true,
    mayBeBare: true,
    isList: false,
    field: "parameters",
    fits: (template) => /<\|python_tag\|>|"parameters": dictionary/.test(template),
  },
];

/** A function that a model may call. */
export interface ToolFunction {
  readonly name: string;
  /** The JSON schema of its arguments, for the grammar engine. */
  readonly parameters: unknown;
}

/** A call of a function, in a format; the mark of a special token is left out. */
function tagOf(
  { field, mark, end = "", isSpecial }: ToolFormat,
  { name, parameters }: ToolFunction,
): TagFormat {
  const [before, after] = isSpecial ? ["", ""] : [`${mark}\n`, `\n${end}`];
  return {
    type: "tag",
    begin: `${before}{"name": ${JSON.stringify(name)}, "${field}": `,
    content: { type: "json_schema", json_schema: parameters },
    end: `}${after}`,
  };
}

/** A text of nothing but calls, one at least; one alone where `isOne`. Its marks of special tokens are left out. */
export function callsFormat(
  format: ToolFormat,
  functions: readonly ToolFunction[],
  { isOne }: { readonly isOne: boolean },
): TagFormat {
  const calls: TagFormat = {
    type: "tags_with_separator",
    tags: functions.map((one) => tagOf(format, one)),
    separator: format.isList ? ", " : "\n",
    at_least_one: true,
    // A bare call is the whole text.
    stop_after_first: isOne || format.mayBeBare === true,
  };
  return format.isList ? { type: "tag", begin: "[", content: calls, end: "]" } : calls;
}

/** Free text whose calls have arguments by their schemas; undefined where a call's mark is a special token. */
export function strictFormat(format: ToolFormat, functions: readonly ToolFunction[]): TagFormat | undefined {
  if (format.isSpecial) return undefined;
  const tags = functions.map((one) => tagOf(format, one));
  return { type: "triggered_tags", triggers: [format.mark], tags };
}
