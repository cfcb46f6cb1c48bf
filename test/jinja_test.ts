/**
 * Templates against what transformers renders: test/fixtures/make_template_golden.py.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { Float, parseJson, Template, TemplateError } from "../src/jinja/template.ts";
import { packedGolden } from "./packed_golden.ts";

interface Rendering {
  readonly text?: string;
  readonly error?: string;
}

interface Golden {
  readonly variables: Readonly<Record<string, unknown>>;
  readonly micros: readonly { readonly template: string; readonly want: Rendering }[];
  readonly full: readonly {
    readonly template: string;
    readonly conversation: string;
    readonly want: Rendering;
  }[];
}

const fixtures = new URL("fixtures/", import.meta.url);
const golden = packedGolden<Golden>("template_golden");
/** JavaScript reads this one of the fixture with fewer digits. */
const variables = { ...golden.variables, big: 12345678901234567890n };

function render(template: string, given: Readonly<Record<string, unknown>> = {}): Rendering {
  try {
    return { text: new Template(template).render(given) };
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return { error: error.message };
  }
}

test("Template renders every small template as transformers does, and throws where it raises", () => {
  assert.ok(golden.micros.length > 400);
  for (const { template, want } of golden.micros) {
    const got = render(template, variables);
    assert.equal(got.text, want.text, `${template}\n${got.error ?? ""}\nwanted: ${want.error ?? "a text"}`);
  }
});

test("Template renders full templates with whole conversations as transformers does", () => {
  const conversations = JSON.parse(readFileSync(new URL("templates/conversations.json", fixtures), "utf8"));
  const files = readdirSync(new URL("templates/", fixtures)).filter((name) => name.endsWith(".jinja"));
  assert.equal(golden.full.length, files.length * Object.keys(conversations).length);
  for (const { template, conversation, want } of golden.full) {
    const source = readFileSync(new URL(`templates/${template}`, fixtures), "utf8");
    const given = {
      bos_token: "<s>",
      eos_token: "</s>",
      tools: null,
      documents: null,
      ...conversations[conversation],
    };
    const got = render(source, given);
    assert.equal(
      got.text,
      want.text,
      `${template}, ${conversation}: ${got.error ?? ""}, wanted ${want.error ?? "a text"}`,
    );
  }
});

const refused: Readonly<Record<string, RegExp>> = {
  "{% block a %}{% endblock %}": /line 1: the tag "block" is not supported/,
  "\n{% include 'a' %}": /line 2: the tag "include" is not supported/,
  "{% extends 'a' %}": /"extends" is not supported/,
  "{% autoescape true %}{% endautoescape %}": /"autoescape" is not supported/,
  "{{ l | random }}": /the filter "random" is not supported/,
  "{{ 'a' | wordwrap }}": /the filter "wordwrap" is not supported/,
  "{{ 'a'.encode() }}": /the attribute "encode" of a str is not supported/,
  "{{ 'a' | safe | trim | attr('strip') }}": /marked safe is not supported/,
  "{{ 1 | bit_length }}": /No filter named "bit_length"/,
  "{{ (1).bit_length() }}": /"bit_length" of a int is not supported/,
  "{{ lipsum() }}": /"lipsum" is not supported/,
  "{{ l | map('string') }}": /a generator cannot be printed/,
  "{{ l.copy }}": /cannot be printed/,
  "{{ '\\ud83d' }}": /half a character/,
  "{{ strftime_now('%Q') }}": /the code "%Q" of strftime_now is not supported/,
};

test("Template refuses by name what Jinja2 could do and it cannot", () => {
  for (const [template, message] of Object.entries(refused)) {
    assert.match(render(template, { l: [1] }).error ?? "rendered", message, template);
  }
});

