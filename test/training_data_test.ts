/**
 * Training data: from bytes to batches, by properties over random documents and by hand.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ChatMessage } from "../src/models/tokenizer_types.ts";
import { openTokenizer } from "../src/models/tokenizer.ts";
import { bytesSource } from "../src/safetensors/mod.ts";
import {
  type DataFormat,
  formatOf,
  noTarget,
  readTrainingSet,
  streamOf,
  type TrainingBatch,
  type TrainingDataOptions,
  type TrainingSet,
} from "../src/training/data.ts";
import { readDocuments, type TextDocument } from "../src/training/documents.ts";
import { piecesOf } from "../src/training/encode.ts";
import { linesOf } from "../src/training/lines.ts";
import { shuffled } from "../src/training/shuffle.ts";
import { demoFolder, demoTokenizer } from "./demo_model.ts";

const end = 1;

/** A token a character; turns are written `<role>content;`. */
const letters: TrainingDataOptions["tokenizer"] = {
  encode: (text) => Array.from({ length: text.length }, (_, i) => text.charCodeAt(i)),
  decode: (ids) => String.fromCharCode(...ids),
  eosTokenIds: [end],
  chatPrompt: (messages: readonly ChatMessage[], { addGenerationPrompt = true } = {}) =>
    messages.map(({ role, content }) => `<${role}>${content};`).join("") +
    (addGenerationPrompt ? "<assistant>" : ""),
};

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}

function fileOf(text: string, format: DataFormat = "text") {
  return { format, bytes: streamOf(bytesSource(new TextEncoder().encode(text))) };
}

function setOf(documents: readonly string[], options: Partial<TrainingDataOptions>): Promise<TrainingSet> {
  const lines = documents.map((text) => JSON.stringify({ text })).join("\n");
  return readTrainingSet(fileOf(lines, "jsonl"), {
    tokenizer: letters,
    contextLength: 8,
    batchSize: 2,
    ...options,
  });
}

async function documentsOf(text: string, format: DataFormat): Promise<TextDocument[]> {
  return await Array.fromAsync(readDocuments(fileOf(text, format).bytes, { format, tokenizer: letters }));
}

async function textsOf(text: string): Promise<string[]> {
  return (await documentsOf(text, "text")).map(({ segments }) => segments.map(({ text }) => text).join("|"));
}

/** The attention segments of a batch that have a target, as text; the last target follows. */
function learntSegments({ tokens, targets, first, last }: TrainingBatch): string[] {
  const found: string[] = [];
  for (let row = 0; row < tokens.length; row = last[row]) {
    const rows = [...targets.subarray(row, last[row])];
    assert.ok(first.subarray(row, last[row]).every((start) => start === row));
    if (rows.every((target) => target === noTarget)) continue;
    const final = rows[rows.length - 1];
    const ids = [...tokens.subarray(row, last[row]), ...(final === noTarget ? [] : [final])];
    found.push(String.fromCharCode(...ids));
  }
  return found;
}

function checkRows(batch: TrainingBatch, { batchSize, contextLength }: TrainingDataOptions): void {
  const { tokens, targets, positions, first, last } = batch;
  for (const rows of [tokens, targets, positions, first, last]) {
    assert.equal(rows.length, batchSize * contextLength);
  }
  assert.equal(batch.targetCount, targets.filter((target) => target !== noTarget).length);
  targets.forEach((target, row) => {
    assert.ok(first[row] <= row && row < last[row] && last[row] <= tokens.length, `row ${row}`);
    assert.equal(positions[row], row - first[row]);
    assert.equal(Math.floor(first[row] / contextLength), Math.floor((last[row] - 1) / contextLength));
    if (row + 1 < last[row] && target !== noTarget) assert.equal(target, tokens[row + 1]);
  });
}

const documentTexts = fc.array(
  fc.string({ minLength: 1, maxLength: 40, unit: fc.constantFrom(..."abc xyz") }),
  {
    minLength: 1,
    maxLength: 20,
  },
).map((texts) => texts.map((text) => `${text}.`));
const sizes = { contextLength: fc.integer({ min: 1, max: 12 }), batchSize: fc.integer({ min: 1, max: 5 }) };
const seeds = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

