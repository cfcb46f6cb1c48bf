/**
 * Fields that say what form an answer has: OpenAI's `response_format`, vLLM's `structured_outputs` and `guided_*`.
 *
 * @module
 */
import * as z from "zod";
import type { Constraint } from "../engine/constraint.ts";
import { GrammarError } from "../errors.ts";
import { schemaForEngine } from "../grammar/json_schema.ts";
import type { GrammarSpec } from "../grammar/spec.ts";
import { isJsonObject, type JsonObject } from "../json.ts";
import type { ServedModel } from "./deps.ts";
import { shorten } from "./echo.ts";
import { InvalidRequestError } from "./errors.ts";
import { refusal } from "./fields.ts";
import { valueOfText } from "./json_bounds.ts";

const mostChoices = 1024;

/** A schema that is read piece by piece; JSON, or its text. */
const schemaField = z.unknown().meta({ anyOf: [{ type: "object" }, { type: "string" }] });
const choices = z.unknown().meta({ type: "array", items: { type: "string" }, maxItems: mostChoices });

/** The fields of a body. */
export const structureFields = {
  response_format: z.unknown().meta({
    type: "object",
    required: ["type"],
    properties: {
      type: { enum: ["text", "json_object", "json_schema"] },
      json_schema: { type: "object", required: ["schema"], properties: { schema: { type: "object" } } },
    },
  }).optional(),
  structured_outputs: z.unknown().meta({
    type: "object",
    properties: { json: {}, regex: { type: "string" }, choice: {}, grammar: { type: "string" } },
  }).optional(),
  guided_json: schemaField.optional(),
  guided_regex: z.string().optional(),
  guided_choice: choices.optional(),
  guided_grammar: z.string().optional(),
};

type Fields = { readonly [Name in keyof typeof structureFields]?: unknown };

/** A rule for an answer, and the field that says it. */
export interface Structure {
  readonly spec: GrammarSpec;
  readonly param: string;
}

/** What `make` says of a field's grammar, or the refusal that names the field. */
export function namingField<T>(param: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw error instanceof GrammarError ? grammarRefusal(param, error) : error;
  }
}

function grammarRefusal(param: string, error: GrammarError): InvalidRequestError {
  return new InvalidRequestError(shorten(error.message, 300), { param, code: "invalid_value" });
}

/** The rule of a JSON schema, which may be given as its text. */
function jsonBy(value: unknown, param: string): Structure {
  const read = typeof value === "string" ? valueOfText(value, param) : { value };
  if (!read) throw refusal(param, "it must be a JSON schema, or the text of one");
  const schema = read.value;
  return { spec: { kind: "json_schema", schema: namingField(param, () => schemaForEngine(schema)) }, param };
}

function textBy(value: unknown, param: string, kind: "regex" | "grammar"): Structure {
  if (typeof value !== "string" || value === "") throw refusal(param, "it must be a text");
  return { spec: kind === "regex" ? { kind, pattern: value } : { kind: "ebnf", text: value }, param };
}

function choiceBy(value: unknown, param: string): Structure {
  const isList = Array.isArray(value) && value.length > 0 && value.length <= mostChoices;
  if (!isList || !value.every((one) => typeof one === "string" && one !== "")) {
    throw refusal(param, `it must be a list of 1 to ${mostChoices} texts that are not empty`);
  }
  return { spec: { kind: "choice", choices: [...new Set(value as string[])] }, param };
}

const anyObject = { kind: "json_schema", schema: schemaForEngine({ type: "object" }) } as const;

function checkNames(value: JsonObject, known: readonly string[], param: string): void {
  const unknown = Object.keys(value).find((name) => !known.includes(name) && value[name] !== null);
  if (unknown === undefined) return;
  throw refusal(
    `${param}.${shorten(unknown)}`,
    "there is no such field, or it is not supported",
    "unknown_field",
  );
}