test("Template refuses what takes too much, before it takes it", () => {
  const many = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
  const costly: Readonly<Record<string, RegExp>> = {
    "{{ range(10 ** 9) }}": /Range too big/,
    [many]: /too many steps/,
    "{{ 'ab' * 10 ** 9 }}": /a text of more than 67108864 characters/,
    "{{ [1] * 10 ** 9 }}": /a text of more than/,
    "{{ 'a'.ljust(10 ** 9) }}": /a text of more than/,
    "{{ '%1000000000d' % 1 }}": /a text of more than/,
    "{{ [1] | tojson(indent=10 ** 9) }}": /a text of more than/,
    "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}":
      /a text of more than/,
    "{{ 9 ** (9 ** 9) }}": /too long/,
    "{% set ns = namespace(n=9) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}":
      /too long/,
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}": /more than 100 times deep/,
    [`{{ ${"(".repeat(1000)}1${")".repeat(1000)} }}`]: /nested more than 200 deep/,
  };
  for (const [template, message] of Object.entries(costly)) {
    assert.match(render(template).error ?? "rendered", message, template);
  }
});

test("Template gives out its steps by the length of texts and lists, not by their number", () => {
  const text = "a".repeat(1 << 20);
  const template = "{% for i in range(100000) %}{% set x = text.replace('a', 'b') %}{% endfor %}";
  assert.match(render(template, { text }).error ?? "rendered", /too many steps/);
});

test("Template has steps enough for 3000 messages of 2000 characters", () => {
  const source = readFileSync(new URL("templates/qwen3_thinking.jinja", fixtures), "utf8");
  const roles = ["user", "assistant"];
  const messages = Array.from(
    { length: 3000 },
    (_, i) => ({ role: roles[i % 2], content: "word ".repeat(400) }),
  );
  assert.ok(render(source, { messages }).text!.length > 6_000_000);
});

test("Template takes JSON's whole numbers for ints, and refuses those that may have lost digits", () => {
  assert.equal(render("{{ x }} {{ y }}", { x: 1, y: 1.5 }).text, "1 1.5");
  assert.equal(render("{{ x }}", { x: new Float(1) }).text, "1.0");
  assert.match(render("{{ x }}", { x: 2 ** 53 }).error ?? "", /may have lost digits/);
  assert.match(render("{{ x }}", { x: () => 1 }).error ?? "", /a function cannot be given/);
  assert.equal(render("{{ x }}", { x: { a: undefined, b: 1 } }).text, "{'b': 1}");
});

test("parseJson() tells a float that is whole from an int, where the runtime can", () => {
  const read = render("{{ x }}", { x: parseJson("[1.0, 1, 1e2, 2.5]") }).text;
  const canTell = (JSON as unknown as { rawJSON?: unknown }).rawJSON !== undefined;
  assert.equal(read, canTell ? "[1.0, 1, 100.0, 2.5]" : "[1, 1, 100, 2.5]");
});

test("Template writes dates as Python does", () => {
  const now = () => new Date(2024, 0, 7, 0, 5, 9, 42);
  const written: Readonly<Record<string, string>> = {
    "%d %b %Y": "07 Jan 2024",
    "%B %-d, %Y": "January 7, 2024",
    "%A %a %w %u": "Sunday Sun 0 7",
    "%H:%M:%S.%f %I %p %-I": "00:05:09.042000 12 AM 12",
    "%j %U %W %V %G": "007 01 01 01 2024",
    "%y%m%d %% %e": "240107 %  7",
    "%c|%x|%X|%D|%F|%T": "Sun Jan  7 00:05:09 2024|01/07/24|00:05:09|01/07/24|2024-01-07|00:05:09",
    "%z%Z": "",
  };
  for (const [format, text] of Object.entries(written)) {
    assert.equal(new Template("{{ strftime_now(f) }}").render({ f: format }, { now }), text, format);
  }
  const lastDays = () => new Date(2027, 0, 2);
  assert.equal(
    new Template("{{ strftime_now('%G-%V %U %W') }}").render({}, { now: lastDays }),
    "2026-53 00 00",
  );
});
