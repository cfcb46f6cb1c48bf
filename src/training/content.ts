/**
 * A text to train on, wherever it is: in memory, or arriving.
 *
 * @module
 */
import type { DataFile } from "./data.ts";
import type { DataFormat } from "./documents.ts";
import type { ByteStream } from "./lines.ts";

/** A text to train on or to evaluate with; bytes are UTF-8. */
export interface TrainingText {
  readonly content: string | Uint8Array | ReadableStream<Uint8Array> | ByteStream;
  /** Default `text`. */
  readonly format?: DataFormat;
}

/** Not every browser's streams can be iterated. */
async function* iterated(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel();
  }
}

async function* bytesOf(content: TrainingText["content"]): AsyncGenerator<Uint8Array> {
  if (typeof content === "string") yield new TextEncoder().encode(content);
  else if (content instanceof Uint8Array) yield content;
  else if ("getReader" in content) yield* iterated(content);
  else yield* content;
}

/** The text as a file that is read once. */
export function fileOf({ content, format = "text" }: TrainingText): DataFile {
  if (format !== "text" && format !== "jsonl" && format !== "json") {
    throw new RangeError(`Cannot use format "${format}": it must be text, jsonl or json`);
  }
  return { bytes: bytesOf(content), format };
}
