/**
 * JSON schemas for the grammar engine: what the engine does not follow to the letter is refused by name, or made narrower.
 *
 * The engine leaves out keywords that it does not know. A schema that comes out of here has none of those: every text that
 * its grammar allows is valid by the schema that went in. Not every valid text need be allowed.
 *
 * @module
 */
import { GrammarError } from "../errors.ts";
import { isJsonObject } from "../json.ts";
import { areDisjoint, typeOf } from "./disjoint.ts";
import { formatForEngine, formatNames } from "./formats.ts";

/** Levels of a schema, its parts in all, and the values that its lists name in all. */
const mostDepth = 48, mostParts = 4000, mostValues = 32_768;

/** Schemas of objects that a `oneOf` may have: each is compared with every other. */
const mostObjects = 256;

/** Integers beyond these are no exact numbers in JavaScript. */
const [least, most] = [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];

type Fields = Readonly<Record<string, unknown>>;

/** They say nothing of what is valid. */
const annotations: ReadonlySet<string> = new Set([
  ...["title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"],
  ...["$comment", "$schema", "$id"],
]);

const definitions = ["$defs", "definitions"] as const;

/** The keywords of each type. */
const keywords: Readonly<Record<string, readonly string[]>> = {
  string: ["minLength", "maxLength", "pattern", "format"],
  integer: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
  number: [],
  boolean: [],
  null: [],
  array: ["items", "prefixItems", "minItems", "maxItems", "uniqueItems", "unevaluatedItems"],
  object: [
    ...["properties", "required", "additionalProperties", "minProperties", "maxProperties"],
    "unevaluatedProperties",
  ],
};

function refuse(path: string, rule: string): never {
  throw new GrammarError(`Cannot follow the JSON schema at ${path}: ${rule}`);
}

/** A schema's parts as they are written; its fields are the caller's own. */
class Writer {
  #parts = 0;
  #values = 0;

  /** @param targets What references may name. */
  constructor(private readonly targets: ReadonlySet<string>) {}

  write(schema: unknown, path: string, depth = 0): Fields {
    if (++this.#parts > mostParts) refuse(path, `it has more than ${mostParts} parts`);
    if (depth > mostDepth) refuse(path, `it is deeper than ${mostDepth} levels`);
    if (schema === true) return {};
    if (!isJsonObject(schema)) {
      refuse(path, schema === false ? "false allows no value" : "it must be an object");
    }
    const fields = Object.fromEntries(
      Object.entries(schema).filter(([name]) =>
        !annotations.has(name) && !(depth === 0 && definitions.includes(name as "$defs"))
      ),
    );
    return this.#body(fields, path, depth);
  }

  #body(fields: Fields, path: string, depth: number): Fields {
    const alone = (name: string): void => {
      const other = Object.keys(fields).find((one) => one !== name);
      if (other !== undefined) refuse(path, `"${name}" is not supported beside "${other}"`);
    };
    for (const name of ["$ref", "anyOf", "oneOf", "allOf"] as const) {
      if (fields[name] === undefined) continue;
      alone(name);
      if (name === "$ref") return this.#ref(fields.$ref, path);
      return this.#options(name, fields[name], path, depth);
    }
    if ("enum" in fields || "const" in fields) {
      if (Array.isArray(fields.enum)) this.#values += fields.enum.length;
      if (this.#values > mostValues) refuse(path, `it names more than ${mostValues} values`);
      return valuesOf(fields, path);
    }
    return this.#typed(fields, path, depth);
  }

  #ref(ref: unknown, path: string): Fields {
    if (typeof ref === "string" && this.targets.has(ref)) return { $ref: ref };
    return refuse(`${path}/$ref`, 'it must be "#", or name an entry of "$defs" or "definitions"');
  }

