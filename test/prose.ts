/**
 * Reads prose as the rules of prose see it: sentences of Markdown and of comments, links and anchors.
 *
 * @module
 */

/** A sentence, and the line that its paragraph starts on, counted from 1. */
export interface Sentence {
  readonly line: number;
  readonly text: string;
  readonly words: number;
}

/** Words of a sentence at most. */
export const mostWords = 25;

/** Phrases that hide what is meant. */
export const hiding = ["had better", "but for", "of which", "for it"];

/** Ends of abbreviations, after which a sentence goes on. */
const abbreviations = /\b(?:e\.g|i\.e|etc|vs|al|approx)\.$/;

/** A piece of code counts as one word; a link as its text. */
function plain(text: string): string {
  return text
    .replace(/`[^`]*`/g, "code")
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/\{@linkcode ([^}]*)\}/g, "code")
    .replace(/https?:\/\/\S+/g, "address");
}

/** A paragraph's sentences: each ends with a full stop, a question mark or an exclamation mark before a space. */
function split(paragraph: string): string[] {
  const sentences: string[] = [];
  let rest = plain(paragraph).replace(/\s+/g, " ").trim();
  let from = 0;
  for (;;) {
    const end = /[.!?][)"'*_]*(?= |$)/g;
    end.lastIndex = from;
    const found = end.exec(rest);
    if (!found) break;
    const at = found.index + found[0].length;
    if (abbreviations.test(rest.slice(0, found.index + 1))) {
      from = at;
      continue;
    }
    sentences.push(rest.slice(0, at));
    rest = rest.slice(at).trim();
    from = 0;
  }
  return rest === "" ? sentences : [...sentences, rest];
}

/** Numbers and signs between words are no words. */
const wordsOf = (sentence: string): number =>
  sentence.split(" ").filter((word) => /[\p{L}\p{N}]/u.test(word)).length;

/** A paragraph, and the line it starts on. */
interface Paragraph {
  readonly line: number;
  readonly text: string;
}

const listItem = /^(?:[-*]|\d+\.) /;

/** Paragraphs and list items of Markdown, without code, tables, headings and comments. */
function paragraphs(lines: readonly string[]): Paragraph[] {
  const found: { line: number; text: string }[] = [];
  let open: { line: number; text: string } | undefined;
  let fence: string | undefined;
  lines.forEach((whole, i) => {
    const text = whole.trim();
    const opens = /^(`{3,}|~{3,})/.exec(text), isItem = listItem.test(text);
    const isCode = !open && !isItem && whole.startsWith("    ");
    if (fence !== undefined) {
      if (text === fence) fence = undefined;
    } else if (opens) {
      fence = opens[1];
      open = undefined;
    } else if (text === "" || isCode || /^(?:\||#|<!--)/.test(text)) {
      open = undefined;
    } else if (isItem || !open) {
      open = { line: i + 1, text: text.replace(listItem, "") };
      found.push(open);
    } else open.text += ` ${text}`;
  });
  return found;
}

function sentencesOfLines(lines: readonly string[], firstLine: number): Sentence[] {
  return paragraphs(lines).flatMap(({ line, text }) =>
    split(text).map((sentence) => ({ line: line + firstLine - 1, text: sentence, words: wordsOf(sentence) }))
  );
}

/** Sentences of a Markdown text, in order. */
export function sentencesOf(markdown: string): Sentence[] {
  return sentencesOfLines(markdown.split("\n"), 1);
}

/** Sentences of a source's documentation comments; a block tag (`@param`, `@throws`) begins a paragraph. */
export function sentencesOfComments(source: string): Sentence[] {
  return [...source.matchAll(/^[ \t]*\/\*\*([\s\S]*?)\*\//gm)].flatMap(({ 1: comment, index }) => {
    const lines = comment.split("\n").map((line) => line.replace(/^\s*\* ?/, "").replace(/^@\w+ ?/, "- "));
    return sentencesOfLines(lines, source.slice(0, index).split("\n").length);
  });
}

/** Phrases of {@linkcode hiding} in a sentence. */
export function hidingIn({ text }: Sentence): string[] {
  return hiding.filter((phrase) => new RegExp(`\\b${phrase}\\b`, "i").test(text));
}

/** Targets of a Markdown text's links, code left out. */
export function linksOf(markdown: string): string[] {
  const text = markdown.replace(/^(`{3,})[\s\S]*?^\1$/gm, "").replace(
    /`[^`\n]*`/g,
    (code) => code.includes("](") ? "" : code,
  );
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target);
}

/** Anchors of a Markdown text's headings, as GitHub makes them. */
export function anchorsOf(markdown: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, heading] of markdown.replace(/^(`{3,})[\s\S]*?^\1$/gm, "").matchAll(/^#+ (.*)$/gm)) {
    const base = heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replace(/\s/g, "-");
    let anchor = base;
    for (let n = 1; anchors.has(anchor); n++) anchor = `${base}-${n}`;
    anchors.add(anchor);
  }
  return anchors;
}
