/**
 * From tokens back to text, as the Python library `tokenizers` does it; or to bytes, also where they are no text yet.
 *
 * @module
 */
import { bytesOf, utf8 } from "./characters.ts";
import { byType, character, count, type Fields, flag, objects, text as textField } from "./fields.ts";
import { patternFinder, stretches } from "./patterns.ts";

/** How bytes that are no whole character stand in a text. */
export interface ByteWriting {
  /** The text of a run of bytes. */
  readonly run: (bytes: readonly number[], kind: "lossy" | "each") => string;
}

/** One step from tokens to text; the texts that come out, joined, are the text. */
export type Decoder = (tokens: readonly string[], bytes: ByteWriting) => readonly string[];

const lossy = new TextDecoder("utf-8", { ignoreBOM: true });
const strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/** Bytes as text, as the Python library writes it: U+FFFD for what is no character. */
export const asText: ByteWriting = {
  run(bytes, kind) {
    if (kind === "lossy") return lossy.decode(Uint8Array.from(bytes));
    try {
      return strict.decode(Uint8Array.from(bytes));
    } catch {
      // With a wrong byte fallback no byte of the run is right.
      return "\ufffd".repeat(bytes.length);
    }
  },
};

/** Lone surrogates stand for bytes here, as in Python's "surrogateescape": no text has them, so none is lost. */
const escape = 0xdc00;

/** Each byte as a lone surrogate, ASCII as itself: decoders look for spaces. */
export const asEscapes: ByteWriting = {
  run: (bytes) => bytes.map((byte) => String.fromCharCode(byte < 0x80 ? byte : escape + byte)).join(""),
};

/** The bytes of a text of ASCII; undefined of another. */
function asciiBytes(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x80) return undefined;
    bytes[i] = code;
  }
  return bytes;
}

/** The UTF-8 bytes of a text with such escapes. */
export function unescaped(text: string): Uint8Array {
  const ascii = asciiBytes(text);
  if (ascii) return ascii;
  const bytes: number[] = [];
  for (const stretch of text.match(/[\udc80-\udcff]+|[^\udc80-\udcff]+/gu) ?? []) {
    const first = stretch.charCodeAt(0);
    if (first >= escape && first < 0xe000) {
      for (let i = 0; i < stretch.length; i++) bytes.push(stretch.charCodeAt(i) - escape);
    } else for (const byte of utf8(stretch)) bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

function tidy(text: string): string {
  return text.replaceAll(" .", ".").replaceAll(" ?", "?").replaceAll(" !", "!").replaceAll(" ,", ",")
    .replaceAll(" ' ", "'").replaceAll(" n't", "n't").replaceAll(" 'm", "'m").replaceAll(" do not", " don't")
    .replaceAll(" 's", "'s").replaceAll(" 've", "'ve").replaceAll(" 're", "'re");
}

const byteLevel: Decoder = (tokens, bytes) => [
  bytes.run(tokens.flatMap((token) => bytesOf(token) ?? [...utf8(token)]), "lossy"),
];

const byteFallback: Decoder = (tokens, bytes) => {
  const decoded: string[] = [];
  let run: number[] = [];
  const flush = (): void => {
    if (run.length > 0) decoded.push(bytes.run(run, "each"));
    run = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
    if (byte) run.push(Number.parseInt(byte[1], 16));
    else {
      flush();
      decoded.push(token);
    }
  }
  flush();
  return decoded;
};

function wordPiece(fields: Fields): Decoder {
  const prefix = textField(fields, "prefix", "##");
  const cleans = flag(fields, "cleanup", true);
  return (tokens) =>
    tokens.map((token, i) => {
      const joined = i === 0
        ? token
        : prefix !== "" && token.startsWith(prefix)
        ? token.slice(prefix.length)
        : ` ${token}`;
      return cleans ? tidy(joined) : joined;
    });
}

function metaspace(fields: Fields): Decoder {
  const mark = character(fields, "replacement");
  const drops = textField(fields, "prepend_scheme", "always") !== "never";
  return (tokens) => tokens.map((token, i) => token.replaceAll(mark, i === 0 && drops ? "" : " "));
}

function wordEnds(fields: Fields): Decoder {
  const suffix = textField(fields, "suffix", "</w>");
  return (tokens) => tokens.map((token, i) => token.replaceAll(suffix, i === tokens.length - 1 ? "" : " "));
}

function ctc(fields: Fields): Decoder {
  const pad = textField(fields, "pad_token", "<pad>");
  const delimiter = textField(fields, "word_delimiter_token", "|");
  const cleans = flag(fields, "cleanup", true);
  return (tokens) =>
    tokens.filter((token, i) => i === 0 || token !== tokens[i - 1]).map((token) => {
      const text = token.replaceAll(pad, "");
      return cleans ? tidy(text).replaceAll(delimiter, " ") : text;
    });
}

function strip(fields: Fields): Decoder {
  const content = character(fields, "content");
  const start = count(fields, "start");
  const stop = count(fields, "stop");
  return (tokens) =>
    tokens.map((token) => {
      const characters = [...token];
      let from = 0;
      while (from < Math.min(start, characters.length) && characters[from] === content) from++;
      let to = characters.length;
      while (to > from && to > characters.length - stop && characters[to - 1] === content) to--;
      return characters.slice(from, to).join("");
    });
}

function replace(fields: Fields): Decoder {
  const content = textField(fields, "content");
  const find = patternFinder(fields);
  return (tokens) =>
    tokens.map((token) =>
      [...stretches(token, find)].map(({ start, end, matched }) =>
        matched ? content : token.slice(start, end)
      )
        .join("")
    );
}

function sequence(fields: Fields): Decoder {
  const parts = objects(fields, "decoders").map(decoderOf);
  return (tokens, bytes) => parts.reduce((texts, part) => part(texts, bytes), tokens);
}

const makers: Readonly<Record<string, (fields: Fields) => Decoder>> = {
  BPEDecoder: wordEnds,
  ByteFallback: () => byteFallback,
  ByteLevel: () => byteLevel,
  CTC: ctc,
  Fuse: () => (tokens) => [tokens.join("")],
  Metaspace: metaspace,
  Replace: replace,
  Sequence: sequence,
  Strip: strip,
  WordPiece: wordPiece,
};

/**
 * The decoder that tokenizer.json describes.
 *
 * @throws ConfigError for one that is not known here.
 */
export function decoderOf(fields: Fields): Decoder {
  return byType(fields, makers, "decoder");
}