  #options(name: "anyOf" | "oneOf" | "allOf", value: unknown, path: string, depth: number): Fields {
    const at = `${path}/${name}`;
    if (!Array.isArray(value) || value.length === 0) refuse(at, "it must be a list of schemas");
    const options = value.map((one, i) => this.write(one, `${at}/${i}`, depth + 1));
    if (name === "allOf" && options.length > 1) refuse(at, "more than one schema is not supported");
    if (name === "oneOf") checkDisjoint(options, at);
    return options.length === 1 ? options[0] : { anyOf: options };
  }

  #typed(fields: Fields, path: string, depth: number): Fields {
    const types = typesOf(fields, path);
    if (types.length === 0) return {};
    const known = new Set(["type", ...types.flatMap((type) => keywords[type])]);
    const unknown = Object.keys(fields).find((name) => !known.has(name));
    if (unknown !== undefined) {
      refuse(path, `"${unknown}" is not supported${types.length > 0 ? ` of type ${types.join(", ")}` : ""}`);
    }
    const options = types.map((type) => {
      const own = Object.fromEntries(
        Object.entries(fields).filter(([name]) => keywords[type].includes(name)),
      );
      return { type, ...this.#ofType(type, own, path, depth) };
    });
    return options.length === 1 ? options[0] : { anyOf: options };
  }

  #ofType(type: string, own: Fields, path: string, depth: number): Fields {
    if (type === "integer") return integerOf(own, path);
    if (type === "string") return stringOf(own, path);
    if (type === "array") return this.#array(own, path, depth);
    if (type === "object") return this.#object(own, path, depth);
    return {};
  }

  #array(own: Fields, path: string, depth: number): Fields {
    const { prefixItems, uniqueItems = false, unevaluatedItems = false } = own;
    if (uniqueItems !== false) refuse(`${path}/uniqueItems`, "it is not supported");
    if (unevaluatedItems !== false) refuse(`${path}/unevaluatedItems`, "only false is supported");
    if (prefixItems !== undefined && !Array.isArray(prefixItems)) {
      refuse(`${path}/prefixItems`, "it must be a list of schemas");
    }
    const sub = (schema: unknown, at: string): Fields => this.write(schema, `${path}/${at}`, depth + 1);
    const counts = countsOf(own, path, ["minItems", "maxItems"]),
      { minItems = 0, maxItems = Infinity } = counts;
    const all = (prefixItems as unknown[] | undefined)?.map((one, i) => sub(one, `prefixItems/${i}`));
    // The engine wants all that it is given.
    const first = all?.slice(0, maxItems), isLonger = minItems > (first?.length ?? 0);
    // The engine would allow no item that no schema describes, where it must have more than the first, or has counts.
    const isOpen = first === undefined ? Object.keys(counts).length > 0 : isLonger;
    const { items = isOpen ? true : undefined } = own;
    if (items === false && isLonger) {
      refuse(`${path}/minItems`, `it is above the number of items that may be there, ${first?.length ?? 0}`);
    }
    return {
      ...counts,
      ...(first === undefined ? {} : { prefixItems: first }),
      ...(items === undefined ? {} : { items: items === false ? false : sub(items, "items") }),
    };
  }

  #object(own: Fields, path: string, depth: number): Fields {
    const { properties = {}, required = [], unevaluatedProperties = false } = own;
    if (unevaluatedProperties !== false) refuse(`${path}/unevaluatedProperties`, "only false is supported");
    if (!isJsonObject(properties)) refuse(`${path}/properties`, "it must be an object of schemas");
    if (!Array.isArray(required) || !required.every((name) => typeof name === "string")) {
      refuse(`${path}/required`, "it must be a list of names");
    }
    // One that allows no value cannot be there.
    const possible = Object.entries(properties).filter(([, schema]) => schema !== false);
    const names = new Set(possible.map(([name]) => name));
    const missing = (required as string[]).find((name) => !names.has(name));
    if (missing !== undefined) refuse(`${path}/required`, `"${missing}" is not among the properties`);
    const counts = countsOf(own, path, ["minProperties", "maxProperties"]);
    const needed = [...new Set(required as string[])];
    const { minProperties = 0, maxProperties = Infinity } = counts;
    if (needed.length > maxProperties) {
      refuse(`${path}/maxProperties`, `it is below the number of required properties, ${needed.length}`);
    }
    const written = possible.map(([name, schema]): [string, Fields] => [
      name,
      this.write(schema, `${path}/properties/${name}`, depth + 1),
    ]);
    // Beside counts the engine would allow no property that no schema describes.
    const { additionalProperties = Object.keys(counts).length > 0 ? true : undefined } = own;
    // Beside named properties the engine would take one of these names again, as a property of any value.
    const isClosed = additionalProperties === false || names.size > 0;
    if (isClosed && minProperties > names.size) {
      refuse(
        `${path}/minProperties`,
        `it is above the number of properties that may be there, ${names.size}`,
      );
    }
    const others = additionalProperties === undefined || isClosed
      ? {}
      : { additionalProperties: this.write(additionalProperties, `${path}/additionalProperties`, depth + 1) };
    return {
      ...(names.size > 0 ? { properties: Object.fromEntries(written), required: needed } : {}),
      ...counts,
      ...(isClosed ? { additionalProperties: false } : others),
    };
  }
}

