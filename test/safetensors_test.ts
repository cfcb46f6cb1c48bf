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
import { file, malformed, one } from "./malformed_safetensors.ts";

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

for (const [rule, bytes, message] of malformed) {
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
