import assert from "node:assert/strict";
import { test } from "node:test";
import { schemaForEngine } from "../src/grammar/json_schema.ts";
import { GrammarError } from "../mod.ts";

const object = (properties: Record<string, unknown>, more: Record<string, unknown> = {}) => ({
  type: "object",
  properties,
  ...more,
});

test("schemaForEngine keeps what the engine follows, and leaves annotations out", () => {
  const schema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    ...object({ a: { type: "string", description: "x", minLength: 1 }, b: { $ref: "#/$defs/b" } }, {
      required: ["a"],
    }),
    title: "T",
    $defs: { b: { type: "array", items: { type: "boolean" }, maxItems: 3 } },
  };
  assert.deepEqual(schemaForEngine(schema), {
    type: "object",
    properties: { a: { type: "string", minLength: 1 }, b: { $ref: "#/$defs/b" } },
    required: ["a"],
    additionalProperties: false,
    $defs: { b: { type: "array", items: { type: "boolean" }, maxItems: 3 } },
  });
  assert.deepEqual(schemaForEngine(true), {});
});

test("schemaForEngine makes a schema narrower where the engine would allow too much", () => {
  const cases: [unknown, unknown][] = [
    [{ type: "integer", minimum: 3 }, { type: "integer", minimum: 3, maximum: Number.MAX_SAFE_INTEGER }],
    [{ type: "integer", exclusiveMaximum: 2.5 }, {
      type: "integer",
      minimum: Number.MIN_SAFE_INTEGER,
      maximum: 2,
    }],
    [{ type: "integer", exclusiveMinimum: 3, maximum: 9 }, { type: "integer", minimum: 4, maximum: 9 }],
    [{ minLength: 2 }, { type: "string", minLength: 2 }],
    [{ type: ["string", "null"], maxLength: 2 }, {
      anyOf: [{ type: "string", maxLength: 2 }, { type: "null" }],
    }],
    [{ type: "string", enum: ["a", 1] }, { enum: ["a"] }],
    [{ const: 4 }, { enum: [4] }],
    [{ type: "array", minItems: 2 }, { type: "array", minItems: 2, items: {} }],
    [{ prefixItems: [{}, {}], minItems: 3 }, {
      type: "array",
      minItems: 3,
      prefixItems: [{}, {}],
      items: {},
    }],
    [{ prefixItems: [{}, {}], minItems: 2 }, { type: "array", minItems: 2, prefixItems: [{}, {}] }],
    [{ prefixItems: [{ type: "null" }, {}], maxItems: 1 }, {
      type: "array",
      maxItems: 1,
      prefixItems: [{ type: "null" }],
    }],
    [{ type: "integer", minimum: -1e20, maximum: 1e20 }, {
      type: "integer",
      minimum: Number.MIN_SAFE_INTEGER,
      maximum: Number.MAX_SAFE_INTEGER,
    }],
    [object({ a: {} }, { required: ["a", "a"], maxProperties: 1 }), {
      ...object({ a: {} }, { required: ["a"], maxProperties: 1 }),
      additionalProperties: false,
    }],
    [{ type: "object", maxProperties: 2 }, {
      type: "object",
      maxProperties: 2,
      additionalProperties: {},
    }],
    [{ format: "uuid" }, { type: "string", format: "uuid" }],
    [{ oneOf: [{ type: "string" }, { type: "integer" }] }, {
      anyOf: [{ type: "string" }, { type: "integer" }],
    }],
    [{ allOf: [{ type: "null" }] }, { type: "null" }],
    [object({ a: true, no: false }, { additionalProperties: { type: "integer" } }), {
      type: "object",
      properties: { a: {} },
      required: [],
      additionalProperties: false,
    }],
    [{ type: "object", additionalProperties: { type: "integer" } }, {
      type: "object",
      additionalProperties: { type: "integer" },
    }],
  ];
  for (const [schema, expected] of cases) assert.deepEqual(schemaForEngine(schema), expected);
});

