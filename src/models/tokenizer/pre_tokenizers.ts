/**
 * How a text is cut into words before the model sees it, as the Python library `tokenizers` does it.
 *
 * @module
 */
import { asByteCharacters } from "./characters.ts";
import { byType, character, count, type Fields, flag, objects, refuse, text as textField } from "./fields.ts";
import type { Piece } from "./normalizers.ts";
import { type Finder, finderOf, patternFinder, plainFinder, stretches } from "./patterns.ts";
import { stepSize } from "./steps.ts";

/** Words of a text in order; undefined where the work may pause. */
export type Words = Generator<Piece | undefined, void, void>;

/** Cuts a text into words. */
export interface PreTokenizer {
  words(piece: Piece): Words;
  /** Whether it leaves characters out. */
  readonly drops: boolean;
}

interface Stretch {
  readonly start: number;
  readonly end: number;
  readonly matched: boolean;
}

/** Stretches of a text in order; undefined where the work may pause. */
type Stretches = Iterable<Stretch | undefined>;

/** Where the stretches of a text are cut: at matches, at what lies between, or by joining neighbours. */
type Behavior = (all: Stretches) => Stretches;

const isolated: Behavior = (all) => all;

const removed: Behavior = function* (all) {
  for (const stretch of all) if (!stretch?.matched) yield stretch;
};

/** Joins a stretch to the one held where `joins` says so. */
function joining(joins: (held: Stretch, next: Stretch) => boolean): Behavior {
  return function* (all) {
    let held: Stretch | undefined;
    for (const next of all) {
      if (!next) {
        yield undefined;
      } else if (held && joins(held, next)) {
        held = { start: held.start, end: next.end, matched: next.matched };
      } else {
        if (held) yield held;
        held = next;
      }
    }
    if (held) yield held;
  };
}

const behaviors: Readonly<Record<string, Behavior>> = {
  Removed: removed,
  Isolated: isolated,
  MergedWithPrevious: joining((held, next) => next.matched && !held.matched),
  MergedWithNext: joining((held, next) => held.matched && !next.matched),
  Contiguous: joining((held, next) => held.matched === next.matched),
};

function behaviorOf(fields: Fields, absent?: string): Behavior {
  const name = textField(fields, "behavior", absent);
  if (!Object.hasOwn(behaviors, name)) throw refuse("behavior", name, "there is no such behavior");
  return behaviors[name];
}

function splitter(
  find: Finder,
  { behavior, invert = false }: { readonly behavior: Behavior; readonly invert?: boolean },
): PreTokenizer {
  function* all(text: string): Generator<Stretch | undefined> {
    let seen = 0;
    for (const stretch of stretches(text, find)) {
      yield invert ? { ...stretch, matched: !stretch.matched } : stretch;
      if (++seen % 1024 === 0) yield undefined;
    }
  }
  return {
    drops: behavior === removed,
    *words({ text, first }) {
      for (const stretch of behavior(all(text))) {
        if (!stretch) {
          yield undefined;
          continue;
        }
        const { start, end } = stretch;
        if (end > start) yield { text: text.slice(start, end), first: first && start === 0 };
      }
    },
  };
}

function fixedSplitter(pattern: RegExp, behavior: Behavior): PreTokenizer {
  return splitter(finderOf(pattern), { behavior });
}

/** GPT-2's words. `\\p{space}`, since JavaScript's `\\s` is another set of characters than Oniguruma's. */
export const byteLevelWords =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{space}\p{L}\p{N}]+|\p{space}+(?!\P{space})|\p{space}+/gu;

function byteLevel(fields: Fields): PreTokenizer {
  const addsSpace = flag(fields, "add_prefix_space");
  const find = flag(fields, "use_regex", true) ? finderOf(byteLevelWords) : undefined;
  return {
    drops: false,
    *words({ text, first }) {
      const spaced = addsSpace && !text.startsWith(" ") ? ` ${text}` : text;
      const all = find ? stretches(spaced, find) : [{ start: 0, end: spaced.length }];
      for (const { start, end } of all) {
        let word = "";
        for (let from = start; from < end;) {
          // Not amid a surrogate pair.
          let to = Math.min(end, from + stepSize);
          if (to < end && (spaced.codePointAt(to - 1) ?? 0) > 0xffff) to++;
          word += asByteCharacters(spaced.slice(from, to));
          from = to;
          if (from < end) yield undefined;
        }
        if (word !== "") yield { text: word, first: first && start === 0 };
      }
    },
  };
}

