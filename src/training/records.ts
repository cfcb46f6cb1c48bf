/**
 * Records of training data: which fields a JSON object may have, and what they say.
 *
 * Files come from many tools. A field that would change what is learnt is followed or refused by its name; of fields
 * that only say where a record is from, none is looked at.
 *
 * @module
 */
import { isJsonObject } from "../json.ts";
import type { ChatOptions } from "../models/tokenizer_types.ts";
import { type Fields, kindOf, type Turn, turnsOf } from "./turns.ts";

/** What a record says. */
export type TrainingRecord =
  | { readonly form: "text"; readonly text: string }
  | { readonly form: "completion"; readonly prompt: string; readonly completion: string }
  | {
    readonly form: "chat";
    readonly turns: readonly Turn[];
    readonly options: Pick<ChatOptions, "tools" | "documents" | "variables">;
  };

/** Fields of each form; the first ones tell it. */
const forms = {
  text: ["text"],
  completion: ["prompt", "completion"],
  messages: ["messages"],
  conversations: ["conversations"],
} as const;

type FormName = keyof typeof forms;

/** What a chat template is given besides messages. */
const chatFields = ["tools", "documents", "chat_template_kwargs"];

/** Fields that say where a record is from or how it was chosen. */
const labels = new Set(
  ("id _id uuid idx index key hash source src origin url uri file file_path path meta metadata extra dataset subset " +
    "split dump title author license lang language language_score date time timestamp created created_at version " +
    "category topic domain tag tags task score quality token_count num_tokens length num_turns turns model")
    .split(" "),
);

const asCompletion = 'write what is asked as "prompt" and the answer as "completion"';
const onlyTheBetter = `preferences are not learnt; ${asCompletion}, of the better one`;

/** What to write in place of fields that other tools know. */
const remedies: Readonly<Record<string, string>> = {
  functions: 'write it as "tools": [{"type": "function", "function": {...}}]',
  function_call: 'write it as "tool_calls" of a message',
  parallel_tool_calls: "no chat template can say it; take it out",
  system: 'write it as the first of "messages", with the role "system"',
  instruction: asCompletion,
  input: asCompletion,
  output: asCompletion,
  question: asCompletion,
  answer: asCompletion,
  query: asCompletion,
  response: asCompletion,
  context: asCompletion,
  content: 'write it as "text"',
  chosen: onlyTheBetter,
  rejected: onlyTheBetter,
  label: onlyTheBetter,
  preferred_output: onlyTheBetter,
  non_preferred_output: onlyTheBetter,
  weight: "only messages of the assistant have weights",
};

/** Whether a field says something: null says nothing. */
function isGiven(fields: Fields, name: string): boolean {
  return Object.hasOwn(fields, name) && fields[name] !== null && fields[name] !== undefined;
}

const quoted = (name: string): string => JSON.stringify(name.slice(0, 40));

function formOf(fields: Fields, place: string): FormName {
  const names = Object.keys(forms) as FormName[];
  const given = names.filter((name) => forms[name].every((field) => isGiven(fields, field)));
  if (given.length === 1) return given[0];
  if (given.length > 1) {
    throw new SyntaxError(
      `Cannot read ${place} as a document: it has ${
        given.map((name) => quoted(forms[name][0])).join(" and ")
      }, and only one can be learnt`,
    );
  }
  const named = names.find((name) => forms[name].every((field) => Object.hasOwn(fields, field)));
  if (named !== undefined) return named;
  const known = Object.keys(fields).find((name) => isGiven(fields, name) && Object.hasOwn(remedies, name));
  const found = Object.keys(fields).slice(0, 10).map(quoted).join(", ") || "none";
  throw new SyntaxError(
    `Cannot read ${place} as a document: its fields are ${found}; the rule is "text", or "prompt" and "completion", ` +
      `or "messages"${known === undefined ? "" : `; for ${quoted(known)}, ${remedies[known]}`}`,
  );
}

function checkFields(fields: Fields, allowed: readonly string[], place: string): void {
  for (const name of Object.keys(fields)) {
    if (!isGiven(fields, name) || allowed.includes(name) || labels.has(name)) continue;
    const remedy = Object.hasOwn(remedies, name) ? remedies[name] : "take it out";
    throw new SyntaxError(
      `Cannot follow the field ${quoted(name)} of ${place}: training has no use for it; ${remedy}`,
    );
  }
}

function textField(fields: Fields, { field, place }: { field: string; place: string }): string {
  const value = fields[field];
  if (typeof value === "string") return value;
  throw new SyntaxError(`Cannot read "${field}" of ${place}: it must be a text, it is ${kindOf(value)}`);
}

function objects(
  fields: Fields,
  { field, place }: { field: string; place: string },
): readonly Fields[] | undefined {
  if (!isGiven(fields, field)) return undefined;
  const value = fields[field];
  if (Array.isArray(value) && value.every(isJsonObject)) return value;
  throw new SyntaxError(
    `Cannot read "${field}" of ${place}: it must be a list of objects, it is ${kindOf(value)}`,
  );
}

function chatOptions(fields: Fields, place: string): Pick<ChatOptions, "tools" | "documents" | "variables"> {
  const variables = fields.chat_template_kwargs ?? undefined;
  if (variables !== undefined && !isJsonObject(variables)) {
    throw new SyntaxError(
      `Cannot read "chat_template_kwargs" of ${place}: it must be an object, it is ${kindOf(variables)}`,
    );
  }
  return {
    tools: objects(fields, { field: "tools", place }),
    documents: objects(fields, { field: "documents", place }),
    variables,
  };
}

/**
 * Reads a record.
 *
 * @param place Where it stands, for messages: `line 3`.
 * @throws SyntaxError that names the place and the field, and what to write instead.
 */
export function recordOf(fields: Fields, place: string): TrainingRecord {
  const form = formOf(fields, place);
  const isChat = form === "messages" || form === "conversations" ||
    (form === "completion" && Array.isArray(fields.prompt) && Array.isArray(fields.completion));
  checkFields(fields, [...forms[form], ...(isChat ? chatFields : [])], place);
  if (!isChat) {
    if (form === "text") return { form: "text", text: textField(fields, { field: "text", place }) };
    const [prompt, completion] = forms.completion.map((field) => textField(fields, { field, place }));
    return { form: "completion", prompt, completion };
  }
  const options = chatOptions(fields, place);
  if (form !== "completion") return { form: "chat", options, turns: turnsOf(fields, { field: form, place }) };
  const prompt = turnsOf(fields, { field: "prompt", place });
  const completion = turnsOf(fields, { field: "completion", place });
  return {
    form: "chat",
    options,
    turns: [
      ...prompt.map((turn): Turn => turn.role === "answer" ? { ...turn, role: "context" } : turn),
      ...completion,
    ],
  };
}
