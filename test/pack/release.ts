/**
 * Makes a release of the unreleased changes: `deno task release VERSION` sets the version and today's date everywhere.
 * `--notes` prints what the newest release changes.
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parser, type Release } from "keep-a-changelog";
import { root } from "../architecture.ts";

/** Files that say the version, as `"version": "..."` or `version = "..."`. */
export const versionFiles = ["package.json", "deno.json", "src/cli/version.ts"] as const;

const versionIn = /\bversion"?(?::| =) "([^"]+)"/;

/** The version that a file says. */
export function versionOf(text: string): string | undefined {
  return versionIn.exec(text)?.[1];
}

/** The newest section of a changelog that has a version; without a date where it is not released. */
export function newestRelease(changelog: string): Release | undefined {
  return parser(changelog).releases.find(({ version }) => version !== undefined);
}

/**
 * The changelog with its unreleased section as a release.
 *
 * @param date As `2030-01-31`.
 * @throws Error for a version that is no SemVer, or not above the newest; and where nothing is unreleased.
 */
export function released(
  changelog: string,
  { version, date }: { readonly version: string; readonly date: string },
): string {
  const parsed = parser(changelog), open = parsed.releases.find((one) => one.date === undefined);
  if (!open || open.isEmpty()) {
    throw new Error(`Cannot release ${version}: CHANGELOG.md has no unreleased changes`);
  }
  open.setVersion(version);
  if (open.version !== version) {
    throw new Error(`Cannot release "${version}": it is no version of SemVer, as 1.2.3`);
  }
  const above = parsed.releases.find((one) => one !== open && one.version !== undefined);
  if (above && open.parsedVersion!.compare(above.parsedVersion!) <= 0) {
    throw new Error(`Cannot release ${version}: it must be above ${above.version}`);
  }
  open.setDate(date);
  parsed.format = "markdownlint";
  return parsed.toString();
}

/** What a release changes, without its heading. */
export function notesOf(changelog: string): string {
  const newest = newestRelease(changelog);
  if (!newest) throw new Error("Cannot print notes: CHANGELOG.md has no release");
  return newest.toString().split("\n").slice(1).join("\n").trim();
}

function main([version]: readonly string[]): void {
  const read = (file: string): string => readFileSync(join(root, file), "utf8");
  const changelog = read("CHANGELOG.md");
  if (version === "--notes") return console.log(notesOf(changelog));
  if (version === undefined) throw new Error("Cannot release without a version: deno task release VERSION");
  const text = released(changelog, { version, date: new Date().toISOString().slice(0, 10) });
  writeFileSync(join(root, "CHANGELOG.md"), text);
  for (const file of versionFiles) {
    const changed = read(file).replace(versionIn, (found, old: string) => found.replace(old, version));
    writeFileSync(join(root, file), changed);
  }
  console.log(`Run deno fmt CHANGELOG.md, commit, and push the tag v${version}; the workflow publishes it.`);
}

if (import.meta.main) main(process.argv.slice(2));
