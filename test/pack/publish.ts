/**
 * Publishes the npm packages: `deno task publish:npm`, in the release workflow.
 *
 * Everything is checked before the first package goes out.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { root } from "../architecture.ts";
import { buildPackage } from "./build.ts";
import { type Manifest, ownManifest, repositoryFields } from "./manifest.ts";
import { newestRelease } from "./release.ts";
import { buildSafetensors } from "./safetensors.ts";

/** A workflow's surroundings, as GitHub sets them. */
export interface Workflow {
  readonly GITHUB_REPOSITORY?: string;
  readonly GITHUB_REF_NAME?: string;
}

/**
 * Checks that a version can be published.
 *
 * @throws Error that names what is missing: the repository, a release of the changelog, or the version's tag.
 */
export function checkPublishable(
  { repository, version }: Pick<Manifest, "repository" | "version">,
  { changelog, workflow }: { readonly changelog: string; readonly workflow: Workflow },
): void {
  if (repository === undefined) {
    throw new Error(
      'Cannot publish: package.json has no "repository"; CONTRIBUTING.md says what the owner sets',
    );
  }
  repositoryFields(repository);
  const { GITHUB_REPOSITORY: own, GITHUB_REF_NAME: tag } = workflow;
  if (own !== undefined && repository !== `https://github.com/${own}`) {
    throw new Error(`Cannot publish from ${own}: "repository" of package.json is ${repository}`);
  }
  if (tag !== undefined && tag !== `v${version}`) {
    throw new Error(`Cannot publish ${version} for the tag ${tag}: it must be v${version}`);
  }
  const newest = newestRelease(changelog);
  if (newest?.version !== version || newest.date === undefined) {
    throw new Error(
      `Cannot publish ${version}: CHANGELOG.md has no release of it; deno task release ${version} makes it`,
    );
  }
}

if (import.meta.main) {
  const changelog = readFileSync(join(root, "CHANGELOG.md"), "utf8");
  checkPublishable(ownManifest(), { changelog, workflow: process.env });
  for (const tarball of [await buildPackage(), await buildSafetensors()]) {
    execFileSync("npm", ["publish", "--provenance", "--access", "public", tarball], { stdio: "inherit" });
  }
}
