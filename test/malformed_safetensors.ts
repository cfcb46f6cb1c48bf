/**
 * Files that break the rules of safetensors, each another one: for our tests, and for a bench of readers.
 *
 * @module
 */

const encoder = new TextEncoder();

/** A file from a header's text or bytes and its data; `size` lies about the header. */
export function file(header: string | Uint8Array, dataBytes = 0, size?: bigint): Uint8Array {
  const text = typeof header === "string" ? encoder.encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, size ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

/** The header of one I32 tensor of 4 elements, fields replaced. */
export function one(
  fields: { dtype?: string; shape?: string; offsets?: string; name?: string } = {},
): string {
  const { name = '"test"', dtype = '"I32"', shape = "[2,2]", offsets = "[0,16]" } = fields;
  return `{${name}:{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}}`;
}

/** What each case breaks: the sentence, the bytes, what the message must say. */
export const malformed: readonly (readonly [rule: string, bytes: Uint8Array, message: RegExp])[] = [
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
