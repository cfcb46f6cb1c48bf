/**
 * Code for a page, bundled from the sources.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** A page's code as one file. Imports of `node:` modules stay what they are. */
export function bundle(entry: string): string {
  const folder = mkdtempSync(join(tmpdir(), "fourierft-page-"));
  try {
    const out = join(folder, "page.js");
    const args = ["bundle", "--quiet", "--platform", "browser", "--external", "node:assert/strict"];
    execFileSync(process.execPath, [...args, "--output", out, entry], { stdio: "inherit" });
    return readFileSync(out, "utf8");
  } finally {
    rmSync(folder, { recursive: true });
  }
}
