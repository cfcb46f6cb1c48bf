import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type GgufScalar, parseGgufHeader } from "../src/gguf/header.ts";
import { readGguf } from "../src/gguf/reader.ts";
import { ggufTypes } from "../src/gguf/types.ts";
import { ConfigError } from "../src/errors.ts";
import { bytesSource } from "../src/safetensors/mod.ts";
import { type Entry, type GgufParts, type Kind, writeGguf } from "./gguf_writer.ts";

const safe = (value: bigint): GgufScalar =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value)
    : value;

const scalars: Readonly<Record<Kind, fc.Arbitrary<GgufScalar>>> = {
  uint8: fc.integer({ min: 0, max: 255 }),
  int8: fc.integer({ min: -128, max: 127 }),
  uint16: fc.integer({ min: 0, max: 2 ** 16 - 1 }),
  int16: fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 }),
  uint32: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  int32: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  float32: fc.float(),
  bool: fc.boolean(),
  string: fc.string({ unit: "grapheme", maxLength: 80 }),
  uint64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(safe),
  int64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(safe),
  float64: fc.double(),
};

const entry: fc.Arbitrary<Entry> = fc.constantFrom(...Object.keys(scalars) as Kind[]).chain((kind) =>
  fc.oneof(
    scalars[kind].map((value) => ({ kind, value })),
    fc.array(scalars[kind], { maxLength: 8 }).map((list) => ({ kind, list })),
  )
);

const key = fc.string({ minLength: 1, maxLength: 30 }).filter((name) => name !== "general.alignment");

const tensor = fc.record({
  type: fc.constantFrom(...ggufTypes.keys()),
  blocks: fc.integer({ min: 1, max: 3 }),
  others: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }),
  fill: fc.nat(255),
}).map(({ type, blocks, others, fill }) => {
  const { blockSize, blockBytes } = ggufTypes.get(type)!;
  const bytes = new Uint8Array(others.reduce((product, size) => product * size, blocks * blockBytes));
  return { type, sizes: [blocks * blockSize, ...others], bytes: bytes.fill(fill) };
});

const legal: fc.Arbitrary<GgufParts> = fc.record({
  version: fc.constantFrom(2, 3),
  log: fc.integer({ min: 0, max: 8 }),
  metadata: fc.uniqueArray(fc.tuple(key, entry), { selector: ([name]) => name, maxLength: 6 }),
  names: fc.uniqueArray(fc.string({ minLength: 1, maxLength: 60 }), { maxLength: 5 }),
  tensors: fc.array(tensor, { minLength: 5, maxLength: 5 }),
}).map(({ version, log, metadata, names, tensors }) => ({
  version,
  alignment: 2 ** log,
  metadata: Object.fromEntries([
    ...metadata,
    ...(log === 5 ? [] : [["general.alignment", { kind: "uint32", value: 2 ** log }] as const]),
  ]),
  tensors: names.map((name, i) => ({ name, ...tensors[i] })),
}));

test("readGguf gives back any legal header, and each tensor's bytes", async () => {
  await fc.assert(fc.asyncProperty(legal, async (parts) => {
    const file = await readGguf(bytesSource(writeGguf(parts)));
    assert.equal(file.version, parts.version);
    const wanted = Object.entries(parts.metadata!).map(([name, { value, list }]) => [name, list ?? value]);
    assert.deepEqual([...file.metadata], wanted);
    assert.deepEqual([...file.tensors.keys()], parts.tensors!.map(({ name }) => name));
    for (const { name, type, sizes, bytes } of parts.tensors!) {
      const info = file.tensors.get(name)!;
      assert.equal(info.type, ggufTypes.get(type));
      assert.deepEqual(info.shape, sizes.slice().reverse());
      assert.deepEqual(await file.read(info), bytes);
    }
  }));
});

test("readGguf refuses a file that is cut anywhere, and takes no byte after its end", async () => {
  await fc.assert(fc.asyncProperty(legal, fc.nat(), async (parts, at) => {
    const bytes = writeGguf(parts);
    if (parts.tensors!.length === 0) return;
    await assert.rejects(readGguf(bytesSource(bytes.subarray(0, at % bytes.length))), ConfigError);
    const longer = new Uint8Array(bytes.length + parts.alignment!);
    longer.set(bytes);
    await assert.rejects(readGguf(bytesSource(longer)), /the tensors end at byte \d+, the file at \d+/);
  }));
});