/** Whether a value is of a type, as JSON schemas have them. */
const isOf = (value: unknown, type: unknown): boolean =>
  type === "integer" ? Number.isInteger(value) : typeOf(value) === type;

/** Whether a value has no number that JSON cannot write: 1e999 is read as Infinity, and would be written as null. */
const isWritable = (value: unknown): boolean =>
  typeof value === "object" && value !== null
    ? Object.values(value).every(isWritable)
    : typeof value !== "number" || Number.isFinite(value);

function valuesOf(fields: Fields, path: string): Fields {
  const { type, enum: listed, const: constant, ...rest } = fields;
  const [other] = Object.keys(rest);
  if (other !== undefined) refuse(path, `"${other}" is not supported beside "enum" or "const"`);
  if (listed !== undefined && !(Array.isArray(listed) && listed.length > 0)) {
    refuse(`${path}/enum`, "it must be a list of at least one value");
  }
  if (listed !== undefined && "const" in fields) refuse(path, '"enum" is not supported beside "const"');
  const types = type === undefined ? undefined : typesOf({ type }, path);
  const all: readonly unknown[] = (listed as unknown[] | undefined) ?? [constant];
  const values = all.filter((value) => types === undefined || types.some((one) => isOf(value, one)));
  if (values.length === 0) refuse(path, "no value is of its type");
  if (!values.every(isWritable)) refuse(path, "a number is too large");
  return { enum: values };
}

function typesOf(fields: Fields, path: string): readonly string[] {
  const { type } = fields;
  if (type === undefined) {
    const given = Object.keys(fields);
    if (given.length === 0) return [];
    const fitting = Object.keys(keywords).filter((one) =>
      given.every((name) => keywords[one].includes(name))
    );
    if (fitting.length === 1) return fitting;
    return refuse(path, `"${given[0]}" needs a "type", or is not supported`);
  }
  const types: readonly unknown[] = Array.isArray(type) ? type : [type];
  const unknown = types.find((one) => typeof one !== "string" || !Object.hasOwn(keywords, one));
  if (types.length === 0 || unknown !== undefined) {
    refuse(`${path}/type`, `it must be of ${Object.keys(keywords).join(", ")}`);
  }
  return [...new Set(types as string[])];
}

function countsOf<Name extends string>(
  own: Fields,
  path: string,
  names: readonly [Name, Name],
): { readonly [N in Name]?: number } {
  const counts = names.flatMap((name) => own[name] === undefined ? [] : [[name, own[name]] as const]);
  for (const [name, count] of counts) {
    if (!Number.isSafeInteger(count) || (count as number) < 0) {
      refuse(`${path}/${name}`, "it must be an integer of 0 or more");
    }
  }
  const [from = 0, to = Infinity] = names.map((name) => own[name] as number | undefined);
  if (from > to) refuse(path, `"${names[0]}" is above "${names[1]}"`);
  return Object.fromEntries(counts) as { [N in Name]?: number };
}

function stringOf(own: Fields, path: string): Fields {
  const { pattern, format } = own, lengths = countsOf(own, path, ["minLength", "maxLength"]);
  if (pattern !== undefined && typeof pattern !== "string") refuse(`${path}/pattern`, "it must be a text");
  if (format !== undefined && !formatNames.includes(format as string)) {
    refuse(`${path}/format`, `it must be one of ${formatNames.join(", ")}`);
  }
  const given = [pattern !== undefined, format !== undefined, Object.keys(lengths).length > 0];
  if (given.filter(Boolean).length > 1) {
    refuse(path, '"pattern", "format" and lengths are not supported together');
  }
  return {
    ...lengths,
    ...(pattern === undefined ? {} : { pattern }),
    ...(format === undefined ? {} : formatForEngine(format as string)),
  };
}

/** Both bounds of an integer, or none: the engine is right about two. */
function integerOf(own: Fields, path: string): Fields {
  for (const [name, bound] of Object.entries(own)) {
    if (typeof bound !== "number") refuse(`${path}/${name}`, "it must be a number");
    const isLower = /min/i.test(name);
    if (isLower && bound > most) refuse(`${path}/${name}`, `it must be at most ${most}`);
    if (!isLower && bound < least) refuse(`${path}/${name}`, `it must be at least ${least}`);
  }
  if (Object.keys(own).length === 0) return {};
  const { minimum = least, maximum = most, exclusiveMinimum, exclusiveMaximum } = own as Record<
    string,
    number
  >;
  const from = Math.max(least, Math.ceil(minimum), Math.floor(exclusiveMinimum ?? -Infinity) + 1);
  const to = Math.min(most, Math.floor(maximum), Math.ceil(exclusiveMaximum ?? Infinity) - 1);
  if (from > to) refuse(path, "no integer is within its bounds");
  return { minimum: from, maximum: to };
}