/** Every batch of one epoch whose sequences are a multiple of the batch. */
async function oneEpoch(
  texts: readonly string[],
  options: Partial<TrainingDataOptions>,
): Promise<TrainingBatch[]> {
  const set = await setOf(texts, { ...options, batchSize: 1 });
  return Array.from({ length: set.stepsPerEpoch }, (_, step) => set.batch(step));
}

test("concatenate: an epoch's sequences are the documents in a row, none lost, none invented", async () => {
  await fc.assert(fc.asyncProperty(documentTexts, sizes.contextLength, seeds, async (texts, length, seed) => {
    const whole = texts.map((text) => text + String.fromCharCode(end)).join("");
    fc.pre(whole.length >= length);
    const batches = await oneEpoch(texts, { contextLength: length, seed });
    const found = batches.flatMap(learntSegments).sort();
    const expected = Array.from(
      { length: Math.ceil((whole.length - 1) / length) },
      (_, i) => whole.slice(i * length, (i + 1) * length + 1),
    );
    assert.deepEqual(found, expected.sort());
    assert.equal(batches.reduce((sum, { targetCount }) => sum + targetCount, 0), whole.length - 1);
    for (const batch of batches) {
      checkRows(batch, { contextLength: length, batchSize: 1, tokenizer: letters });
    }
  }));
});

test("documents: segments are the documents, long ones in pieces, and never two in one", async () => {
  await fc.assert(fc.asyncProperty(documentTexts, sizes.contextLength, seeds, async (texts, length, seed) => {
    const ended = texts.map((text) => text + String.fromCharCode(end));
    fc.pre(ended.join("").length >= length);
    const batches = await oneEpoch(texts, { contextLength: length, seed, packing: "documents" });
    const expected = ended.flatMap((text) =>
      Array.from(
        { length: Math.ceil((text.length - 1) / length) },
        (_, i) => text.slice(i * length, (i + 1) * length + 1),
      )
    );
    assert.deepEqual(batches.flatMap(learntSegments).sort(), expected.sort());
    for (const batch of batches) {
      checkRows(batch, { contextLength: length, batchSize: 1, tokenizer: letters });
    }
  }));
});

test("documents: short documents share a sequence where they fit", async () => {
  const set = await setOf(["aaaa", "b", "cc", "dddddd"], { packing: "documents", batchSize: 1 });
  assert.equal(set.training.sequences, 3);
  const segments = [0, 1, 2].map((step) => learntSegments(set.batch(step)).map((text) => text.slice(0, -1)));
  assert.deepEqual(segments.map((texts) => texts.sort()).sort(), [["aaaa", "cc"], ["b"], ["dddddd"]]);
});

test("batch() is a function of seed and step, whatever was asked before", async () => {
  await fc.assert(
    fc.asyncProperty(
      documentTexts,
      sizes.batchSize,
      seeds,
      fc.array(fc.nat(30), { minLength: 1, maxLength: 12 }),
      fc.constantFrom("concatenate" as const, "documents" as const),
      async (texts, batchSize, seed, steps, packing) => {
        fc.pre(texts.join("").length >= 8);
        const options = { batchSize, seed, packing, contextLength: 8 };
        const asked = await setOf(texts, options);
        const fresh = steps.map(() => setOf(texts, options));
        for (const [i, step] of steps.entries()) {
          const batch = asked.batch(step);
          checkRows(batch, { ...options, tokenizer: letters });
          assert.deepEqual(batch, (await fresh[i]).batch(step));
        }
      },
    ),
    { numRuns: 30 },
  );
});

test("batch() sees every sequence once an epoch, in another order each", async () => {
  const texts = Array.from({ length: 40 }, (_, i) => String.fromCharCode(97 + i).repeat(7));
  const set = await setOf(texts, { batchSize: 3, seed: 5 });
  assert.equal(set.training.sequences, 40);
  assert.equal(set.stepsPerEpoch, 14);
  const seen: number[] = [];
  for (let step = 0; step < 40; step++) {
    const { tokens } = set.batch(step);
    seen.push(tokens[0], tokens[8], tokens[16]);
  }
  const epochs = [0, 1, 2].map((epoch) => seen.slice(40 * epoch, 40 * (epoch + 1)));
  for (const epoch of epochs) assert.equal(new Set(epoch).size, 40);
  assert.equal(new Set(epochs.map((epoch) => epoch.join())).size, 3);
  const other = await setOf(texts, { batchSize: 3, seed: 6 });
  assert.notDeepEqual(other.batch(0), set.batch(0));
});

