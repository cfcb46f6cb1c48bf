/**
 * Numbers of answers: lists, base64, probabilities.
 *
 * @module
 */
import type { EncodingService } from "../engine/encoding.ts";
import type { HostTensor } from "../tensor.ts";

/** Characters that a call may have as arguments. */
const slice = 2 ** 13;

/** The numbers of a vector; of a matrix, those of all rows, one after the other. */
function numbersOf({ data }: HostTensor): Float32Array {
  return data as Float32Array;
}

/** A vector as a list, and a matrix as a list of such lists. */
export function listOf(t: HostTensor): number[];
export function listOf(t: HostTensor): number[] | number[][] {
  const numbers = numbersOf(t);
  if (t.shape.length === 1) return [...numbers];
  const [rows, width] = t.shape;
  return Array.from({ length: rows }, (_, row) => [...numbers.subarray(row * width, (row + 1) * width)]);
}

/** Little-endian float32 in base64, as OpenAI has embeddings. */
export function base64Of(t: HostTensor): string {
  const numbers = numbersOf(t), bytes = new Uint8Array(4 * numbers.length), view = new DataView(bytes.buffer);
  numbers.forEach((value, i) => view.setFloat32(4 * i, value, true));
  let text = "";
  for (let at = 0; at < bytes.length; at += slice) {
    text += String.fromCharCode(...bytes.subarray(at, at + slice));
  }
  return btoa(text);
}

const sigmoid = (x: number): number => x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x));

/**
 * What logits say by their kind, as in transformers' pipeline. A regression's are what they are. Labels that may hold
 * together, and a label alone, have the sigmoid; others share the softmax.
 */
export function probabilities(logits: HostTensor, problem: EncodingService["problem"]): number[] {
  const numbers = [...numbersOf(logits)];
  if (problem === "regression") return numbers;
  if (problem === "multi_label_classification" || numbers.length === 1) return numbers.map(sigmoid);
  const most = Math.max(...numbers), powers = numbers.map((value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** The cosine of the angle between two vectors; 0 where one is 0. */
export function cosine(a: HostTensor, b: HostTensor): number {
  const x = numbersOf(a), y = numbersOf(b);
  let dot = 0, left = 0, right = 0;
  for (let i = 0; i < x.length; i++) {
    dot += x[i] * y[i];
    left += x[i] * x[i];
    right += y[i] * y[i];
  }
  return left === 0 || right === 0 ? 0 : dot / Math.sqrt(left * right);
}
