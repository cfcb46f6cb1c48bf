/**
 * Tools of a chat: functions that the model may call, and whether it has to.
 *
 * @module
 */
import * as z from "zod";
import { schemaForEngine } from "../grammar/json_schema.ts";
import { isJsonObject, type JsonObject } from "../json.ts";
import type { ServedModel } from "./deps.ts";
import { quoted, shorten } from "./echo.ts";
import { InvalidRequestError } from "./errors.ts";
import { refusal } from "./fields.ts";
import { namingField, type Structure } from "./structured.ts";
import {
  callsFormat,
  strictFormat,
  type ToolFormat,
  toolFormats,
  type ToolFunction,
} from "./tool_formats.ts";

const mostTools = 128;

/** The fields of a body. */
export const toolFields = {
  tools: z.unknown().meta({
    type: "array",
    maxItems: mostTools,
    items: {
      type: "object",
      required: ["type", "function"],
      properties: {
        type: { const: "function" },
        function: {
          type: "object",
          required: ["name"],
          properties: { name: { type: "string" }, parameters: { type: "object" } },
        },
      },
    },
  }).optional(),
  tool_choice: z.unknown().meta({
    anyOf: [
      { enum: ["none", "auto", "required"] },
      { type: "object", required: ["type", "function"] },
    ],
  }).optional(),
  parallel_tool_calls: z.boolean().default(true),
};

/** A tool as a request has it. */
interface Tool extends JsonObject {
  readonly function: JsonObject & { readonly name: string };
}

/** The tools of a request, and whether a call must come. */
export interface Tools {
  readonly tools: readonly Tool[];
  /** `auto`, `required`, or the name of the function that must be called. */
  readonly choice: "auto" | "required" | { readonly name: string };
  readonly isParallel: boolean;
}

/** How calls are found in an answer. */
export interface ToolUse {
  readonly format: ToolFormat;
  /** Whether the answer is calls and nothing else. */
  readonly isForced: boolean;
}

function checkNames(value: JsonObject, known: readonly string[], path: string): void {
  const unknown = Object.keys(value).find((name) => !known.includes(name) && value[name] !== null);
  if (unknown === undefined) return;
  throw refusal(
    `${path}.${shorten(unknown)}`,
    "there is no such field, or it is not supported",
    "unknown_field",
  );
}

function toolOf(value: unknown, path: string): Tool {
  if (!isJsonObject(value)) throw refusal(path, "it must be an object");
  checkNames(value, ["type", "function"], path);
  if (value.type !== "function") throw refusal(`${path}.type`, 'it must be "function"');
  const at = `${path}.function`, own = value.function;
  if (!isJsonObject(own)) throw refusal(at, "it must be an object");
  checkNames(own, ["name", "description", "parameters", "strict"], at);
  if (typeof own.name !== "string" || !/^[\w.-]{1,64}$/.test(own.name)) {
    throw refusal(`${at}.name`, "it must be 1 to 64 letters, digits, dots, dashes or underscores");
  }
  if (typeof (own.description ?? "") !== "string") throw refusal(`${at}.description`, "it must be a text");
  if (!isJsonObject(own.parameters ?? {})) throw refusal(`${at}.parameters`, "it must be a JSON schema");
  if (typeof (own.strict ?? false) !== "boolean") throw refusal(`${at}.strict`, "it must be true or false");
  return value as Tool;
}

function choiceOf(value: unknown, tools: readonly Tool[]): Tools["choice"] | "none" {
  const rule = 'it must be "none", "auto", "required", or name a function of "tools"';
  if (value === "none" || value === "auto" || value === "required") return value;
  const { type, function: own } = isJsonObject(value) ? value : {};
  if (type !== "function" || !isJsonObject(own) || typeof own.name !== "string") {
    throw refusal("tool_choice", rule);
  }
  const name = own.name;
  if (tools.every((tool) => tool.function.name !== name)) {
    throw refusal("tool_choice", `there is no function ${quoted(name)} among the tools`);
  }
  return { name };
}

