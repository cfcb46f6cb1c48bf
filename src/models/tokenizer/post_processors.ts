/**
 * What surrounds the tokens of a text: the beginning-of-text token and its like.
 *
 * @module
 */
import { byType, type Fields, list, object, objects, refuse } from "./fields.ts";

/** The tokens of a text with what surrounds them; without special tokens unless `addSpecial`. */
export type PostProcessor = (ids: readonly number[], addSpecial: boolean) => readonly number[];

function idsOf(values: unknown, name: string): readonly number[] {
  const ids = Array.isArray(values) ? values as readonly unknown[] : [];
  if (!Array.isArray(values) || !ids.every((id) => Number.isInteger(id) && (id as number) >= 0)) {
    throw refuse(name, values, "it must have token ids");
  }
  return ids as readonly number[];
}

function template(fields: Fields): PostProcessor {
  const known = object(fields, "special_tokens", {});
  // Only one text is ever encoded, so that the template for pairs is not read.
  const parts = objects(fields, "single").map((part): readonly number[] | "text" => {
    if (part.SpecialToken !== undefined) {
      const { id } = object(part, "SpecialToken");
      const token = typeof id === "string" && Object.hasOwn(known, id) ? known[id] : undefined;
      return idsOf((Object(token) as { ids?: unknown }).ids, "special_tokens");
    }
    if (object(part, "Sequence").id !== "A") throw refuse("single", part, "it must have the text A");
    return "text";
  });
  // A concatenation copies a million ids in no time; flatMap does not.
  return (ids, addSpecial) =>
    ([] as number[]).concat(...parts.map((part) => part === "text" ? ids : addSpecial ? part : []));
}

/** BERT's and RoBERTa's: one token before, one after. */
function surrounded(fields: Fields): PostProcessor {
  const idOf = (name: string): readonly number[] => idsOf([list(fields, name)[1]], name);
  const before = idOf("cls");
  const after = idOf("sep");
  return (ids, addSpecial) => addSpecial ? before.concat(ids, after) : ids;
}

function sequence(fields: Fields): PostProcessor {
  const parts = objects(fields, "processors").map(postProcessorOf);
  return (ids, addSpecial) => parts.reduce((all, part) => part(all, addSpecial), ids);
}

const makers: Readonly<Record<string, (fields: Fields) => PostProcessor>> = {
  BertProcessing: surrounded,
  // It only moves the offsets of tokens, which nobody asks for here.
  ByteLevel: () => (ids) => ids,
  RobertaProcessing: surrounded,
  Sequence: sequence,
  TemplateProcessing: template,
};

/**
 * The post-processor that tokenizer.json describes.
 *
 * @throws ConfigError for one that is not known here.
 */
export function postProcessorOf(fields: Fields): PostProcessor {
  return byType(fields, makers, "post-processor");
}
