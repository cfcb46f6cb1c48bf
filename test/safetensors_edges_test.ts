/**
 * The edges of safetensors' rules: the last value that is accepted and the first that is refused.
 */
import { test } from "node:test";
import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { parseSafetensors, SafetensorsError, writeSafetensors } from "../src/safetensors/mod.ts";

/** A file of a header's text and so many bytes of data. */
function file(header: string, dataBytes = 0): Uint8Array {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

/** A file of one empty tensor, its name written as JSON. */
const named = (json: string): Uint8Array => file(`{${json}:{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`);

const nameOf = (json: string): string => [...parseSafetensors(named(json)).tensors.keys()][0];

test("parseSafetensors reads escapes up to and beyond the surrogates, and pairs of them", () => {
  assert.equal(nameOf('"\\ud7ff"'), "\ud7ff");
  assert.equal(nameOf('"\\ue000"'), "\ue000");
  assert.equal(nameOf('"\\ud800\\udc00"'), "\u{10000}");
  assert.equal(nameOf('"\\udbff\\udfff"'), "\u{10ffff}");
  assert.equal(nameOf('"a\\u0041b\\nc"'), "aAb\nc");
});

test("parseSafetensors refuses half a pair of surrogates, wherever the other half is wrong", () => {
  const halves = ["\\udc00", "\\udfff", "\\ud800", "\\udbff", "\\ud800\\udbff", "\\ud800\\ue000"];
  for (const half of [...halves, "\\udc00\\udc00", "\\ud800x\\udc00", "\\udc00\\ud800"]) {
    assert.throws(() => nameOf(`"${half}"`), /half a surrogate pair/, half);
  }
});

test("parseSafetensors refuses \\u without four hexadecimal digits", () => {
  for (const digits of ["g041", "004g", "04", " 041", "0x41", "+041"]) {
    assert.throws(() => nameOf(`"\\u${digits}"`), /four hexadecimal digits/, digits);
  }
});

test("parseSafetensors takes a space in a string, and no character below it", () => {
  assert.equal(nameOf('" a "'), " a ");
  assert.throws(() => nameOf('"a\u001f"'), /control character/);
});

test("parseSafetensors takes white space between tokens and after the object alone", () => {
  const spaced = '{ "a" :\t{ "dtype" : "U8" , "shape" : [ 0 ] , "data_offsets" : [ 0 , 0 ] } } \n\r';
  assert.deepEqual([...parseSafetensors(file(spaced)).tensors.keys()], ["a"]);
  assert.throws(() => parseSafetensors(file(`${spaced}\u00a0`)), /nothing after the object/);
});

test("parseSafetensors refuses a limit of the header that is no count, and takes 0", () => {
  const empty = file("{}");
  for (const maxHeaderBytes of [-1, 1.5, NaN, Infinity, 100_000_001]) {
    assert.throws(() => parseSafetensors(empty, { maxHeaderBytes }), RangeError, `${maxHeaderBytes}`);
  }
  assert.throws(() => parseSafetensors(empty, { maxHeaderBytes: 0 }), /the limit is 0/);
  assert.throws(() => parseSafetensors(empty, { maxHeaderBytes: 1 }), /the limit is 1$/);
  assert.equal(parseSafetensors(empty, { maxHeaderBytes: 2 }).tensors.size, 0);
});

test("parseSafetensors refuses a header that is one byte longer than the file", () => {
  assert.throws(() => parseSafetensors(file("{}").subarray(0, 9)), /2 bytes, but only 1 follow/);
});

test("parseSafetensors cuts what it quotes, and says by how much a tensor is off", () => {
  const message = (bytes: Uint8Array): string => {
    try {
      parseSafetensors(bytes);
    } catch (error) {
      assert.ok(error instanceof SafetensorsError);
      return error.message;
    }
    assert.fail("it was accepted");
  };
  const broken = (name: string): string =>
    message(
      file(
        `{"0":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"${name}":{"dtype":"U8","shape":[3],"data_offsets":[1,3]}}`,
        3,
      ),
    );
  assert.ok(broken("n".repeat(100)).includes(`"${"n".repeat(100)}"`));
  assert.ok(broken("n".repeat(101)).includes(`"${"n".repeat(97)}..."`));
  assert.match(broken("a"), /takes 3 bytes, its offsets span 2$/);
  assert.match(message(file("x".repeat(50))), /starts with "x{12}", not/);
  const digits = "9".repeat(60);
  const large = message(file(`{"a":{"dtype":"U8","shape":[${digits}],"data_offsets":[0,0]}}`));
  assert.ok(large.includes(`integer ${"9".repeat(40)} is greater`), large);
  const shape = Array(20).fill(1);
  const long = message(file(`{"a":{"dtype":"U8","shape":[${shape}],"data_offsets":[0,0]}}`));
  assert.ok(long.includes(`shape [${shape.slice(0, 16)}] takes`), long);
});

const empty = (name: string) => ({ name, dtype: "U8" as const, shape: [0], bytes: new Uint8Array() });

test("writeSafetensors orders names as their UTF-8 bytes are ordered", () => {
  const ordered = [
    "",
    "a",
    "aa",
    "ab",
    "b",
    "\ue000",
    "\uffff",
    "\u{10000}",
    "\u{10000}a",
    "\u{10001}",
    "\u{1f600}",
  ];
  const bytes = writeSafetensors([...ordered].reverse().map(empty));
  assert.deepEqual([...parseSafetensors(bytes).tensors.keys()], ordered);
  const utf8 = [...ordered].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  assert.deepEqual(ordered, utf8);
});

test("writeSafetensors refuses sizes that are no counts", () => {
  for (const size of [-1, 0.5, NaN, 2 ** 53]) {
    assert.throws(
      () => writeSafetensors([{ ...empty("a"), shape: [size, 0] }]),
      /a size that is no count/,
      `${size}`,
    );
  }
});