/**
 * The tools of a body; undefined where none may be called.
 *
 * @throws InvalidRequestError that names the first field at fault.
 */
export function toolsOf(
  body: { readonly tools?: unknown; readonly tool_choice?: unknown; readonly parallel_tool_calls: boolean },
): Tools | undefined {
  const { tools: listed = [], parallel_tool_calls: isParallel } = body;
  if (!Array.isArray(listed) || listed.length > mostTools) {
    throw refusal("tools", `it must be a list of at most ${mostTools} tools`);
  }
  const tools = listed.map((tool, i) => toolOf(tool, `tools[${i}]`));
  const names = tools.map((tool) => tool.function.name);
  const twice = names.findIndex((name, i) => names.indexOf(name) < i);
  if (twice >= 0) {
    throw refusal(`tools[${twice}].function.name`, `there are two functions ${quoted(names[twice])}`);
  }
  const choice = choiceOf(body.tool_choice ?? "auto", tools);
  if (tools.length === 0 && choice === "required") {
    throw refusal("tool_choice", 'it is "required", and there are no tools');
  }
  return tools.length === 0 || choice === "none" ? undefined : { tools, choice, isParallel };
}

const formatNames = toolFormats.map(({ name }) => name).join(", ");

/** How a model writes calls: as it is told, or as its chat template says. */
function formatOf({ tokenizer, toolParser }: ServedModel): ToolFormat {
  const refuse = (why: string): never => {
    throw new InvalidRequestError(`Cannot follow "tools" of the request: ${why}`, {
      param: "tools",
      code: "unsupported_field",
    });
  };
  const template = tokenizer.toolTemplate;
  if (template === undefined || !/\btools\b/.test(template)) {
    return refuse("the model's chat template has no place for them");
  }
  return toolFormats.find(({ name, fits }) =>
    toolParser === undefined ? fits(template) : name === toolParser
  ) ??
    refuse(`the model's chat template writes calls in none of the ways that are known: ${formatNames}`);
}

/** Whether a name is that of a way of writing calls. */
export function checkToolParser(name: string): void {
  if (toolFormats.some((format) => format.name === name)) return;
  throw new RangeError(`Cannot use tool parser ${quoted(name)}: it must be one of ${formatNames}`);
}

function functionsOf(tools: readonly Tool[], isWanted: (tool: Tool) => boolean): readonly ToolFunction[] {
  return tools.flatMap((tool, i) => {
    if (!isWanted(tool)) return [];
    const parameters = tool.function.parameters ?? { type: "object", properties: {} };
    const path = `tools[${i}].function.parameters`;
    return [{ name: tool.function.name, parameters: namingField(path, () => schemaForEngine(parameters)) }];
  });
}

/**
 * How a model's answer with tools is read, and the rule that it follows, if any.
 *
 * @throws InvalidRequestError where the model writes no calls, or not in a known way; and for a schema that is not followed.
 */
export function toolUseOf(
  { tools, choice, isParallel }: Tools,
  model: ServedModel,
): { readonly use: ToolUse; readonly structure?: Structure } {
  const format = formatOf(model);
  if (choice !== "auto") {
    const isWanted = (tool: Tool): boolean => choice === "required" || tool.function.name === choice.name;
    const isOne = choice !== "required" || !isParallel;
    const calls = callsFormat(format, functionsOf(tools, isWanted), { isOne });
    const structure: Structure = { spec: { kind: "structural_tag", format: calls }, param: "tool_choice" };
    return { use: { format, isForced: true }, structure };
  }
  const use = { format, isForced: false };
  const strict = tools.findIndex((tool) => tool.function.strict === true);
  if (strict < 0) return { use };
  const param = `tools[${strict}].function.strict`;
  const tagged = strictFormat(format, functionsOf(tools, () => true));
  if (!tagged) throw refusal(param, `it is not supported where calls begin with ${format.mark}`);
  return { use, structure: { spec: { kind: "structural_tag", format: tagged }, param } };
}
