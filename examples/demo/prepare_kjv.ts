/**
 * The King James Bible as training text: runs the `bible` program of Debian's package bible-kjv and writes its chapters.
 *
 *     apt-get install bible-kjv
 *     deno run -A examples/demo/prepare_kjv.ts OUTPUT_FOLDER [BIBLE_PROGRAM [DATA_FOLDER]]
 *
 * Writes kjv.txt, to train on, and kjv_held_out.txt, every tenth chapter. A chapter is a document: its verses in one line,
 * a form feed between two chapters. Without root, unpack bible-kjv and bible-kjv-text by `dpkg-deb -x` and name the
 * program and the folder of bible.data.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/** A verse a line: `Gen1:1 In the beginning ...`; the book's name is left out where it is that of the line before. */
function readVerses(program: string, dataFolder: string): string {
  const args = ["-f", "-p", dataFolder, "gen1:1-rev22:21"];
  return execFileSync(program, args, { encoding: "utf8", maxBuffer: 2 ** 25 });
}

/** The chapters' texts, in order. */
function chaptersOf(output: string): string[] {
  const chapters = new Map<string, string[]>();
  for (const line of output.split("\n")) {
    const verse = /^(\w+?)(\d+):\d+ +(\S.*)$/.exec(line);
    if (!verse) continue;
    const chapter = `${verse[1]} ${verse[2]}`;
    const verses = chapters.get(chapter) ?? [];
    chapters.set(chapter, verses);
    verses.push(verse[3].trim());
  }
  return [...chapters.values()].map((verses) => verses.join(" "));
}

function write(path: string, chapters: readonly string[]): void {
  const text = chapters.join("\n\f\n") + "\n";
  writeFileSync(path, text);
  console.log(`${path}: ${chapters.length} chapters, ${text.length} characters`);
}

const [folder, program = "bible", dataFolder = "/usr/lib"] = process.argv.slice(2);
if (folder === undefined) {
  console.error("usage: prepare_kjv.ts OUTPUT_FOLDER [BIBLE_PROGRAM [DATA_FOLDER]]");
  process.exit(2);
}
const chapters = chaptersOf(readVerses(program, dataFolder));
// A different edition of the program or its output would otherwise pass for a text that is only shorter.
if (chapters.length !== 1189) {
  throw new Error(
    `Cannot read the Bible from "${program}": it has 1189 chapters, ${chapters.length} were found`,
  );
}
write(join(folder, "kjv.txt"), chapters.filter((_, i) => i % 10 !== 9));
write(join(folder, "kjv_held_out.txt"), chapters.filter((_, i) => i % 10 === 9));