function formatBy(value: unknown): Structure | undefined {
  const param = "response_format";
  if (!isJsonObject(value)) throw refusal(param, "it must be an object");
  if (value.type === "text" || value.type === "json_object") {
    checkNames(value, ["type"], param);
    return value.type === "text" ? undefined : { spec: anyObject, param };
  }
  if (value.type !== "json_schema") {
    throw refusal(`${param}.type`, "it must be text, json_object or json_schema");
  }
  checkNames(value, ["type", "json_schema"], param);
  const at = `${param}.json_schema`, inner = value.json_schema;
  if (!isJsonObject(inner)) throw refusal(at, "it must be an object");
  // Not strict, or strict: the answer follows the schema.
  checkNames(inner, ["name", "description", "schema", "strict"], at);
  if (!isJsonObject(inner.schema)) throw refusal(`${at}.schema`, "it must be a JSON schema");
  return jsonBy(inner.schema, `${at}.schema`);
}

function outputsBy(value: unknown): readonly Structure[] {
  const param = "structured_outputs";
  if (!isJsonObject(value)) throw refusal(param, "it must be an object");
  checkNames(value, ["json", "json_object", "regex", "choice", "grammar"], param);
  const { json = null, json_object = null, regex = null, choice = null, grammar = null } = value;
  if (json_object !== null && typeof json_object !== "boolean") {
    throw refusal(`${param}.json_object`, "it must be true or false");
  }
  const rules = [
    ...(json === null ? [] : [jsonBy(json, `${param}.json`)]),
    ...(json_object === true ? [{ spec: anyObject, param: `${param}.json_object` }] : []),
    ...(regex === null ? [] : [textBy(regex, `${param}.regex`, "regex")]),
    ...(choice === null ? [] : [choiceBy(choice, `${param}.choice`)]),
    ...(grammar === null ? [] : [textBy(grammar, `${param}.grammar`, "grammar")]),
  ];
  // Whoever sends the field wants a form: free text would be another answer than was asked for.
  if (rules.length === 0) throw refusal(param, "it must have json, json_object, regex, choice or grammar");
  return rules;
}

/**
 * The rule that a body's fields say; undefined for free text.
 *
 * @throws InvalidRequestError that names the field: breaking a rule, or one of two that each say a rule.
 */
export function structureOf(body: Fields): Structure | undefined {
  const { response_format, structured_outputs, guided_json, guided_regex, guided_choice, guided_grammar } =
    body;
  const format = response_format === undefined ? undefined : formatBy(response_format);
  const all = [
    ...(format ? [format] : []),
    ...(structured_outputs === undefined ? [] : outputsBy(structured_outputs)),
    ...(guided_json === undefined ? [] : [jsonBy(guided_json, "guided_json")]),
    ...(guided_regex === undefined ? [] : [textBy(guided_regex, "guided_regex", "regex")]),
    ...(guided_choice === undefined ? [] : [choiceBy(guided_choice, "guided_choice")]),
    ...(guided_grammar === undefined ? [] : [textBy(guided_grammar, "guided_grammar", "grammar")]),
  ];
  if (all.length > 1) {
    throw refusal(all[1].param, `it is not supported beside "${all[0].param}": an answer has one form`);
  }
  return all[0];
}

/**
 * The constraint of a rule.
 *
 * @throws InvalidRequestError that names the field, where the rule cannot be followed; OverloadedError; the signal's reason.
 */
export async function constraintOf(
  structure: Structure | undefined,
  { grammars }: ServedModel,
  signal: AbortSignal,
): Promise<Constraint | undefined> {
  if (!structure) return undefined;
  const { spec, param } = structure;
  if (!grammars) {
    throw new InvalidRequestError(
      `Cannot follow "${param}" of the request: this server has no engine for grammars`,
      { param, code: "unsupported_field" },
    );
  }
  try {
    return await grammars.compile(spec, signal);
  } catch (error) {
    throw error instanceof GrammarError ? grammarRefusal(param, error) : error;
  }
}