/** Whether some text of a schema ends, where the named schemas of `ending` have one. */
function hasEnd(written: Fields, ending: ReadonlySet<unknown>): boolean {
  const { $ref, anyOf, type, properties, required, prefixItems = [], items, additionalProperties } = written;
  const ends = (one: unknown): boolean => !isJsonObject(one) || hasEnd(one, ending);
  if ($ref !== undefined) return ending.has($ref);
  if (Array.isArray(anyOf)) return anyOf.some(ends);
  if (type === "array") {
    const first = prefixItems as readonly Fields[], { minItems = 0 } = written;
    return first.every(ends) && ((minItems as number) <= first.length || ends(items));
  }
  if (type !== "object") return true;
  const named = properties as Record<string, Fields> | undefined, { minProperties = 0 } = written;
  if (named === undefined) return minProperties === 0 || ends(additionalProperties);
  return (required as string[]).every((name) => ends(named[name])) &&
    Object.values(named).filter(ends).length >= (minProperties as number);
}

/** The references in a schema, or in a part of one. */
function refsIn(part: unknown): readonly unknown[] {
  if (typeof part !== "object" || part === null) return [];
  return Object.entries(part).flatMap(([name, one]) => name === "$ref" ? [one] : refsIn(one));
}

/** Refuses schemas whose values would hold, or be, another of them without end. */
function checkEnds(named: ReadonlyMap<string, Fields>): void {
  const usersOf = new Map<unknown, string[]>();
  for (const [name, written] of named) {
    for (const ref of refsIn(written)) {
      const users = usersOf.get(ref);
      if (users) users.push(name);
      else usersOf.set(ref, [name]);
    }
  }
  // Each is looked at again when one that it refers to is found to end.
  const ending = new Set<string>(), asked = new Set(named.keys());
  for (const name of asked) {
    asked.delete(name);
    if (ending.has(name) || !hasEnd(named.get(name)!, ending)) continue;
    ending.add(name);
    for (const user of usersOf.get(name) ?? []) asked.add(user);
  }
  for (const name of named.keys()) {
    if (!ending.has(name)) refuse(name, 'its "$ref" leads back to it without end');
  }
}

/** Refuses options of which a value may be two at once: the engine takes any. */
function checkDisjoint(options: readonly Fields[], path: string): void {
  const objects = options.filter(({ type }) => type === "object").length;
  if (objects > mostObjects) refuse(path, `it has more than ${mostObjects} schemas of objects`);
  if (areDisjoint(options)) return;
  refuse(path, "its schemas must be told apart by their types or by a constant of a required property");
}

/**
 * A schema for the grammar engine.
 *
 * @param schema Of a draft of JSON Schema from 6 on.
 * @throws GrammarError that names the place and the rule, for what is not followed.
 */
export function schemaForEngine(schema: unknown): Fields {
  const named = definitions.map((name): [string, Fields] => {
    const defs = isJsonObject(schema) ? schema[name] ?? {} : {};
    if (!isJsonObject(defs)) refuse(`#/${name}`, "it must be an object of schemas");
    return [name, defs];
  });
  const targets = named.flatMap(([name, defs]) => Object.keys(defs).map((key) => `#/${name}/${key}`));
  const writer = new Writer(new Set(["#", ...targets]));
  const written = writer.write(schema, "#");
  const all = named.filter(([, defs]) => Object.keys(defs).length > 0).map(([name, defs]) => {
    const parts = Object.entries(defs).map(([key, one]): [string, Fields] => [
      key,
      writer.write(one, `#/${name}/${key}`, 1),
    ]);
    return [name, parts] as const;
  });
  checkEnds(
    new Map([
      ["#", written],
      ...all.flatMap(([name, parts]) =>
        parts.map(([key, one]): [string, Fields] => [`#/${name}/${key}`, one])
      ),
    ]),
  );
  return { ...written, ...Object.fromEntries(all.map(([name, parts]) => [name, Object.fromEntries(parts)])) };
}