test("schemaForEngine refuses by its place what the engine does not follow", () => {
  let deep: unknown = { type: "integer" };
  for (let i = 0; i < 60; i++) deep = object({ a: deep });
  const many = object(Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`p${i}`, {}])));
  const cases: [unknown, RegExp][] = [
    [5, /at #: it must be an object/],
    [false, /at #: false allows no value/],
    [{ type: "number", minimum: 1 }, /"minimum" is not supported of type number/],
    [{ type: "integer", multipleOf: 2 }, /"multipleOf" is not supported/],
    [{ not: {} }, /"not" needs a "type", or is not supported/],
    [{ type: "array", uniqueItems: true }, /at #\/uniqueItems: it is not supported/],
    [{ type: "string", pattern: "a", maxLength: 3 }, /are not supported together/],
    [{ type: "string", format: "regex" }, /at #\/format: it must be one of date/],
    [{ type: "float" }, /at #\/type: it must be of string/],
    [{ type: "string", enum: [1] }, /no value is of its type/],
    [{ minimum: 1e20 }, /at #\/minimum: it must be at most 9007199254740991/],
    [
      { type: "integer", exclusiveMaximum: -1e20 },
      /at #\/exclusiveMaximum: it must be at least -9007199254740991/,
    ],
    [object({ a: { enum: [] } }), /at #\/properties\/a\/enum: it must be a list of at least one value/],
    [
      { prefixItems: [{}], items: false, minItems: 2 },
      /at #\/minItems: it is above the number of items .* 1$/,
    ],
    [
      object({ a: {} }, { minProperties: 2 }),
      /at #\/minProperties: it is above the number of properties .* 1$/,
    ],
    [
      object({ a: {}, b: {} }, { required: ["a", "b"], maxProperties: 1 }),
      /at #\/maxProperties: it is below the number of required properties, 2/,
    ],
    [{ enum: [{ a: [Infinity] }] }, /a number is too large/],
    [{ allOf: [{}, {}] }, /at #\/allOf: more than one schema/],
    [{ type: "integer", anyOf: [{ minimum: 5 }] }, /"anyOf" is not supported beside "type"/],
    [{ oneOf: [{ type: "integer" }, { type: "number" }] }, /at #\/oneOf: its schemas must be told apart/],
    [{ oneOf: [object({ a: {} }), object({ b: {} })] }, /at #\/oneOf/],
    [{ $ref: "http://127.0.0.1/x" }, /at #\/\$ref: it must be "#"/],
    [{ $ref: "#/$defs/none" }, /at #\/\$ref/],
    [object({ a: {} }, { required: ["z"] }), /at #\/required: "z" is not among the properties/],
    [
      object({ a: object({ b: { type: "string", minLength: -1 } }) }),
      /at #\/properties\/a\/properties\/b\/minLength/,
    ],
    [{ type: "array", minItems: 3, maxItems: 2 }, /"minItems" is above "maxItems"/],
    [{ type: "integer", minimum: 3, maximum: 2 }, /no integer is within its bounds/],
    [deep, /it is deeper than 48 levels/],
    [many, /it has more than 4000 parts/],
    [{ enum: Array.from({ length: 40_000 }, (_, i) => i) }, /it names more than 32768 values/],
    [{ oneOf: Array.from({ length: 257 }, () => object({})) }, /more than 256 schemas of objects/],
    [{ type: Array(9).fill("text"), enum: ["a"] }, /at #\/type: it must be of string/],
  ];
  for (const [schema, message] of cases) {
    assert.throws(
      () => schemaForEngine(schema),
      (error) => error instanceof GrammarError && message.test(error.message),
    );
  }
});

test("schemaForEngine refuses schemas that lead back to themselves without end, and takes those that end", () => {
  const self = { $ref: "#" }, a = { $ref: "#/$defs/a" };
  const endless = [
    self,
    { anyOf: [self, { type: "array", items: self, minItems: 1 }] },
    object({ next: self }, { required: ["next"] }),
    object({ next: self }, { minProperties: 1 }),
    { prefixItems: [{ type: "null" }, self] },
    { type: "object", additionalProperties: self, minProperties: 1 },
  ];
  for (const schema of endless) {
    assert.throws(
      () => schemaForEngine(schema),
      /^GrammarError: .* at #: its "\$ref" leads back to it without end$/,
    );
  }
  const circle = { type: "null", $defs: { a: { $ref: "#/$defs/b" }, b: a } };
  assert.throws(() => schemaForEngine(circle), /at #\/\$defs\/a: its "\$ref" leads back to it without end/);
  const ending = [
    { anyOf: [self, { type: "null" }] },
    object({ next: self }),
    { type: "array", items: self },
    { prefixItems: [self], maxItems: 0 },
    { ...a, $defs: { a: { $ref: "#/$defs/b" }, b: { type: "null" } } },
    { enum: [self] },
  ];
  for (const schema of ending) schemaForEngine(schema);
});

test("schemaForEngine takes options of a union that a constant of a required property tells apart", () => {
  const shape = (kind: string) =>
    object({ kind: { const: kind }, size: { type: "integer" } }, { required: ["kind"] });
  const { anyOf } = schemaForEngine({ oneOf: [shape("circle"), shape("square")] });
  assert.equal((anyOf as unknown[]).length, 2);
  assert.throws(() => schemaForEngine({ oneOf: [shape("circle"), shape("circle")] }), GrammarError);
});

test("schemaForEngine takes unions whose schemas share no value, of any length", () => {
  const values = (from: number, count: number) => ({
    enum: Array.from({ length: count }, (_, i) => from + i),
  });
  const many = Array.from({ length: 1000 }, (_, i) => values(i * 30, 30));
  const { anyOf } = schemaForEngine({ oneOf: [...many, { type: "string" }, object({})] });
  assert.equal((anyOf as unknown[]).length, 1002);
  const refused = [
    [...many, values(29_999, 1)],
    [...many, { type: "integer" }],
    [{ enum: [{}] }, object({})],
    [{ type: "string" }, { type: "string", maxLength: 3 }],
    [{ type: "string" }, {}],
  ];
  for (const oneOf of refused) {
    assert.throws(() => schemaForEngine({ oneOf }), /its schemas must be told apart/);
  }
});

test("schemaForEngine has expressions for formats, of values that their standards allow", () => {
  const cases: [string, string[], string[]][] = [
    ["date", ["2024-02-29", "2000-02-29", "2023-12-31", "0001-09-30"], [
      ...["2023-02-29", "1900-02-29", "2024-02-30", "2023-04-31", "2023-13-01", "2023-00-10", "2023-01-00"],
    ]],
    ["time", ["23:59:59Z", "00:00:00.25+01:30"], ["22:60:32Z", "24:00:00Z", "10:00:60Z", "10:00:00"]],
    ["date-time", ["2024-02-29T10:00:00Z"], ["2024-02-30T10:00:00Z", "2024-02-28T22:60:32Z", "2024-02-28"]],
    ["ipv4", ["0.0.0.0", "255.249.199.99"], ["000.1.1.1", "01.1.1.1", "256.1.1.1", "1.1.1", "1.1.1.1.1"]],
  ];
  for (const [format, valid, invalid] of cases) {
    const { pattern } = schemaForEngine({ type: "string", format });
    const expression = new RegExp(pattern as string);
    for (const text of valid) assert.match(text, expression);
    for (const text of invalid) assert.doesNotMatch(text, expression);
  }
});
