import { test } from "node:test";
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import fc from "fast-check";
import {
  bytesSource,
  dtypeBits,
  fromTensor,
  layoutSafetensors,
  openSafetensors,
  parseSafetensors,
  type SafetensorsDtype,
  SafetensorsError,
  type TensorView,
  toFloat32,
  toInt32,
  toTensor,
  writeSafetensors,
} from "../src/safetensors/mod.ts";
import { tensor } from "../src/tensor.ts";
import { damagedSafetensors, safetensorsFiles } from "../src/testing/mod.ts";

const encoder = new TextEncoder();

/** A file from a header's text or bytes and its data; `size` lies about the header. */
function file(header: string | Uint8Array, dataBytes = 0, size?: bigint): Uint8Array {
  const text = typeof header === "string" ? encoder.encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, size ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

/** The header of one I32 tensor of 4 elements, fields replaced. */
function one(fields: { dtype?: string; shape?: string; offsets?: string; name?: string } = {}): string {
  const { name = '"test"', dtype = '"I32"', shape = "[2,2]", offsets = "[0,16]" } = fields;
  return `{${name}:{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}}`;
}

/** Both readers refuse the bytes, with the same message. */
async function refuses(bytes: Uint8Array, message: RegExp): Promise<void> {
  const check = (error: unknown): true => {
    assert.ok(error instanceof SafetensorsError, `${error}`);
    assert.match(error.message, message);
    return true;
  };
  assert.throws(() => parseSafetensors(bytes), check);
  await assert.rejects(openSafetensors(bytesSource(bytes)), check);
}

/** What each case breaks: the sentence, the bytes, what the message must say. */
const refused: readonly (readonly [rule: string, bytes: Uint8Array, message: RegExp])[] = [
  ["an empty file (header too small)", new Uint8Array(0), /8 bytes of header size, got 0/],
  ["a file of 7 bytes", new Uint8Array(7), /8 bytes of header size, got 7/],
  [
    "a header size above the limit (header too large)",
    file(one(), 16, 0xffffff000000003cn),
    /limit is 100000000/,
  ],
  [
    "a header size of one above the limit",
    file("{}", 0, 100_000_001n),
    /100000001 bytes, the limit is 100000000/,
  ],
  ["a header size beyond the file (invalid header length)", file("", 0, 60n), /60 bytes, but only 0 follow/],
  ["a header that is not UTF-8", file(new Uint8Array([0xff])), /not UTF-8/],
  ["UTF-8 that encodes a surrogate", file(new Uint8Array([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22])), /not UTF-8/],
  ["overlong UTF-8", file(new Uint8Array([0x7b, 0xc1, 0xbb])), /not UTF-8/],
  ["a header that is not JSON", file("{"), /expected ", found the end/],
  ["a header of no bytes", file(""), /starts with "", not with \{/],
  ["a header that starts with whitespace", file("\t\n{}"), /not with \{/],
  ["a header that starts with a byte order mark", file("\ufeff{}"), /not with \{/],
  ["a header that is an array", file("[]"), /not with \{/],
  ["text after the header's object", file("{}x"), /expected nothing after the object, found "x"/],
  ["a zero byte after the header's object", file("{}\0"), /expected nothing after the object/],
  ["a trailing comma", file("{},"), /expected nothing after the object/],
  ["a trailing comma in an object", file(one().replace("}}", "},}"), 16), /expected "/],
  ["a trailing comma in an array", file(one({ shape: "[2,2,]" }), 16), /non-negative integer, found/],
  ["a missing colon", file('{"a" 1}'), /expected :, found "1}"/],
  ["a key without quotes", file("{a:1}"), /expected ", found "a:1}"/],
  ["a string without an end", file('{"a'), /string does not end/],
  ["a control character in a string", file(one({ name: '"a\nb"' }), 16), /control character/],
  ["an unknown escape", file(one({ name: '"\\x"' }), 16), /unknown escape/],
  ["an escape at the end", file('{"\\'), /unknown escape/],
  ["a short unicode escape", file(one({ name: '"\\u12g4"' }), 16), /four hexadecimal digits/],
  ["half a surrogate pair, high", file(one({ name: '"\\ud800"' }), 16), /half a surrogate pair/],
  ["half a surrogate pair, low", file(one({ name: '"\\udc00\\ud800"' }), 16), /half a surrogate pair/],
  ["two high surrogates", file(one({ name: '"\\ud800\\ud800"' }), 16), /half a surrogate pair/],
  [
    "ten tensors on the same bytes (JSON attack)",
    jsonAttack(),
    /tensor "weight_1": its data begins at byte 0, but/,
  ],
  [
    "data after the last tensor (incomplete buffer)",
    file(one(), 16 + 34),
    /end at data byte 16, the data at 50/,
  ],
  ["missing data", file(one(), 14), /end at data byte 16, the data at 14/],
  ["data without tensors", file("{}", 1), /end at data byte 0, the data at 1/],
  [
    "a span that shape and dtype do not need (invalid info)",
    file(one({ offsets: "[0, 4]" }), 4),
    /"test": I32 of shape \[2,2\] takes 16 bytes, its offsets span 4/,
  ],
  [
    "a shape whose product overflows",
    file(one({ shape: "[2,18446744073709551614]" }), 16),
    /"test": the integer 18446744073709551614 is greater/,
  ],
  [
    "a shape whose product passes 2^53",
    file(one({ shape: "[94906267,94906267]" }), 16),
    /"test": its shape has more than 2\^53/,
  ],
  [
    "a bit count that passes 2^53",
    file(one({ shape: "[9007199254740991]" }), 16),
    /"test": its shape has more than 2\^53/,
  ],
  [
    "an overflow hidden by a zero",
    file(one({ shape: "[9007199254740991,9007199254740991,0]", offsets: "[0,0]" })),
    /2\^53/,
  ],
  [
    "a size that rounds to another in float64",
    file(one({ shape: "[9007199254740993]" }), 16),
    /9007199254740993 is greater/,
  ],
  ["offsets past 2^53", file(one({ offsets: "[0,9007199254740992]" }), 16), /9007199254740992 is greater/],
  [
    "an end before its begin",
    file(one({ shape: "[0]", offsets: "[4,0]" })),
    /ends at byte 0, before it begins at 4/,
  ],
  [
    "a hole before the first tensor",
    file(one({ offsets: "[4,20]" }), 20),
    /"test": its data begins at byte 4, which leaves a hole/,
  ],
  ["a hole between tensors", file(two("[0,4]", "[8,12]"), 12), /"b": .* leaves a hole after byte 4/],
  [
    "overlapping tensors",
    file(two("[0,4]", "[2,6]"), 6),
    /"b": its data begins at byte 2, but bytes before 4/,
  ],
  [
    "a 0-sized tensor in the middle of another",
    file(`${two("[0,4]", "[4,8]").slice(0, -1)},"z":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}}`, 8),
    /"z": its data begins at byte 2/,
  ],
  [
    "F4 elements that fill no whole byte",
    file(one({ dtype: '"F4"', shape: "[1]", offsets: "[0,1]" }), 1),
    /"test": .* 4 bits, which is no whole/,
  ],
  [
    "F6 elements that fill no whole byte",
    file(one({ dtype: '"F6_E2M3"', shape: "[3]", offsets: "[0,2]" }), 2),
    /18 bits/,
  ],
  ["an unknown dtype", file(one({ dtype: '"F31"' }), 16), /"test": its dtype "F31" is not one/],
  ["a dtype in lower case", file(one({ dtype: '"i32"' }), 16), /its dtype "i32" is not one/],
  [
    "a dtype that every object has",
    file(one({ dtype: '"constructor"' }), 16),
    /its dtype "constructor" is not one/,
  ],
  ["a dtype that is no string", file(one({ dtype: "4" }), 16), /"test": expected ", found "4/],
  [
    "a negative size",
    file(one({ shape: "[-2,-2]" }), 16),
    /"test": expected a non-negative integer, found "-2/,
  ],
  ["a negative zero", file(one({ shape: "[-0]", offsets: "[0,0]" })), /non-negative integer/],
  ["a fraction", file(one({ shape: "[4.0]" }), 16), /fraction or exponent/],
  ["an exponent", file(one({ shape: "[4e0]" }), 16), /fraction or exponent/],
  ["a leading zero", file(one({ shape: "[04]" }), 16), /starts with a zero/],
  ["a size that is a string", file(one({ shape: '["4"]' }), 16), /non-negative integer/],
  ["a size that is null", file(one({ shape: "[null]" }), 16), /non-negative integer/],
  ["a shape that is a number", file(one({ shape: "4" }), 16), /expected \[, found "4/],
  ["one offset", file(one({ offsets: "[16]" }), 16), /data_offsets has 1 entries/],
  ["three offsets", file(one({ offsets: "[0,16,16]" }), 16), /data_offsets has 3 entries/],
  ["a tensor without dtype", file('{"a":{"shape":[0],"data_offsets":[0,0]}}'), /"a": it has no dtype/],
  ["a tensor without shape", file('{"a":{"dtype":"U8","data_offsets":[0,0]}}'), /"a": it has no shape/],
  ["a tensor without offsets", file('{"a":{"dtype":"U8","shape":[0]}}'), /"a": it has no data_offsets/],
  ["a tensor that is null", file('{"a":null}'), /"a": expected \{, found "null}"/],
  ["a tensor that is an array", file('{"a":["U8",[0],[0,0]]}'), /"a": expected \{/],
  ["an unknown field", file(one().replace('"dtype"', '"x":1,"dtype"'), 16), /"test": it has a field "x"/],
  [
    "two tensors of one name",
    file(
      '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
    ),
    /the key "a" comes twice/,
  ],
  [
    "two tensors of one name, one escaped",
    file(
      '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
    ),
    /the key "a" comes twice/,
  ],
  [
    "a field that comes twice",
    file(one().replace('"dtype"', '"shape":[4],"dtype"'), 16),
    /"test": the key "shape" comes twice/,
  ],
  [
    "metadata that comes twice",
    file('{"__metadata__":{},"__metadata__":{}}'),
    /the key "__metadata__" comes twice/,
  ],
  [
    "a metadata key that comes twice",
    file('{"__metadata__":{"a":"1","a":"2"}}'),
    /__metadata__: the key "a" comes twice/,
  ],
  ["metadata of numbers", file('{"__metadata__":{"a":1}}'), /__metadata__: expected ", found "1/],
  ["metadata of objects", file('{"__metadata__":{"a":{"b":"c"}}}'), /__metadata__: expected "/],
  ["metadata that is no object", file('{"__metadata__":[]}'), /__metadata__: expected \{/],
  ["metadata that is a word like null", file('{"__metadata__":nullo}'), /expected \}, found "o\}"/],
  ["a deep nest", file("{".repeat(100_000)), /expected "/],
  ["a deep array", file(one({ shape: "[".repeat(100_000) })), /non-negative integer/],
];

function jsonAttack(): Uint8Array {
  const entry = '{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}';
  return file(`{${Array.from({ length: 10 }, (_, i) => `"weight_${i}":${entry}`)}}`, 16);
}

function two(first: string, second: string): string {
  const entry = (offsets: string): string => `{"dtype":"U8","shape":[4],"data_offsets":${offsets}}`;
  return `{"a":${entry(first)},"b":${entry(second)}}`;
}

for (const [rule, bytes, message] of refused) {
  test(`parseSafetensors and openSafetensors refuse ${rule}`, () => refuses(bytes, message));
}

test("parseSafetensors accepts a header of whitespace after its object", () => {
  assert.equal(parseSafetensors(file("{}\r \t\n")).tensors.size, 0);
});

test("parseSafetensors accepts 0-sized tensors anywhere between others", () => {
  const empty = (at: number): string => `{"dtype":"F32","shape":[2,0,3],"data_offsets":[${at},${at}]}`;
  const header = `{"z":${empty(8)},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]},"y":${empty(4)},` +
    `"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"x":${empty(0)}}`;
  const read = parseSafetensors(file(header, 8));
  assert.deepEqual([...read.tensors.keys()], ["x", "a", "y", "b", "z"]);
  assert.deepEqual(read.read("y").shape, [2, 0, 3]);
  assert.equal(read.read("y").bytes.length, 0);
});

test("parseSafetensors accepts a 0-rank tensor as one element", () => {
  const read = parseSafetensors(file(one({ shape: "[]", offsets: "[0,4]" }), 4));
  assert.deepEqual(toTensor(read.read("test")), { shape: [], dtype: "int32", data: new Int32Array(1) });
});

test("parseSafetensors accepts escapes, the empty name and __proto__ as names and metadata", () => {
  const entry = (at: number): string => `{"data_offsets" : [ ${at} , ${at + 1} ],"shape":[1],"dtype":"U8"}`;
  const header =
    `{"":${entry(0)},"__proto__":${entry(1)},"\\ud83d\\ude00\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9":${entry(2)},` +
    `"__metadata__":{"__proto__":"x","":""}}`;
  const read = parseSafetensors(file(header, 3));
  assert.deepEqual([...read.tensors.keys()], ["", "__proto__", '😀"\\/\b\f\n\r\té']);
  assert.deepEqual([...read.metadata], [["__proto__", "x"], ["", ""]]);
  assert.deepEqual(Object.keys(Object.prototype), []);
});

test("parseSafetensors reads every dtype of the format", () => {
  const codes = Object.keys(dtypeBits) as SafetensorsDtype[];
  assert.equal(codes.length, 22);
  for (const dtype of codes) {
    const bytes = dtypeBits[dtype];
    const read = parseSafetensors(
      file(one({ dtype: `"${dtype}"`, shape: "[8]", offsets: `[0,${bytes}]` }), bytes),
    );
    assert.equal(read.read("test").bytes.length, bytes);
  }
});

test("maxHeaderBytes refuses a longer header, accepts one of its size, and is itself at most the format's", () => {
  const bytes = file("{}      ");
  assert.equal(parseSafetensors(bytes, { maxHeaderBytes: 8 }).tensors.size, 0);
  assert.throws(() => parseSafetensors(bytes, { maxHeaderBytes: 7 }), /8 bytes, the limit is 7/);
  assert.throws(() => parseSafetensors(bytes, { maxHeaderBytes: 100_000_001 }), RangeError);
  assert.throws(() => parseSafetensors(bytes, { maxHeaderBytes: NaN }), RangeError);
});

test("read refuses a name that is not in the file", async () => {
  const bytes = file(one(), 16);
  const message = {
    name: "SafetensorsError",
    message: /tensor "toString": the file has no tensor of that name/,
  };
  assert.throws(() => parseSafetensors(bytes).read("toString"), message);
  await assert.rejects((await openSafetensors(bytesSource(bytes))).read("toString"), message);
});

test("openSafetensors reads the prefix, the header and single tensors, nothing else", async () => {
  const bytes = writeSafetensors([u8("a", 1000), u8("b", 10)]);
  const ranges: number[][] = [];
  const source = {
    sizeBytes: bytes.length,
    read: (at: number, count: number) => {
      ranges.push([at, count]);
      return Promise.resolve(bytes.slice(at, at + count));
    },
  };
  const opened = await openSafetensors(source);
  assert.deepEqual((await opened.read("b")).bytes, u8("b", 10).bytes);
  assert.deepEqual(ranges, [[0, 8], [8, bytes.length - 1010 - 8], [bytes.length - 10, 10]]);
});

test("openSafetensors refuses a source that gives fewer bytes than asked for", async () => {
  const bytes = file(one(), 16);
  let kept = bytes;
  const source = {
    sizeBytes: bytes.length,
    read: (at: number, n: number) => Promise.resolve(kept.subarray(at, at + n)),
  };
  const opened = await openSafetensors(source);
  kept = bytes.subarray(0, bytes.length - 1);
  await assert.rejects(opened.read("test"), {
    name: "SafetensorsError",
    message: /asked for 16 bytes at .* gave 15/,
  });
});

test("parseSafetensors gives views where the alignment allows and copies where it does not", () => {
  for (let shift = 0; shift < 8; shift++) {
    const values = new Float32Array([1, -2, 3.5, 4]);
    const written = writeSafetensors([fromTensor("x", tensor(values))]);
    const buffer = new Uint8Array(written.length + shift);
    buffer.set(written, shift);
    const { bytes } = parseSafetensors(buffer.subarray(shift)).read("x");
    assert.equal(bytes.byteOffset % 4, 0);
    assert.equal(bytes.buffer === buffer.buffer, shift % 4 === 0);
    assert.deepEqual(toFloat32({ name: "x", dtype: "F32", shape: [4], bytes }), values);
  }
});

test("parseSafetensors copies a tensor whose own offset is odd", () => {
  const header =
    '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F64","shape":[1],"data_offsets":[1,9]}}';
  const bytes = file(header, 9);
  new DataView(bytes.buffer).setFloat64(bytes.length - 8, 0.1, true);
  assert.deepEqual(toFloat32(parseSafetensors(bytes).read("b")), new Float32Array([0.1]));
});

test("toTensor keeps F32, F16, BF16, I32 and U32 and refuses the rest", () => {
  const bytes = new Uint8Array([0, 0x3c, 0x80, 0x3f]);
  const elementsIn = (dtype: SafetensorsDtype): number => 32 / dtypeBits[dtype];
  const as = (dtype: SafetensorsDtype): unknown => {
    const { data, dtype: kept } = toTensor({ name: "x", dtype, shape: [elementsIn(dtype)], bytes });
    return [kept, ...data];
  };
  assert.deepEqual(as("F16"), ["float16", 0x3c00, 0x3f80]);
  assert.deepEqual(as("BF16"), ["bfloat16", 0x3c00, 0x3f80]);
  assert.deepEqual(as("I32"), ["int32", 0x3f803c00]);
  assert.deepEqual(as("U32"), ["uint32", 0x3f803c00]);
  assert.deepEqual(as("F32"), ["float32", new Float32Array(new Uint32Array([0x3f803c00]).buffer)[0]]);
  assert.throws(() => as("I16"), { name: "TypeError", message: /tensor "x": its dtype is I16/ });
});

test("toInt32 reads integers of every size exactly and refuses the rest", () => {
  const arrays = {
    U8: new Uint8Array([0, 255]),
    I8: new Int8Array([-128, 127]),
    U16: new Uint16Array([0, 65535]),
    I16: new Int16Array([-32768, 32767]),
    I32: new Int32Array([-(2 ** 31), 2 ** 31 - 1]),
    U32: new Uint32Array([0, 2 ** 31 - 1]),
    I64: new BigInt64Array([-(2n ** 31n), 2n ** 31n - 1n]),
  } as const;
  const view = (dtype: SafetensorsDtype, { buffer }: { readonly buffer: ArrayBuffer }) => ({
    name: "x",
    dtype,
    shape: [2],
    bytes: new Uint8Array(buffer),
  });
  for (const [dtype, values] of Object.entries(arrays)) {
    assert.deepEqual(
      toInt32(view(dtype as SafetensorsDtype, values)),
      Int32Array.from(values, Number),
      dtype,
    );
  }
  const past = /^RangeError: Cannot read tensor "x" as int32: element 1 is /;
  assert.throws(() => toInt32(view("U32", new Uint32Array([0, 2 ** 31]))), past);
  assert.throws(() => toInt32(view("I64", new BigInt64Array([0n, 2n ** 31n]))), past);
  assert.throws(() => toInt32(view("I64", new BigInt64Array([0n, -(2n ** 53n)]))), past);
  for (const dtype of ["F32", "F64", "BOOL", "U64"] as const) {
    assert.throws(
      () => toInt32(view(dtype, new Float64Array(2))),
      /^TypeError: Cannot read tensor "x" as int32/,
      dtype,
    );
  }
});

test("toFloat32 widens F16 and BF16, rounds F64 and refuses integers", () => {
  const bytes = new Uint8Array([0, 0x3c, 0x80, 0x3f]);
  assert.deepEqual([...toFloat32({ name: "x", dtype: "F16", shape: [2], bytes })], [1, 1.875]);
  assert.deepEqual(toFloat32({ name: "x", dtype: "BF16", shape: [2], bytes })[1], 1);
  const doubles = new Uint8Array(new Float64Array([1 / 3, 1e300]).buffer);
  assert.deepEqual([...toFloat32({ name: "x", dtype: "F64", shape: [2], bytes: doubles })], [
    Math.fround(1 / 3),
    Infinity,
  ]);
  assert.throws(() => toFloat32({ name: "x", dtype: "I32", shape: [1], bytes }), TypeError);
});

function u8(name: string, count: number): TensorView {
  return { name, dtype: "U8", shape: [count], bytes: Uint8Array.from({ length: count }, (_, i) => i * 7) };
}

test("writeSafetensors lays out by alignment, then by name in code points, and pads the header to 8", () => {
  const spec = (name: string, dtype: SafetensorsDtype): TensorView => ({
    name,
    dtype,
    shape: [1],
    bytes: new Uint8Array(dtypeBits[dtype] / 8),
  });
  const names = ["\uffff", "😀", "b", "a", "ab", ""];
  const views = [
    ...names.map((name) => spec(name, "F16")),
    spec("u", "U8"),
    spec("l", "I64"),
    spec("f", "F32"),
  ];
  const bytes = writeSafetensors(views, { metadata: { format: "pt" } });
  const size = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  assert.equal(size % 8, 0);
  assert.match(
    new TextDecoder().decode(bytes.subarray(8, 8 + size)),
    /^\{"__metadata__":\{"format":"pt"\},"l":.*\} *$/,
  );
  assert.deepEqual([...parseSafetensors(bytes).tensors.keys()], [
    "l",
    "f",
    "",
    "a",
    "ab",
    "b",
    "\uffff",
    "😀",
    "u",
  ]);
});

test("writeSafetensors refuses what the format cannot hold", () => {
  const write = (view: Partial<TensorView>) => () =>
    writeSafetensors([u8("a", 1), { ...u8("x", 4), ...view }]);
  assert.throws(write({ name: "__metadata__" }), SafetensorsError);
  assert.throws(write({ name: "\ud800" }), SafetensorsError);
  assert.throws(write({ name: "a" }), { name: "SafetensorsError", message: /tensor "a": there are two/ });
  assert.throws(write({ dtype: "toString" as SafetensorsDtype }), TypeError);
  assert.throws(write({ shape: [5] }), {
    name: "RangeError",
    message: /"x": U8 of shape \[5\] takes 5 bytes, got 4/,
  });
  assert.throws(write({ shape: [-4] }), RangeError);
  assert.throws(write({ shape: [0.5] }), RangeError);
  assert.throws(write({ shape: [2 ** 30, 2 ** 30] }), RangeError);
  assert.throws(write({ shape: [3], dtype: "F4" }), { name: "RangeError", message: /12 bits/ });
  assert.throws(() => writeSafetensors([], { metadata: { a: 1 as unknown as string } }), SafetensorsError);
  assert.throws(() => writeSafetensors([], { metadata: { "\udc00": "" } }), SafetensorsError);
});

test("writeSafetensors refuses a header above the format's limit", () => {
  assert.throws(() => writeSafetensors([], { metadata: { a: "a".repeat(100_000_000) } }), RangeError);
});

test("layoutSafetensors gives header and positions from which the same file can be written piece by piece", () => {
  const views = [u8("b", 3), u8("a", 5), fromTensor("w", tensor(new Float32Array([1, 2, 3])))];
  const layout = layoutSafetensors(views, { metadata: new Map([["k", "v"]]) });
  const pieces = [
    layout.header,
    ...layout.tensors.map(({ name }) => views.find((v) => v.name === name)!.bytes),
  ];
  const joined = new Uint8Array(layout.sizeBytes);
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  assert.equal(at, layout.sizeBytes);
  assert.deepEqual(joined, writeSafetensors(views, { metadata: { k: "v" } }));
});

test("writeSafetensors and both readers keep names, dtypes, shapes, bytes and metadata", async () => {
  await fc.assert(
    fc.asyncProperty(safetensorsFiles(), async ({ tensors, metadata, bytes }) => {
      const parsed = parseSafetensors(bytes);
      const opened = await openSafetensors(bytesSource(bytes));
      for (const read of [parsed, opened]) {
        assert.equal(read.tensors.size, tensors.length);
        assert.deepEqual(new Map(read.metadata), new Map(Object.entries(metadata)));
        for (const expected of tensors) assert.deepEqual(await read.read(expected.name), expected);
      }
      assert.deepEqual(writeSafetensors([...tensors].reverse(), { metadata }), bytes);
    }),
    { numRuns: 300 },
  );
});

/** A file that parses, or the one error. */
function parses(bytes: Uint8Array): boolean {
  try {
    const parsed = parseSafetensors(bytes);
    for (const name of parsed.tensors.keys()) parsed.read(name);
    return true;
  } catch (error) {
    assert.ok(error instanceof SafetensorsError, `${error}`);
    return false;
  }
}

test("parseSafetensors answers 50,000 headers of random bytes with SafetensorsError alone", () => {
  const property = fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (noise, braced) => {
    if (braced) noise.set([0x7b, 0x22].slice(0, noise.length));
    parses(file(noise, noise.length & 3));
    parses(noise);
  });
  fc.assert(property, { numRuns: 25_000 });
});

test("parseSafetensors answers 50,000 mutations of valid files with SafetensorsError alone", () => {
  const valid = [
    writeSafetensors([u8("a", 3), fromTensor("é", tensor(new Float32Array(4), [2, 2]))], {
      metadata: { format: "pt" },
    }),
    writeSafetensors([u8("", 0)]),
    writeSafetensors([{ name: "😀", dtype: "F4", shape: [2, 1, 3], bytes: new Uint8Array(3) }]),
  ];
  let accepted = 0;
  const property = fc.property(damagedSafetensors(fc.constantFrom(...valid)), (bytes) => {
    if (parses(bytes)) accepted++;
  });
  fc.assert(property, { numRuns: 50_000 });
  assert.ok(accepted > 100 && accepted < 40_000, `${accepted} of 50,000 were accepted`);
});

test("parseSafetensors reads the demo's base model and every adapter", async () => {
  const demo = new URL("../examples/demo/", import.meta.url);
  const adapters = await readdir(new URL("adapters/", demo));
  assert.ok(adapters.length >= 8);
  const paths = [
    "base/model.safetensors",
    ...adapters.map((name) => `adapters/${name}/adapter_model.safetensors`),
  ];
  for (const path of paths) {
    const parsed = parseSafetensors(new Uint8Array(await readFile(new URL(path, demo))));
    assert.ok(parsed.tensors.size > 0, path);
    assert.equal(parsed.metadata.get("format"), "pt", path);
    for (const name of parsed.tensors.keys()) {
      assert.ok(toFloat32(parsed.read(name)).every(Number.isFinite), name);
    }
  }
});
