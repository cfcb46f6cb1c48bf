/**
 * An ONNX model of one product, as bytes.
 *
 * @module
 */
import type { LinearShape } from "../../mod.ts";

/** Bytes of one field of a protobuf message: a number, a text, or a message. */
function field(number: number, value: number | string | Uint8Array): number[] {
  if (typeof value === "number") return [8 * number, ...varint(value)];
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return [8 * number + 2, ...varint(bytes.length), ...bytes];
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [value % 128 + 128, ...varint(Math.floor(value / 128))];
}

const message = (...fields: readonly (readonly number[])[]): Uint8Array => Uint8Array.from(fields.flat());

/** A ValueInfoProto: a float32 tensor's name and sizes. */
function value(name: string, sizes: readonly number[]): Uint8Array {
  const shape = message(...sizes.map((size) => field(1, message(field(1, size)))));
  const tensor = message(field(1, 1), field(2, shape));
  return message(field(1, name), field(2, message(field(1, tensor))));
}

/** `y` (rows, out) = `x` (rows, in) `w` (in, out), of opset 13. */
export function matMulModel(rows: number, { out, in: inSize }: LinearShape): Uint8Array {
  const node = message(field(1, "x"), field(1, "w"), field(2, "y"), field(4, "MatMul"));
  const graph = message(
    field(1, node),
    field(2, "product"),
    field(11, value("x", [rows, inSize])),
    field(11, value("w", [inSize, out])),
    field(12, value("y", [rows, out])),
  );
  return message(field(1, 8), field(7, graph), field(8, message(field(1, ""), field(2, 13))));
}