test("shuffled() is a permutation, and another for another seed or round", () => {
  fc.assert(fc.property(fc.nat(300), seeds, fc.integer({ min: -1, max: 1000 }), (count, seed, round) => {
    const order = shuffled(count, { seed, round });
    assert.deepEqual(order.toSorted(), Uint32Array.from({ length: count }, (_, i) => i));
  }));
  const orders = [0, 1, 2 ** 32, 2 ** 40 + 7].flatMap((seed) =>
    [-1, 0, 1, 2].map((round) => shuffled(50, { seed, round }).join())
  );
  assert.equal(new Set(orders).size, orders.length);
});

test("shuffled() puts every element at every place about as often", () => {
  const counts = new Uint32Array(25);
  for (let round = 0; round < 2000; round++) {
    shuffled(5, { seed: 3, round }).forEach((element, place) => counts[5 * element + place]++);
  }
  // 400 expected, standard deviation 18.
  for (const count of counts) assert.ok(count > 300 && count < 500, `${counts}`);
});

test("heldOut: documents are on one side, at least one each, chosen by the seed", async () => {
  await fc.assert(fc.asyncProperty(
    fc.integer({ min: 2, max: 30 }),
    fc.double({ min: 0.001, max: 0.999, noNaN: true }),
    seeds,
    async (count, heldOut, seed) => {
      const texts = Array.from({ length: count }, (_, i) => String.fromCharCode(0x100 + i).repeat(9));
      const set = await setOf(texts, { heldOut, seed, packing: "documents", contextLength: 10 });
      assert.ok(set.training.documents >= 1 && set.heldOut.documents >= 1);
      assert.equal(set.training.documents + set.heldOut.documents, count);
      assert.ok(Math.abs(set.heldOut.documents - heldOut * count) <= 1);
      const letter = (segment: string): string => segment[0];
      const trained = Array.from({ length: set.stepsPerEpoch }, (_, i) => set.batch(i)).flatMap(
        learntSegments,
      );
      const held = Array.from({ length: set.heldOutBatches }, (_, i) => set.heldOutBatch(i)).flatMap(
        learntSegments,
      );
      assert.equal(held.length, set.heldOut.documents);
      assert.equal(new Set([...trained, ...held].map(letter)).size, count);
      assert.deepEqual(held.filter((text) => trained.includes(text)), []);
    },
  ));
});

test("heldOut: the last batch is filled up with rows without targets", async () => {
  const options = { heldOut: 0.5, contextLength: 8, batchSize: 4 };
  const set = await setOf(["aaaaaaaaaa", "bbbbbbbbbb"], options);
  assert.equal(set.heldOutBatches, 1);
  const batch = set.heldOutBatch(0);
  checkRows(batch, { ...options, tokenizer: letters });
  assert.equal(batch.targetCount, 10);
  assert.ok(batch.targets.subarray(16).every((target) => target === noTarget));
  assert.throws(() => set.heldOutBatch(1), /Cannot make held-out batch 1: .* below 1/);
  assert.throws(() => set.batch(-1), /Cannot make step -1/);
});

test("heldOut: a file of its own is evaluated whole, and nothing is taken from the other", async () => {
  const set = await setOf(["aaaaaaaaaa", "bbbbbbbbbb"], { heldOut: fileOf("held out") });
  assert.deepEqual([set.training.documents, set.heldOut.documents, set.heldOut.tokens], [2, 1, 9]);
  assert.deepEqual(learntSegments(set.heldOutBatch(0)), ["held out\x01"]);
});

test("text: form feeds and <|endoftext|> part documents, line breaks at their ends go", async () => {
  assert.deepEqual(await textsOf("one\n\ntwo\n"), ["one\n\ntwo"]);
  assert.deepEqual(await textsOf("\ufeffone\f\n two <|endoftext|>\r\nthree\n\f \n\f"), [
    "one",
    " two ",
    "three",
  ]);
  assert.deepEqual(await textsOf("a\r\nb\r\n"), ["a\r\nb"]);
  assert.deepEqual(await textsOf(""), []);
});