function metaspace(fields: Fields): PreTokenizer {
  const mark = character(fields, "replacement");
  const scheme = textField(fields, "prepend_scheme", "always");
  if (!["always", "first", "never"].includes(scheme)) {
    throw refuse("prepend_scheme", scheme, 'it must be "always", "first" or "never"');
  }
  if (fields.add_prefix_space === false && scheme !== "never") {
    throw refuse("add_prefix_space", false, "it does not match prepend_scheme");
  }
  const split = flag(fields, "split", true)
    ? splitter(plainFinder(mark), { behavior: behaviors.MergedWithNext })
    : undefined;
  return {
    drops: false,
    *words({ text, first }) {
      let marked = "";
      for (let from = 0; from < text.length; from += stepSize) {
        if (from > 0) yield undefined;
        marked += text.slice(from, from + stepSize).split(" ").join(mark);
      }
      const prepends = scheme === "always" || (scheme === "first" && first);
      const piece = { text: prepends && !marked.startsWith(mark) ? mark + marked : marked, first };
      if (split) yield* split.words(piece);
      else yield piece;
    },
  };
}

const asciiPunctuation = String.raw`!-\/:-@\[-\x60\{-~`;

function sequence(fields: Fields): PreTokenizer {
  const parts = objects(fields, "pretokenizers").map(preTokenizerOf);
  function* from(index: number, piece: Piece): Words {
    if (index === parts.length) {
      yield piece;
      return;
    }
    for (const word of parts[index].words(piece)) {
      if (word) yield* from(index + 1, word);
      else yield undefined;
    }
  }
  return { drops: parts.some(({ drops }) => drops), words: (piece) => from(0, piece) };
}

function fixedLength(fields: Fields): PreTokenizer {
  const length = count(fields, "length", 5);
  if (length === 0) throw refuse("length", length, "it must be 1 or more");
  return {
    drops: false,
    *words({ text, first }) {
      for (let start = 0; start < text.length;) {
        let end = start;
        for (let i = 0; i < length && end < text.length; i++) end += text.codePointAt(end)! > 0xffff ? 2 : 1;
        yield { text: text.slice(start, end), first: first && start === 0 };
        start = end;
      }
    },
  };
}

const makers: Readonly<Record<string, (fields: Fields) => PreTokenizer>> = {
  BertPreTokenizer: () => {
    const spaces = fixedSplitter(/\p{White_Space}+/gu, removed);
    const marks = fixedSplitter(new RegExp(`[\\p{P}${asciiPunctuation}]`, "gu"), isolated);
    return {
      drops: true,
      *words(piece) {
        for (const word of spaces.words(piece)) {
          if (word) yield* marks.words(word);
          else yield undefined;
        }
      },
    };
  },
  ByteLevel: byteLevel,
  CharDelimiterSplit: (fields) =>
    splitter(plainFinder(character(fields, "delimiter")), { behavior: removed }),
  Digits: (fields) =>
    fixedSplitter(/\p{N}/gu, flag(fields, "individual_digits") ? isolated : behaviors.Contiguous),
  FixedLength: fixedLength,
  Metaspace: metaspace,
  Punctuation: (fields) =>
    fixedSplitter(new RegExp(`[\\p{P}${asciiPunctuation}]`, "gu"), behaviorOf(fields, "Isolated")),
  Sequence: sequence,
  Split: (fields) =>
    splitter(patternFinder(fields), { behavior: behaviorOf(fields), invert: flag(fields, "invert") }),
  Whitespace: () => {
    const word = String.raw`\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}`;
    return splitter(finderOf(new RegExp(`[${word}]+|[^${word}\\p{White_Space}]+`, "gu")), {
      behavior: removed,
      invert: true,
    });
  },
  WhitespaceSplit: () => fixedSplitter(/\p{White_Space}+/gu, removed),
};

/**
 * The pre-tokenizer that tokenizer.json describes.
 *
 * @throws ConfigError for one that is not known here.
 */
export function preTokenizerOf(fields: Fields): PreTokenizer {
  return byType(fields, makers, "pre-tokenizer");
}
