/**
 * The rules of prose that can be measured, over the documents; and that links lead somewhere.
 *
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { byHand } from "../docs/made.ts";
import { root, sourcesUnder } from "./architecture.ts";
import { anchorsOf, hidingIn, linksOf, mostWords, sentencesOf, sentencesOfComments } from "./prose.ts";

const documents = [
  "README.md",
  "CONTRIBUTING.md",
  "bench/RESULTS.md",
  "examples/demo/README.md",
  ...readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md")).sort().map((name) =>
    `docs/${name}`
  ),
];
/** Folders of sources whose comments keep the rules. */
const folders = [
  "src/server",
  "src/cli",
  "src/jinja",
  "src/safetensors",
  "src/testing",
  "src/runtime",
  "kernels/webgpu",
  "bench",
];
const textOf = (path: string): string => readFileSync(join(root, path), "utf8");

test("prose: a sentence of the documents has at most 25 words", () => {
  // Sentences in the reference of kernels are the kernels' own.
  const long = documents.flatMap((path) =>
    sentencesOf(byHand(textOf(path))).filter(({ words }) => words > mostWords)
      .map(({ line, words, text }) => `${path}:${line} has ${words} words: ${text}`)
  );
  assert.deepEqual(long, []);
});

test("prose: the documents hide nothing behind a phrase", () => {
  const found = documents.flatMap((path) =>
    sentencesOf(byHand(textOf(path))).flatMap((sentence) =>
      hidingIn(sentence).map((phrase) => `${path}:${sentence.line} "${phrase}" in: ${sentence.text}`)
    )
  );
  assert.deepEqual(found, []);
});

test("prose: a comment of the listed folders keeps the rules", () => {
  const found = folders.flatMap((folder) =>
    sourcesUnder(folder).flatMap(({ path }) =>
      sentencesOfComments(textOf(path)).filter((one) => one.words > mostWords || hidingIn(one).length > 0)
        .map(({ line, words, text }) => `${path}:${line} has ${words} words or a phrase: ${text}`)
    )
  );
  assert.deepEqual(found, []);
});

test("prose: README has at most 170 lines", () => {
  const lines = textOf("README.md").trimEnd().split("\n").length;
  assert.ok(lines <= 170, `${lines} lines`);
});

/** What is wrong with the links of a document; addresses of other places are not looked at. */
function deadLinks(path: string): string[] {
  return linksOf(textOf(path)).filter((link) => !/^[a-z]+:/.test(link)).flatMap((link) => {
    const [file, anchor] = link.split("#");
    const target = file === "" ? path : normalize(join(dirname(path), file));
    if (!existsSync(join(root, target))) return [`${path} links to ${link}: there is no ${target}`];
    if (anchor === undefined || anchorsOf(textOf(target)).has(anchor)) return [];
    return [`${path} links to ${link}: ${target} has no heading "${anchor}"`];
  });
}

test("links: every link of the documents leads to a file, and to a heading if it names one", () => {
  assert.deepEqual(documents.flatMap(deadLinks), []);
});

/** Paths in code pieces, e.g. `src/plan.ts`. */
function pathsIn(markdown: string): string[] {
  return [...markdown.matchAll(/`((?:src|kernels|test|bench|examples|docs)\/[\w./-]+\.\w+)`/g)]
    .map(([, path]) => path);
}

test("links: every file that the documents name is there", () => {
  const missing = documents.flatMap((path) =>
    pathsIn(textOf(path)).filter((named) => !existsSync(join(root, named))).map((named) =>
      `${path}: ${named}`
    )
  );
  assert.deepEqual(missing, []);
  assert.ok(pathsIn(textOf("docs/architecture.md")).includes("src/server/app.ts"));
});

test("links: README leads to nothing that the npm package lacks", () => {
  const local = linksOf(textOf("README.md")).filter((link) => !/^(?:[a-z]+:|#)/.test(link));
  assert.ok(local.length >= 10, `only ${local}`);
  assert.deepEqual(
    local.filter((link) => !/^(?:docs\/[^/]+\.md(?:#.*)?|docs\/pictures\/[^/]+\.png|LICENSE)$/.test(link)),
    [],
  );
});

test("sentencesOf counts words of sentences, code and links being a word or their text, and skips the rest", () => {
  const text = [
    "# A heading of no account",
    "One two `code of three` [four five](six.md). Seven",
    "eight, e.g. nine!",
    "",
    "| a | table |",
    "- ten eleven",
    "- twelve (thirteen.) Fourteen",
    "```ts",
    "not. counted.",
    "```",
    "<!-- nor this. -->",
    "",
    "    nor. this.",
  ].join("\n");
  assert.deepEqual(sentencesOf(text).map(({ line, words }) => [line, words]), [
    [2, 5],
    [2, 4],
    [6, 2],
    [7, 2],
    [7, 1],
  ]);
});

test("sentencesOfComments reads documentation comments alone, and block tags as sentences of their own", () => {
  const source =
    "/** One two. Three\n * four.\n *\n * @param a five\n * @throws six.\n */\nconst a = 1; // seven.\n/* eight. */";
  assert.deepEqual(sentencesOfComments(source).map(({ line, words }) => [line, words]), [[1, 2], [1, 2], [
    4,
    2,
  ], [5, 1]]);
});

test("hidingIn finds phrases as whole words", () => {
  const found = (text: string) => hidingIn({ line: 1, text, words: 0 });
  assert.deepEqual(found("It had better be said, but for one, of which none asks for it"), [
    "had better",
    "but for",
    "of which",
    "for it",
  ]);
  assert.deepEqual(found("for items, but forever"), []);
});

test("anchorsOf makes GitHub's anchors, numbers those that come again, and skips code", () => {
  const text = "# A b, c-d!\n```sh\n# no\n```\n## `x` and _y_\n## A b c-d\n";
  assert.deepEqual([...anchorsOf(text)], ["a-b-c-d", "x-and-_y_", "a-b-c-d-1"]);
});