test("linesOf() finds the lines of text in pieces of any size", async () => {
  const text = fc.string({ unit: fc.constantFrom("a", "é", "€", "😀", "\n", "\r", "\ufffd"), maxLength: 40 });
  await fc.assert(fc.asyncProperty(text, fc.integer({ min: 1, max: 9 }), async (text, size) => {
    const lines = await Array.fromAsync(linesOf(inPieces(new TextEncoder().encode(text), size)));
    const expected = text.split("\n");
    if (expected[expected.length - 1] === "") expected.pop();
    assert.deepEqual(lines, expected);
  }));
});

test("linesOf() names the first byte that is not UTF-8", async () => {
  const broken: [number[], number][] = [
    [[0x61, 0xff], 1],
    [[0xef, 0xbf, 0xbd, 0x61, 0x80], 4],
    [[0x61, 0xe2, 0x82], 1],
    [[0xc3, 0xa9, 0xe2, 0x82, 0x41, 0x41], 2],
    [[0x61, 0x0a, 0xed, 0xa0, 0x80, 0x61], 2],
    [[0xc0, 0x80], 0],
  ];
  for (const [bytes, at] of broken) {
    for (const size of [1, 2, 3, 10]) {
      const read = Array.fromAsync(linesOf(inPieces(Uint8Array.from(bytes), size)));
      await assert.rejects(
        read,
        new RegExp(`Cannot read text as UTF-8: byte ${at} breaks`),
        `${bytes} by ${size}`,
      );
    }
  }
});

test("jsonl: a broken line is named by its number, and what was found in it", async () => {
  const refused: [string, RegExp][] = [
    ['{"text": "a"}\n\n{"text": ', /Cannot read line 3 as JSON/],
    ["[1]", /line 1 as a document: it must be a JSON object, it is a list/],
    ['{"a": 1, "b": 2}', /line 1 as a document: its fields are "a", "b"; the rule is "text"/],
    ["{}", /its fields are none/],
    ['{"text": 3}', /"text" of line 1: it must be a text, it is a number/],
    ['{"prompt": "a", "completion": null}', /"completion" of line 1: it must be a text, it is null/],
    ['{"prompt": "a"}', /its fields are "prompt"/],
    ['{"messages": []}', /"messages" of line 1: it must be a list of messages, it is empty/],
    ['{"messages": "a"}', /it is a string/],
    [
      '{"messages": [{"role": "user", "content": "a"}, {"role": "x"}]}',
      /message 1 of line 1.*are a string and a/,
    ],
  ];
  for (const [text, message] of refused) {
    await assert.rejects(documentsOf(text, "jsonl"), (error) => {
      assert.ok(error instanceof SyntaxError);
      assert.match(error.message, message);
      return true;
    });
  }
});

test("formatOf() knows JSON by its name, and refuses tables and archives", () => {
  assert.deepEqual(["a.jsonl", "a.NDJSON", "a.Json", "a.txt", "jsonl"].map(formatOf), [
    "jsonl",
    "jsonl",
    "json",
    "text",
    "text",
  ]);
  for (const name of ["a.csv", "a.TSV", "a.parquet", "a.jsonl.gz"]) {
    assert.throws(() => formatOf(name), new RegExp(`Cannot read "${name}" as training data: .* JSON lines`));
  }
});

/** The targets of the one sequence that a line of JSON makes; `-` where there is none. */
async function targetsOf(fields: unknown, options: Partial<TrainingDataOptions> = {}): Promise<string> {
  const file = fileOf(JSON.stringify(fields), "jsonl");
  const base = { tokenizer: letters, contextLength: 1, batchSize: 1, lossOn: "completion" as const };
  const { training: { tokens } } = await readTrainingSet(file, { ...base, ...options });
  const again = fileOf(JSON.stringify(fields), "jsonl");
  const set = await readTrainingSet(again, { ...base, ...options, contextLength: tokens });
  return Array.from(
    set.batch(0).targets,
    (id) => id === noTarget ? "-" : id === end ? "$" : String.fromCharCode(id),
  )
    .join("");
}

