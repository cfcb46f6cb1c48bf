/**
 * What the manifests of the npm packages share, and their tarballs.
 *
 * `repository` of package.json is the one place that says where the project lives. Without it packages are built, and npm
 * refuses to publish them.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { root } from "../architecture.ts";

/** What the repository's own package.json has. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly keywords: readonly string[];
  readonly license: string;
  /** `https://github.com/OWNER/NAME`; absent until the owner sets it. */
  readonly repository?: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

/** The repository's own package.json. */
export function ownManifest(): Manifest {
  return JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
}

/** A door of a package: what it is in the sources, as a manifest names it. */
export function door(source: string): Record<string, string> {
  const file = source.replace(/\.ts$/, "");
  return { types: `${file}.d.ts`, default: `${file}.js` };
}

const address = /^https:\/\/github\.com\/[\w.-]+\/[\w.-]+$/;

/**
 * Links of a manifest to the repository. A package without one is private: npm publishes no private package.
 *
 * @throws Error for a repository that is no address of GitHub, whose provenance npm could not check.
 */
export function repositoryFields(repository: string | undefined): Record<string, unknown> {
  if (repository === undefined) return { private: true };
  if (!address.test(repository) || repository.endsWith(".git")) {
    throw new Error(
      `Cannot use "repository" = "${repository}" of package.json: it must be like https://github.com/OWNER/NAME`,
    );
  }
  return {
    repository: { type: "git", url: `git+${repository}.git` },
    homepage: `${repository}#readme`,
    bugs: { url: `${repository}/issues` },
    publishConfig: { access: "public", provenance: true },
  };
}

/** Fields that are the same in every package. */
export function commonFields({ version, license, repository }: Manifest): Record<string, unknown> {
  return { version, license, type: "module", engines: { node: ">=20" }, ...repositoryFields(repository) };
}

/**
 * Packs a package into `dist/NAME-VERSION.tgz`.
 *
 * @param fill Writes the package's files into a folder; returns its manifest.
 * @returns The tarball's path.
 */
export async function packed(
  { name, version }: { readonly name: string; readonly version: string },
  fill: (folder: string) => Record<string, unknown> | Promise<Record<string, unknown>>,
): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), `${name}-pack-`));
  try {
    const inside = join(folder, "package");
    mkdirSync(inside);
    const manifest = await fill(inside);
    writeFileSync(join(inside, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
    const out = join(root, "dist", `${name}-${version}.tgz`);
    mkdirSync(dirname(out), { recursive: true });
    execFileSync("tar", ["-czf", out, "-C", folder, "package"], { stdio: ["ignore", "ignore", "inherit"] });
    return out;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
