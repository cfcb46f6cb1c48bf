/**
 * What surrounds the tokens of a text: the beginning-of-text token and its like.
 *
 * @module
 */
import { byType, type Fields, list, object, objects, refuse } from "./fields.ts";

/** Tokens, and the type of each: which text it belongs to, as encoders tell them apart. */
export interface TypedTokens {
  readonly tokenIds: readonly number[];
  readonly typeIds: readonly number[];
}

/** Surrounds the tokens of texts. */
export interface PostProcessor {
  /** The tokens of a text with what surrounds them; without special tokens unless `addSpecial`. */
  single(ids: readonly number[], addSpecial: boolean): readonly number[];
  /** The tokens of a text, or of two, with special tokens. */
  typed(first: readonly number[], second?: readonly number[]): TypedTokens;
}

/** A stretch of tokens of one type. */
interface Stretch {
  readonly ids: readonly number[];
  readonly type: number;
}

function joined(stretches: readonly Stretch[]): TypedTokens {
  return {
    tokenIds: stretches.flatMap(({ ids }) => ids),
    typeIds: stretches.flatMap(({ ids, type }) => ids.map(() => type)),
  };
}

/** Both texts without anything around them: what there is where a tokenizer has no post-processor. */
export const plain: PostProcessor = {
  single: (ids) => ids,
  typed: (first, second = []) => joined([{ ids: first, type: 0 }, { ids: second, type: 1 }]),
};

function idsOf(values: unknown, name: string): readonly number[] {
  const ids = Array.isArray(values) ? values as readonly unknown[] : [];
  if (!Array.isArray(values) || !ids.every((id) => Number.isInteger(id) && (id as number) >= 0)) {
    throw refuse(name, values, "it must have token ids");
  }
  return ids as readonly number[];
}

/** A part of a template: special tokens, or a text by its letter. */
type TemplatePart =
  & { readonly type: number }
  & (
    | { readonly ids: readonly number[] }
    | { readonly text: "A" | "B" }
  );

function templateParts(fields: Fields, name: "single" | "pair"): TemplatePart[] {
  const known = object(fields, "special_tokens", {});
  return objects(fields, name).map((part): TemplatePart => {
    const isSpecial = part.SpecialToken !== undefined, which = isSpecial ? "SpecialToken" : "Sequence";
    const { id, type_id: type = 0 } = object(part, which);
    if (!Number.isInteger(type) || (type as number) < 0) {
      throw refuse(name, part, "type_id must be a whole number");
    }
    if (isSpecial) {
      const token = typeof id === "string" && Object.hasOwn(known, id) ? known[id] : undefined;
      return { ids: idsOf((Object(token) as { ids?: unknown }).ids, "special_tokens"), type: type as number };
    }
    if (id !== "A" && (name === "single" || id !== "B")) {
      throw refuse(
        name,
        part,
        name === "single" ? "it must have the text A" : "it must have the texts A and B",
      );
    }
    return { text: id as "A" | "B", type: type as number };
  });
}

function template(fields: Fields): PostProcessor {
  const single = templateParts(fields, "single");
  const pair = fields.pair === undefined || fields.pair === null ? undefined : templateParts(fields, "pair");
  return {
    // A concatenation copies a million ids in no time; flatMap does not.
    single: (ids, addSpecial) =>
      ([] as number[]).concat(...single.map((part) => "text" in part ? ids : addSpecial ? part.ids : [])),
    typed(first, second) {
      const parts = second === undefined ? single : pair;
      if (!parts) throw refuse("pair", fields.pair, "two texts need a template for pairs");
      return joined(parts.map((part) => ({
        type: part.type,
        ids: "ids" in part ? part.ids : part.text === "A" ? first : second!,
      })));
    },
  };
}

/**
 * BERT's and RoBERTa's: one token before, one after each text, and RoBERTa's another one between two. Its tokens are all of
 * one type.
 */
function surrounded(fields: Fields): PostProcessor {
  const idOf = (name: string): readonly number[] => idsOf([list(fields, name)[1]], name);
  const before = idOf("cls"), after = idOf("sep");
  const isDoubled = fields.type === "RobertaProcessing";
  return {
    single: (ids, addSpecial) => addSpecial ? before.concat(ids, after) : ids,
    typed(first, second) {
      const one = { ids: before.concat(first, after), type: 0 };
      if (second === undefined) return joined([one]);
      return joined([one, { ids: (isDoubled ? after : []).concat(second, after), type: isDoubled ? 0 : 1 }]);
    },
  };
}

function sequence(fields: Fields): PostProcessor {
  const parts = objects(fields, "processors").map(postProcessorOf);
  const own = parts.filter((part) => part !== plain);
  return {
    single: (ids, addSpecial) => parts.reduce((all, part) => part.single(all, addSpecial), ids),
    typed(first, second) {
      if (own.length > 1) {
        throw refuse("processors", fields.processors, "of several, one at most may add tokens");
      }
      return (own[0] ?? plain).typed(first, second);
    },
  };
}

const makers: Readonly<Record<string, (fields: Fields) => PostProcessor>> = {
  BertProcessing: surrounded,
  // It only moves the offsets of tokens, which nobody asks for here.
  ByteLevel: () => plain,
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