test("lossOn completion: prompts and others' turns are read, not learnt", async () => {
  const chat = [
    { role: "system", content: "s" },
    { role: "user", content: "u" },
    { role: "assistant", content: "ab" },
    { role: "user", content: "v" },
    { role: "assistant", content: "c" },
  ];
  assert.equal(await targetsOf({ prompt: "ask ", completion: "yes" }), "---yes$-");
  assert.equal(await targetsOf({ prompt: "ask ", completion: "yes" }, { lossOn: "all" }), "sk yes$-");
  assert.equal(await targetsOf({ prompt: "ask", completion: "" }), "--$-");
  assert.equal(await targetsOf({ text: "text" }), "ext$-");
  assert.equal(await targetsOf({ messages: chat.slice(1, 3) }), "------------------ab;$-");
  assert.equal(
    await targetsOf({ messages: chat }),
    `${"-".repeat("<system>s;<user>u;<assistant>".length - 1)}ab;${
      "-".repeat("<user>v;<assistant>".length)
    }c;$-`,
  );
  assert.equal(await targetsOf({ messages: chat.slice(1, 2) }, { lossOn: "all" }), "user>u;$-");
  assert.equal(
    await targetsOf({ messages: chat.slice(1, 4) }),
    `${"-".repeat("<user>u;<assistant>".length - 1)}ab;${"-".repeat("<user>v;$".length)}-`,
  );
});

test("lossOn completion: a conversation without such turns is refused, and a template that looks back", async () => {
  const user = { role: "user", content: "u" }, assistant = { role: "assistant", content: "a" };
  await assert.rejects(targetsOf({ messages: [user] }), /Cannot learn from line 1: .* it has none/);
  const forgetful = {
    ...letters,
    chatPrompt: (messages: readonly ChatMessage[]) =>
      messages.slice(-1).map(({ content }) => content).join(""),
  };
  await assert.rejects(
    targetsOf({ messages: [user, assistant, user, assistant] }, { tokenizer: forgetful }),
    /Cannot find message 1 of line 1/,
  );
});

test("readTrainingSet() refuses data that is empty or too little, with the counts", async () => {
  const read = (text: string, options: Partial<TrainingDataOptions> = {}) =>
    readTrainingSet(fileOf(text), { tokenizer: letters, contextLength: 8, batchSize: 2, ...options });
  await assert.rejects(read(" \n\f"), /Cannot find a document/);
  await assert.rejects(read("abc\fd"), /fill a sequence of 8 tokens: the data has 6 tokens in 2 documents/);
  await assert.rejects(
    read("abcdefghij", { heldOut: 0.1 }),
    /Cannot hold out documents: the data is one document/,
  );
  await assert.rejects(read("a", { heldOut: 1 }), /Cannot hold out 1 of the documents/);
  await assert.rejects(read("a", { seed: -1 }), /Cannot use seed -1/);
  await assert.rejects(read("a", { batchSize: 0 }), /Cannot use batchSize 0/);
  await assert.rejects(
    read("abcdefghij", { vocabSize: 100 }),
    /Cannot use token 100 .*the model has 100 embeddings/,
  );
  await assert.rejects(read("abcdefghij", { tokenizer: { ...letters, eosTokenIds: [] } }), /"eos_token_id"/);
});

test("piecesOf() loses nothing, cuts between two words, and splits no character", () => {
  const unit = fc.constantFrom("a", "é", "😀", " ", "  ", "\n", "\n\n", "b c");
  fc.assert(
    fc.property(fc.array(unit, { minLength: 1, maxLength: 50 }), (units) => {
      const text = units.join("").repeat(8000);
      const pieces = piecesOf(text);
      assert.equal(pieces.join(""), text);
      for (const piece of pieces) {
        assert.ok(piece.isWellFormed() && piece.length <= 2 ** 20 && piece.length > 0);
      }
      pieces.slice(1).forEach((piece, i) => {
        if (!/\S[ \n]\S/.test(text)) return;
        assert.match(pieces[i].slice(-2) + "|" + piece.slice(0, 2), /\S\n\|\S|\S\| \S/);
      });
    }),
    { numRuns: 20 },
  );
  const unbroken = "😀".repeat(2 ** 20);
  assert.deepEqual(piecesOf(`a${unbroken}`).map((piece) => piece.length), [2 ** 20 - 1, 2 ** 20, 2]);
});

