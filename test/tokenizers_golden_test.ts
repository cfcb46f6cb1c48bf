/**
 * Tokenizers of all kinds beside the Python library: `make_tokenizers.py` made what is right.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Detokenizer } from "../src/engine/detokenizer.ts";
import { ConfigError } from "../src/errors.ts";
import { openTokenizer } from "../src/models/tokenizer.ts";
import type { Tokenizer } from "../src/models/tokenizer_types.ts";
import { packedGolden } from "./packed_golden.ts";

type Case = readonly [
  ids: readonly number[],
  special: number,
  skipped: string,
  whole: string,
  pieces: readonly string[] | null,
];

interface Golden {
  readonly charsmap: string;
  readonly models: Readonly<Record<string, unknown>>;
  readonly texts: readonly string[];
  readonly kinds: Readonly<
    Record<string, { readonly file: Readonly<Record<string, unknown>>; readonly cases: readonly Case[] }>
  >;
}

const golden = packedGolden<Golden>("tokenizers");

function open(file: Readonly<Record<string, unknown>>): Promise<Tokenizer> {
  const model = typeof file.model === "string" ? golden.models[file.model] : file.model;
  const text = JSON.stringify({ ...file, model }).replace("CHARSMAP", golden.charsmap);
  return openTokenizer({
    exists: (name) => Promise.resolve(name === "tokenizer.json"),
    readText: () => Promise.resolve(text),
  });
}

const opened = new Map<string, Tokenizer>();
for (const [name, { file }] of Object.entries(golden.kinds)) opened.set(name, await open(file));

for (const [name, { cases }] of Object.entries(golden.kinds)) {
  const tokenizer = opened.get(name)!;

  test(`encode() and decode() are the Python library's: ${name}`, () => {
    golden.texts.forEach((text, i) => {
      const [ids, special, skipped, whole] = cases[i];
      assert.deepEqual(tokenizer.encode(text), ids, text);
      assert.equal(tokenizer.encode(text, { addSpecialTokens: false }).length, ids.length - special, text);
      assert.equal(tokenizer.decode(ids), skipped, text);
      assert.equal(tokenizer.decode(ids, { skipSpecialTokens: false }), whole, text);
    });
  });

  test(`Detokenizer gives each token the Python library's text, and bytes that join: ${name}`, () => {
    golden.texts.forEach((text, i) => {
      const pieces = cases[i][4];
      if (!pieces) return;
      const ids = tokenizer.encode(text, { addSpecialTokens: false });
      const detokenizer = new Detokenizer(tokenizer, { skipSpecialTokens: false });
      const own = ids.map((id) => detokenizer.push(id));
      const texts = own.map((one) => one.text);
      const shown = JSON.stringify(text);
      assert.equal(
        texts.join("") + detokenizer.end(),
        tokenizer.decode(ids, { skipSpecialTokens: false }),
        shown,
      );
      // There Python's stream waits, also where that is the text itself.
      if (texts.join("").includes("\ufffd")) return;
      assert.deepEqual(texts, pieces, shown);
      const bytes = own.flatMap((one) => [...one.bytes]);
      assert.deepEqual(bytes, [...new TextEncoder().encode(texts.join(""))], shown);
    });
  });
}

const pieces = golden.texts.flatMap((text) => [text, ...text.split(/(?<=\s)/)]);
/** Texts of the golden ones' pieces, some of them long. */
const anyText = fc.tuple(
  fc.array(fc.oneof(fc.constantFrom(...pieces), fc.string({ unit: "grapheme", maxLength: 8 })), {
    maxLength: 20,
  }),
  fc.constantFrom(1, 1, 1, 40, 900),
).map(([parts, times]) => parts.join("").slice(0, 400).repeat(times).toWellFormed());

test("encodeAsync() gives what encode() gives, of short and long texts and every kind", async () => {
  const kinds = fc.constantFrom(...opened.keys());
  await fc.assert(
    fc.asyncProperty(kinds, anyText, async (kind, text) => {
      const tokenizer = opened.get(kind)!;
      assert.deepEqual(await tokenizer.encodeAsync(text), tokenizer.encode(text));
    }),
    { numRuns: 60 },
  );
});

test("encode() of a long text is that of its parts where these stand alone", () => {
  // Each line begins after what every pattern ends at, so that a slice within is seen.
  for (const name of ["llama3", "qwen2", "o200k", "bert", "t5", "xlm-r", "clip"]) {
    const tokenizer = opened.get(name)!;
    for (
      const line of [
        "Le café était fermé à Noël e\u0301\n",
        "日本語 😀👩‍🚀 한국어\n",
        "x\u0301\u0323 ﬁ ½ \u1100\u1161\u11a8 y\n",
      ]
    ) {
      const encode = (text: string): number[] => tokenizer.encode(text, { addSpecialTokens: false });
      const one = encode(`a\n${line}`).slice(encode("a\n").length);
      const all = encode("a\n" + line.repeat(2000)).slice(encode("a\n").length);
      assert.deepEqual(
        all.slice(0, one.length * 1999),
        Array.from({ length: 1999 }, () => one).flat(),
        name + line,
      );
    }
  }
});

