/**
 * Where a model's files keep its chat template.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import { type JsonObject, parseJsonObject } from "../json.ts";
import { foreignKindOfText } from "../safetensors/mod.ts";
import { namedTemplates } from "./checkpoint.ts";

/** What reading a tokenizer needs of a folder. */
export interface TextFolder extends Pick<ReadableFolder, "readText" | "exists"> {
  folder?(name: string): Promise<Pick<ReadableFolder, "readText" | "exists"> | undefined>;
}

/** A model's template, or templates by name: `tool_use` is for chats with tools, `default` for all others. */
export type ChatTemplate = string | { readonly default?: string; readonly tool_use?: string };

/**
 * The template of a `chat_template` field: a text, or a list of named texts. Of these `default` is meant, and `tool_use`
 * where tools are given, as in transformers.
 *
 * @throws ConfigError when the field is something else, or no entry is named `default`.
 */
function templateOf(field: unknown, file: string): ChatTemplate | undefined {
  if (field === undefined || field === null || typeof field === "string") return field ?? undefined;
  const named = new Map<unknown, string>();
  for (const entry of Array.isArray(field) ? field as readonly unknown[] : []) {
    const { name, template } = Object(entry) as { name?: unknown; template?: unknown };
    if (typeof template === "string") named.set(name, template);
  }
  const standard = named.get("default");
  if (standard !== undefined) return { default: standard, tool_use: named.get("tool_use") };
  throw new ConfigError(
    `Cannot read "chat_template" of ${file}: it must be a text, or a list with an entry named "default"`,
  );
}

/** The text of the template that writes chats with tools; undefined where there is none. */
export function toolTemplateOf(template: ChatTemplate | undefined): string | undefined {
  return typeof template === "string" ? template : template?.tool_use ?? template?.default;
}

/** Every text is a template, so a pointer would be written out as a prompt; the start of its text is looked for. */
async function readJinja(folder: Pick<ReadableFolder, "readText">, name: string): Promise<string> {
  const text = await folder.readText(name);
  if (!text.startsWith("version https://git-lfs.github.com/spec/")) return text;
  throw new ConfigError(`Cannot read ${name} as a template: ${foreignKindOfText(text)}`);
}

/** Templates in files of their own; a file beside others outranks chat_template.jinja by its name, as in transformers. */
async function readJinjaFiles(folder: TextFolder): Promise<ChatTemplate | undefined> {
  const named = await folder.folder?.(namedTemplates.folder);
  const read = async (name: string) => await named?.exists(name) ? await readJinja(named!, name) : undefined;
  const alone = await folder.exists("chat_template.jinja")
    ? await readJinja(folder, "chat_template.jinja")
    : undefined;
  const templates = { default: await read("default.jinja") ?? alone, tool_use: await read("tool_use.jinja") };
  return templates.tool_use === undefined ? templates.default : templates;
}

/**
 * The chat template of a model folder; undefined where the folder has none.
 *
 * @param config The fields of tokenizer_config.json.
 * @throws ConfigError that names the file and the rule it breaks.
 */
export async function readTemplate(
  folder: TextFolder,
  config: JsonObject,
): Promise<ChatTemplate | undefined> {
  const inFiles = await readJinjaFiles(folder);
  if (inFiles !== undefined) return inFiles;
  const template = templateOf(config.chat_template, "tokenizer_config.json");
  if (template !== undefined) return template;
  const name = "chat_template.json";
  if (!await folder.exists(name)) return undefined;
  return templateOf(parseJsonObject(await folder.readText(name), name).chat_template, name);
}