test("readGguf says of any changed bytes that they are broken, or reads them", async () => {
  const change = fc.tuple(fc.nat(), fc.nat(255));
  await fc.assert(
    fc.asyncProperty(legal, fc.array(change, { minLength: 1, maxLength: 4 }), async (parts, changes) => {
      const bytes = writeGguf(parts);
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
      try {
        const { tensors } = await readGguf(bytesSource(bytes));
        for (const { begin, end } of tensors.values()) assert.ok(begin <= end && end <= bytes.length);
      } catch (error) {
        assert.ok(error instanceof ConfigError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});

test("readGguf reads a long header in parts, and no tensor with it", async () => {
  const metadata = {
    tokens: { kind: "string", list: Array.from({ length: 2e5 }, (_, i) => `token ${i}`) },
  } as const;
  const bytes = writeGguf({
    metadata,
    tensors: [{ name: "w", sizes: [2 ** 24], type: 24, bytes: new Uint8Array(2 ** 24) }],
  });
  const asked: number[] = [];
  const source = {
    ...bytesSource(bytes),
    read: (at: number, count: number) => {
      asked.push(count);
      return Promise.resolve(bytes.slice(at, at + count));
    },
  };
  const file = await readGguf(source);
  assert.equal((file.metadata.get("tokens") as string[]).at(-1), "token 199999");
  assert.deepEqual(asked, [2 ** 20, 3 * 2 ** 20]);
});

const one = (type: number, sizes: readonly number[], bytes: number) => ({
  ...{ name: "w", type, sizes, bytes: new Uint8Array(bytes) },
});

const unknownKind = writeGguf({ metadata: { a: { kind: "uint32", value: 1 } } });
// After the magic, the version, two counts, and a text of one byte.
unknownKind[24 + 9] = 13;

const refusals: readonly (readonly [string, Uint8Array, RegExp])[] = [
  ["an empty file", new Uint8Array(0), /the magic takes 1 bytes at byte 0, and the file ends at 0$/],
  ["another file", new TextEncoder().encode("GGML and more"), /starts with "GGML", not with GGUF$/],
  ["version 1", writeGguf({ version: 1 }), /its version is 1, supported are 2 and 3$/],
  ["version 4", writeGguf({ version: 4 }), /its version is 4/],
  ["a big-endian file", writeGguf({ version: 0x03000000 }), /it is big-endian/],
  [
    "many tensors",
    writeGguf({ counts: [2n ** 60n, 0] }),
    /the number of tensors is 1152921504606846976, and only 8/,
  ],
  [
    "many entries",
    writeGguf({ counts: [0, 2n ** 64n - 1n] }),
    /the number of metadata entries is 18446744073709551615/,
  ],
  ["an unknown kind", unknownKind, /metadata "a" has type 13, the format's types are 0 to 12$/],
  [
    "a tensor of an unknown type",
    writeGguf({ tensors: [one(4, [2], 8)] }),
    /tensor "w" has type 4, which is not known$/,
  ],
  [
    "rows of half a block",
    writeGguf({ tensors: [one(8, [48], 51)] }),
    /rows of 48 elements, and Q8_0 stores multiples of 32$/,
  ],
  [
    "five dimensions",
    writeGguf({ tensors: [one(0, [1, 1, 1, 1, 1], 4)] }),
    /has 5 dimensions, the rule is 1 to 4$/,
  ],
  ["no dimension", writeGguf({ tensors: [one(0, [], 4)] }), /has 0 dimensions, the rule is 1 to 4$/],
  ["a size of 0", writeGguf({ tensors: [one(0, [0], 4)] }), /a size of 0, the rule is 1 to 2\^53 - 1$/],
  [
    "a huge tensor",
    writeGguf({ tensors: [one(0, [2 ** 40, 2 ** 40], 8)] }),
    /has more than 2\^53 - 1 bytes$/,
  ],
  [
    "a tensor past the end",
    writeGguf({ tensors: [one(0, [300], 8)] }),
    /tensor "w" ends at byte \d+, and the file at \d+: it is cut off$/,
  ],
  [
    "an unaligned tensor",
    writeGguf({ tensors: [one(0, [2], 8)], offsetOf: () => 8 }),
    /begins at data byte 8, the rule is a multiple of 32$/,
  ],
  [
    "a hole",
    writeGguf({ tensors: [one(0, [2], 8)], offsetOf: () => 64 }),
    /begins at data byte 64, which leaves a hole after byte 0$/,
  ],
  [
    "an overlap",
    writeGguf({ tensors: [one(0, [2], 8), { ...one(0, [2], 8), name: "v" }], offsetOf: () => 0 }),
    /tensor "v" begins at data byte 0, but bytes before 32 are another tensor's$/,
  ],
  [
    "a name twice",
    writeGguf({ tensors: [one(0, [2], 8), one(0, [2], 8)] }),
    /tensor "w" stands there twice$/,
  ],
  [
    "a long name",
    writeGguf({ tensors: [{ ...one(0, [2], 8), name: "w".repeat(64) }] }),
    /has 64 bytes or more$/,
  ],
  [
    "an alignment of 48",
    writeGguf({ metadata: { "general.alignment": { kind: "uint32", value: 48 } } }),
    /"general.alignment" is 48, the rule is a power of two/,
  ],
];

for (const [what, bytes, message] of refusals) {
  test(`readGguf refuses ${what}`, async () => {
    await assert.rejects(readGguf(bytesSource(bytes)), message);
  });
}

test("parseGgufHeader refuses a text that is no UTF-8, and a truth value of 2", () => {
  const text = writeGguf({ metadata: { a: { kind: "string", value: "b" } } });
  text[text.length - 1] = 0xff;
  assert.throws(() => parseGgufHeader(text, text.length), /metadata "a" is not UTF-8$/);
  const flag = writeGguf({ metadata: { a: { kind: "bool", value: true } } });
  flag[flag.length - 1] = 2;
  assert.throws(
    () => parseGgufHeader(flag, flag.length),
    /metadata "a" is the byte 2, and a truth value is 0 or 1$/,
  );
});