test("fewestTokens() is never above the tokens of a text", () => {
  for (const [name, tokenizer] of opened) {
    fc.assert(
      fc.property(anyText, (text) => {
        const tokens = tokenizer.encode(text, { addSpecialTokens: false }).length;
        assert.ok(tokenizer.fewestTokens(text) <= tokens, `${name}: ${JSON.stringify(text)}`);
      }),
      { numRuns: 20 },
    );
  }
});

test("fewestTokens() refuses nothing where a token may be any length, and much where it may not", () => {
  for (const name of ["bert", "t5", "words", "clip", "qwen2"]) {
    assert.equal(opened.get(name)!.fewestTokens("a".repeat(1e6)), 0, name);
  }
  for (const name of ["gpt2", "llama3", "llama2", "o200k"]) {
    assert.ok(opened.get(name)!.fewestTokens("a".repeat(1e6)) > 40_000, name);
  }
});

test("encodeAsync() lets other work run, and ends where its signal aborts", async () => {
  for (const [name, text] of [["llama3", "the king ".repeat(50_000)], ["llama2", "a".repeat(400_000)]]) {
    const controller = new AbortController();
    const encoding = opened.get(name)!.encodeAsync(text, { signal: controller.signal });
    let turns = 0;
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      if (++turns === 2) controller.abort(new Error("enough"));
      else channel.port2.postMessage(null);
    };
    channel.port2.postMessage(null);
    await assert.rejects(encoding, /enough/);
    channel.port1.close();
  }
  await assert.rejects(
    opened.get("gpt2")!.encodeAsync("a", { signal: AbortSignal.abort(new Error("gone")) }),
    /gone/,
  );
});

test("openTokenizer() refuses by name what it cannot follow", async () => {
  const base = { model: "bytes", added_tokens: [], normalizer: null, pre_tokenizer: null, decoder: null };
  const refused: [Record<string, unknown>, RegExp][] = [
    [{ pre_tokenizer: { type: "UnicodeScripts" } }, /"type" = "UnicodeScripts": there is no pre-tokenizer/],
    [{ normalizer: { type: "Mystery" } }, /"Mystery": there is no normalizer/],
    [{ decoder: { type: "Mystery" } }, /"Mystery": there is no decoder/],
    [{ post_processor: { type: "Mystery" } }, /"Mystery": there is no post-processor/],
    [{ model: { type: "Mystery" } }, /"Mystery": there is no model/],
    [{ model: { type: "BPE", vocab: { a: 0 }, merges: ["a b"] } }, /"merges".*does not have "b"/],
    [{ model: { type: "BPE", vocab: { a: 0.5 }, merges: [] } }, /"vocab".*whole number/],
    [{ model: { type: "BPE", vocab: { a: 0 }, merges: [], dropout: 0.1 } }, /"dropout" = 0\.1/],
    [{ model: { type: "Unigram", vocab: [["a"]], unk_id: null } }, /"vocab".*pieces with scores/],
    [
      { pre_tokenizer: { type: "Split", pattern: { Regex: "\\X" }, behavior: "Isolated", invert: false } },
      /"Regex" = .*cannot be followed/,
    ],
    [
      { pre_tokenizer: { type: "Split", pattern: { Regex: "a" }, behavior: "Odd", invert: false } },
      /"behavior" = "Odd"/,
    ],
    [
      { pre_tokenizer: { type: "Metaspace", replacement: "__" } },
      /"replacement" = "__": it must be one character/,
    ],
    [{ normalizer: { type: "Precompiled", precompiled_charsmap: "AAAA" } }, /"precompiled_charsmap"/],
    [{ added_tokens: [{ id: 1, content: 3 }] }, /"content" = 3/],
  ];
  for (const [fields, message] of refused) {
    await assert.rejects(open({ ...base, ...fields }), (error) => {
      assert.ok(error instanceof ConfigError, String(error));
      assert.match(error.message, message);
      return true;
    });
  }
});

test("decodeBytes() gives parts of characters their own bytes", () => {
  const byteLevel = opened.get("gpt2")!;
  const spm = opened.get("llama2")!;
  const parts = (tokenizer: Tokenizer, ids: readonly number[]): number[][] =>
    ids.map((id) => [...tokenizer.decodeBytes!([id])]);
  const emoji = byteLevel.encode("🜁");
  assert.deepEqual(parts(byteLevel, emoji).flat(), [0xf0, 0x9f, 0x9c, 0x81]);
  const ids = spm.encode("日", { addSpecialTokens: false }).slice(-3);
  assert.deepEqual(parts(spm, ids), [[0xe6], [0x97], [0xa5]]);
});
