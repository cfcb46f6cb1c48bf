/**
 * What a folder to read must do, as tests for a folder of one's own.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { MissingFileError, type ReadableFolder } from "../../folder.ts";
import type { Files } from "../../training/checkpoint.ts";
import {
  bytes,
  type DefineTest,
  type Opened,
  readWhole,
  refuses,
  same,
  sameBytes,
  text,
  using,
} from "./checks.ts";

/** A folder with the files that a test asked for. */
export interface OpenedFolder extends Opened {
  readonly folder: ReadableFolder;
}

const someFiles: Files = new Map([
  ["some.bin", bytes(1, 2, 3, 4, 5)],
  ["empty", bytes()],
  ["text.json", text('{"é": "😀"}')],
  ["not-utf8", bytes(0x7b, 0xff)],
]);

async function readsFiles(folder: ReadableFolder): Promise<void> {
  for (const [name, expected] of someFiles) {
    sameBytes(await readWhole(folder, name), expected, `"${name}" has its bytes`);
    same(await folder.exists(name), true, `"${name}" exists`);
  }
  const source = await folder.open("some.bin");
  const other = await folder.open("some.bin");
  same(source.sizeBytes, 5, "sizeBytes is the file's length");
  sameBytes(await source.read(1, 3), bytes(2, 3, 4), "read(1, 3) has three bytes from byte 1 on");
  await source.close?.();
  sameBytes(
    await other.read(4, 1),
    bytes(5),
    "a file is read after it was closed where it was opened before",
  );
  await other.close?.();
}

async function readsTexts(folder: ReadableFolder): Promise<void> {
  same(await folder.readText("text.json"), '{"é": "😀"}', "readText decodes UTF-8");
  same(await folder.readText("empty"), "", "readText of an empty file is the empty text");
  const { length } = someFiles.get("text.json")!;
  same((await folder.readText("text.json", { maxBytes: length })).length, 11, "a text of maxBytes is read");
  await refuses(
    () => folder.readText("text.json", { maxBytes: length - 1 }),
    ConfigError,
    "a text above maxBytes",
  );
  await refuses(() => folder.readText("not-utf8"), ConfigError, "a text that is not UTF-8");
}

async function tellsMissing(folder: ReadableFolder): Promise<void> {
  same(await folder.exists("none"), false, "a file that is not there does not exist");
  await refuses(() => folder.open("none"), MissingFileError, "open of a file that is not there");
  await refuses(() => folder.readText("none"), MissingFileError, "readText of a file that is not there");
}

/** Names that could lead out of a folder, on some system. */
const leadingElsewhere = [
  "..",
  ".",
  "",
  "../some.bin",
  "a/some.bin",
  "/etc/hostname",
  "a\\some.bin",
  "C:some.bin",
];

async function staysInside(folder: ReadableFolder): Promise<void> {
  for (const name of leadingElsewhere) {
    const told = JSON.stringify(name);
    await refuses(() => folder.open(name), ConfigError, `open of ${told}`);
    await refuses(() => folder.readText(name), ConfigError, `readText of ${told}`);
    await refuses(() => folder.exists(name), ConfigError, `exists of ${told}`);
  }
}

/** Folders within a folder are optional: where there are such, files and paths are none. */
async function opensInnerFolders(folder: ReadableFolder): Promise<void> {
  if (!folder.folder) return;
  for (const name of ["none", "some.bin"]) {
    same(await folder.folder(name) === undefined, true, `folder(${JSON.stringify(name)}) is undefined`);
  }
  for (const name of leadingElsewhere) {
    await refuses(() => folder.folder!(name), ConfigError, `folder of ${JSON.stringify(name)}`);
  }
}

/**
 * Tests of a {@linkcode ReadableFolder}.
 *
 * @param open A folder with exactly these files.
 */
export function testReadableFolder(
  name: string,
  { test, open }: { readonly test: DefineTest; readonly open: (files: Files) => Promise<OpenedFolder> },
): void {
  const rules: Readonly<Record<string, (folder: ReadableFolder) => Promise<void>>> = {
    "reads files, whole and in parts": readsFiles,
    "reads texts of UTF-8, up to a limit": readsTexts,
    "says which files are missing": tellsMissing,
    "refuses names that could lead elsewhere": staysInside,
    "has no folder of a file's name": opensInnerFolders,
  };
  for (const [rule, check] of Object.entries(rules)) {
    test(`${name} ${rule}`, () => using(() => open(someFiles), ({ folder }) => check(folder)));
  }
}
