/**
 * What happens to a text before it is cut into words, as the Python library `tokenizers` does it.
 *
 * @module
 */
import { asByteCharacters, spaceAtEnd, spaceAtStart } from "./characters.ts";
import { byType, type Fields, flag, objects, refuse, text as textField } from "./fields.ts";
import { patternFinder, plainPattern, stretches } from "./patterns.ts";
import { charsmapTransform } from "./charsmap.ts";
import { type Steps, stepSize } from "./steps.ts";

/** A stretch of text; `first` says that it has the first character of the whole text. */
export interface Piece {
  readonly text: string;
  readonly first: boolean;
}

/** Changes a text. */
export interface Normalizer {
  steps(piece: Piece): Steps<Piece>;
  /** The most UTF-16 units of a text that may become one; infinite where units may vanish. */
  readonly shrinks: number;
}

/** Whether a text may be cut between two characters so that neither half is normalized otherwise than in the whole. */
const startsWhole =
  /^[^\p{M}\p{Lm}\p{Cf}\p{Sk}\p{Cs}\u0e33\u0eb3\u1100-\u11ff\u3131-\u318e\ua960-\ua97f\ud7b0-\ud7ff\uff9e-\uffdc]/u;
const endsWhole =
  /[^\p{Cf}\p{Cs}\r\u0d4e\u{111c2}\u{111c3}\u{1193f}\u{11941}\u{11a84}-\u{11a89}\u{11d46}\u{11f02}]$/u;

/** The first place from `at` on where a text may be cut. */
function* cutFrom(text: string, at: number): Steps<number> {
  for (let cut = at; cut < text.length; cut++) {
    if (startsWhole.test(text.slice(cut, cut + 2)) && endsWhole.test(text.slice(Math.max(0, cut - 2), cut))) {
      return cut;
    }
    if ((cut - at) % stepSize === stepSize - 1) yield;
  }
  return text.length;
}

/** Applies what looks at single characters and the marks that follow them, slice by slice. */
function bySlices(change: (slice: string) => string, shrinks: number): Normalizer {
  return {
    shrinks,
    *steps({ text, first }) {
      const changed: string[] = [];
      for (let from = 0; from < text.length;) {
        const to = yield* cutFrom(text, from + stepSize);
        changed.push(change(text.slice(from, to)));
        from = to;
        if (from < text.length) yield;
      }
      // A first character that vanished leaves a text that begins later.
      const start = text.slice(0, yield* cutFrom(text, 1));
      return { text: changed.join(""), first: first && (shrinks < Infinity || change(start) !== "") };
    },
  };
}

/** A canonical or compatibility composition has at most four characters, of two units each. */
const composed = 8;

function lowercase(text: string): string {
  // Python's library lowers each character alone; JavaScript's final sigma looks at its neighbours.
  return text.replaceAll("Σ", "σ").toLowerCase();
}

const chinese =
  /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

function cleaned(fields: Fields): Normalizer {
  const clean = flag(fields, "clean_text", true);
  const spaced = flag(fields, "handle_chinese_chars", true);
  const lower = flag(fields, "lowercase", true);
  const strip = flag(fields, "strip_accents", lower);
  const change = (slice: string): string => {
    let text = slice;
    if (clean) text = text.replace(/(?![\t\n\r])[\p{C}\ufffd]/gu, "").replace(/\p{White_Space}/gu, " ");
    if (spaced) text = text.replace(chinese, " $& ");
    if (strip) text = text.normalize("NFD").replace(/\p{Mn}/gu, "");
    return lower ? lowercase(text) : text;
  };
  return bySlices(change, clean || strip ? Infinity : 1);
}

/** SentencePiece's "nmt" rules. */
function nmt(slice: string): string {
  // deno-lint-ignore no-control-regex
  return slice.replace(/[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]/g, "")
    .replace(/[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g, " ");
}

function strip(fields: Fields): Normalizer {
  const left = flag(fields, "strip_left", true);
  const right = flag(fields, "strip_right", true);
  return {
    shrinks: Infinity,
    // deno-lint-ignore require-yield
    *steps({ text, first }) {
      const end = right ? spaceAtEnd(text) : text.length;
      const start = left ? Math.min(spaceAtStart(text), end) : 0;
      return { text: text.slice(start, end), first: first && start === 0 };
    },
  };
}

function replace(fields: Fields): Normalizer {
  const content = textField(fields, "content");
  const plain = plainPattern(fields);
  if (plain !== undefined && [...plain].length === 1) {
    return bySlices(
      // Not by replaceAll, which makes a rope of every piece that is slow to read later.
      (slice) => slice.split(plain).join(content),
      content === "" ? Infinity : Math.max(1, plain.length / content.length),
    );
  }
  const find = patternFinder(fields);
  const shrinks = plain === undefined || content === ""
    ? Infinity
    : Math.max(1, plain.length / content.length);
  return {
    shrinks,
    *steps({ text, first }) {
      const changed: string[] = [];
      let kept = first;
      for (const { start, end, matched } of stretches(text, find)) {
        if (start === 0 && end > 0 && matched && content === "") kept = false;
        changed.push(matched ? content : text.slice(start, end));
        if (changed.length % 1024 === 0) yield;
      }
      return { text: changed.join(""), first: kept };
    },
  };
}

function sequence(fields: Fields): Normalizer {
  const parts = objects(fields, "normalizers").map(normalizerOf);
  return {
    shrinks: parts.reduce((product, { shrinks }) => product * shrinks, 1),
    *steps(piece) {
      let changed = piece;
      for (const part of parts) changed = yield* part.steps(changed);
      return changed;
    },
  };
}

function prepend(fields: Fields): Normalizer {
  const added = textField(fields, "prepend");
  return {
    shrinks: 1,
    // deno-lint-ignore require-yield
    *steps({ text, first }) {
      return { text: text === "" ? "" : added + text, first };
    },
  };
}

function precompiled(fields: Fields): Normalizer {
  const encoded = textField(fields, "precompiled_charsmap", "");
  if (encoded === "") throw refuse("precompiled_charsmap", encoded, "it is empty");
  return bySlices(charsmapTransform(encoded), Infinity);
}

const makers: Readonly<Record<string, (fields: Fields) => Normalizer>> = {
  BertNormalizer: cleaned,
  ByteLevel: () => bySlices(asByteCharacters, 1),
  Lowercase: () => bySlices(lowercase, 1),
  NFC: () => bySlices((slice) => slice.normalize("NFC"), composed),
  NFD: () => bySlices((slice) => slice.normalize("NFD"), composed),
  NFKC: () => bySlices((slice) => slice.normalize("NFKC"), composed),
  NFKD: () => bySlices((slice) => slice.normalize("NFKD"), composed),
  Nmt: () => bySlices(nmt, Infinity),
  Precompiled: precompiled,
  Prepend: prepend,
  Replace: replace,
  Sequence: sequence,
  Strip: strip,
  StripAccents: () => bySlices((slice) => slice.replace(/\p{M}/gu, ""), Infinity),
};

/**
 * The normalizer that tokenizer.json describes.
 *
 * @throws ConfigError for one that is not known here.
 */
export function normalizerOf(fields: Fields): Normalizer {
  return byType(fields, makers, "normalizer");
}
