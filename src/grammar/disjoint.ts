/**
 * Whether a value can follow two schemas of a union at once. The work grows with the schemas' text. Schemas of objects are
 * compared in pairs, so that their number is bounded.
 *
 * @module
 */
import { isJsonObject, type JsonObject } from "../json.ts";

/** The type of a JSON value, as JSON Schema names types. */
export const typeOf = (value: unknown): string =>
  value === null ? "null" : Array.isArray(value) ? "array" : typeof value;

const textOf = (value: unknown): string => JSON.stringify(value);

/** Values of the required properties that are constants, as texts: they tell objects apart. */
function tagsOf({ properties, required }: JsonObject): ReadonlyMap<string, ReadonlySet<string>> {
  const named = isJsonObject(properties) ? Object.entries(properties) : [];
  const needed = new Set(required as readonly string[]);
  return new Map(
    named.flatMap(([name, property]) =>
      needed.has(name) && isJsonObject(property) && Array.isArray(property.enum)
        ? [[name, new Set(property.enum.map(textOf))]]
        : []
    ),
  );
}

function areApart(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  const [few, many] = one.size < other.size ? [one, other] : [other, one];
  return ![...few].some((text) => many.has(text));
}

/** Whether a required constant tells each object from the others. */
function haveTags(objects: readonly JsonObject[]): boolean {
  const all = objects.map(tagsOf);
  return all.every((tags, i) =>
    all.slice(0, i).every((others) =>
      [...tags].some(([name, values]) => others.has(name) && areApart(values, others.get(name)!))
    )
  );
}

/** Whether no value is in two lists. */
function shareNone(lists: readonly (readonly unknown[])[]): boolean {
  const seen = new Set<string>();
  return lists.every((list) => {
    const texts = [...new Set(list.map(textOf))], isNew = texts.every((text) => !seen.has(text));
    for (const text of texts) seen.add(text);
    return isNew;
  });
}

/**
 * Whether no value follows two of some schemas, as far as their types, their values, and the constants of required properties
 * tell.
 *
 * @param options As the grammar engine has them: `enum`, or one `type`.
 */
export function areDisjoint(options: readonly JsonObject[]): boolean {
  if (options.length === 1) return true;
  const lists: (readonly unknown[])[] = [], objects: JsonObject[] = [], types = new Set<string>();
  for (const option of options) {
    if (Array.isArray(option.enum)) lists.push(option.enum);
    else if (typeof option.type !== "string") return false;
    else if (option.type === "object") objects.push(option);
    else {
      const type = option.type === "integer" ? "number" : option.type;
      if (types.has(type)) return false;
      types.add(type);
    }
  }
  if (objects.length > 0) types.add("object");
  if (lists.some((list) => list.some((value) => types.has(typeOf(value))))) return false;
  return shareNone(lists) && haveTags(objects);
}