const tokenizer = await demoTokenizer();

test("demo: a long document has the tokens that it has in one piece, and one token ends and begins", async () => {
  const text = "And God said,\nLet there be light: and there was light.  It's 1611.\n\n".repeat(6000);
  const set = await readTrainingSet(fileOf(`${text}\fSecond.`), {
    tokenizer,
    contextLength: 512,
    batchSize: 1,
  });
  const expected = [...tokenizer.encode(text.trimEnd()), ...tokenizer.encode("Second."), 0];
  assert.equal(set.training.tokens, expected.length);
  const rows = new Map<string, number>();
  for (let i = 0; i < expected.length - 1; i += 512) {
    const key = expected.slice(i, i + 512).join();
    rows.set(key, (rows.get(key) ?? 0) + 1);
  }
  for (let step = 0; step < set.stepsPerEpoch; step++) {
    const { tokens } = set.batch(step);
    const key = [...tokens.subarray(0, Math.min(512, expected.length))].join().replace(/(,0)+$/, "");
    const known = [...rows.keys()].find((row) => row.replace(/(,0)+$/, "") === key);
    assert.ok(known !== undefined && rows.get(known)! > 0, `step ${step}`);
    rows.set(known, rows.get(known)! - 1);
  }
});

test("demo: a prompt and its completion are encoded as a model is asked, and learnt from the seam on", async () => {
  const fields = { prompt: "The people of", completion: " the LORD" };
  const options = { tokenizer, batchSize: 1, contextLength: 5, lossOn: "completion" as const };
  const set = await readTrainingSet(fileOf(JSON.stringify(fields), "jsonl"), options);
  const prompt = tokenizer.encode(fields.prompt);
  const completion = tokenizer.encode(fields.completion, { addSpecialTokens: false });
  const { tokens, targets } = set.batch(0);
  const all = [...prompt, ...completion, 0];
  assert.deepEqual([...tokens], all.slice(0, 5));
  assert.deepEqual(
    [...targets],
    [
      ...prompt.slice(1).map(() => noTarget),
      ...completion,
      0,
    ].slice(0, 5),
  );
});

test("demo: with a template that marks turns, the assistant's turn is learnt with the mark that ends it", async () => {
  const template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|endoftext|>\n{% endfor %}" +
    "{% if add_generation_prompt %}<assistant>{% endif %}";
  const marked = await openTokenizer(demoFolder({ "chat_template.jinja": template }));
  const messages = [{ role: "user", content: "Who?" }, { role: "assistant", content: "The LORD." }];
  const encode = (text: string) => marked.encode(text, { addSpecialTokens: false });
  const asked = encode("<user>Who?<|endoftext|>\n<assistant>");
  const answered = encode("The LORD.<|endoftext|>\n");
  const contextLength = asked.length + answered.length;
  const options = { tokenizer: marked, batchSize: 1, contextLength, lossOn: "completion" as const };
  const set = await readTrainingSet(fileOf(JSON.stringify({ messages }), "jsonl"), options);
  const { tokens, targets } = set.batch(0);
  assert.deepEqual([...tokens], [...asked, ...answered]);
  assert.deepEqual([...targets], [...asked.slice(1).map(() => noTarget), ...answered, noTarget]);
});

test("readTrainingSet() reads a line of 10 MB, and a million empty lines", async () => {
  const read = async (text: string, format: DataFormat): Promise<number> => {
    const options = { tokenizer: letters, contextLength: 4096, batchSize: 1 };
    return (await readTrainingSet(fileOf(text, format), options)).training.tokens;
  };
  const line = "In the beginning God created the heaven and the earth. ".repeat(182000);
  assert.equal(await read(JSON.stringify({ text: line }), "jsonl"), line.length + 1);
  assert.equal(await read(`a${"\n".repeat(10 ** 6)}b`, "text"), 10 ** 6 + 3);
});
