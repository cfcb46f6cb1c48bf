/**
 * Repositories of models on the Hugging Face hub, or a mirror of it: what they are called, and which files they hold.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";

/** A repository at a revision. */
export interface HubName {
  /** `org/name`. */
  readonly repo: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
}

/** A hub, as every request needs it. */
export interface Hub {
  /** Where it is, without a slash at the end. */
  readonly endpoint: string;
  /** An access token, `hf_...`. */
  readonly token?: string;
  readonly fetch: typeof fetch;
}

/** A file of a repository. */
export interface HubFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** What its content must hash to; in hexadecimal digits, it is the file's name in the cache, too. */
  readonly hash: { readonly algorithm: "sha256" | "git-sha1"; readonly digest: string };
}

/** A repository's files at one commit. */
export interface Snapshot {
  /** 40 hexadecimal digits. */
  readonly commit: string;
  readonly files: ReadonlyMap<string, HubFile>;
}

/** The hub did not answer, or says that it cannot now: what is in the cache may serve. */
export class HubUnreachableError extends ConfigError {}

const part = /^(?![.-])[\w.-]{1,96}(?<![.-])$/;

/**
 * Parses `org/name` or `org/name@revision`; undefined for all else, such as paths.
 *
 * The hub's own rule: two names of letters, digits, `-`, `_` and `.`, with no `--` and no `..`.
 */
export function parseHubName(text: string): HubName | undefined {
  const [repo, ...revisions] = text.split("@");
  const parts = repo.split("/");
  const legal = parts.length === 2 && parts.every((one) => part.test(one)) && !/--|\.\./.test(repo);
  if (!legal || revisions.length > 1) return undefined;
  const [revision = "main"] = revisions;
  if (!/^[\w.-]+(\/[\w.-]+)*$/.test(revision) || /\.\./.test(revision)) return undefined;
  return { repo, revision };
}

const isCommit = (text: unknown): text is string => typeof text === "string" && /^[0-9a-f]{40}$/.test(text);

/** Whether each part of a path is a plain name: a hub's answer may lead nowhere else. */
function isInside(path: string): boolean {
  // deno-lint-ignore no-control-regex
  return path.split("/").every((name) => /^[^\\:\x00-\x1f]{1,255}$/.test(name) && !/^\.+$/.test(name));
}

/** What a failed request means. */
export function refusalOf(error: unknown, { repo, revision }: HubName, { endpoint }: Hub): ConfigError {
  if (error instanceof ConfigError) return error;
  const { statusCode, message } = error as { statusCode?: number; message: string };
  const what = `Cannot open model "${repo}" at revision "${revision}"`;
  const words = String(message ?? error).split(". URL:")[0];
  if (statusCode === undefined || statusCode >= 500 || statusCode === 429) {
    return new HubUnreachableError(`${what}: ${endpoint} cannot be reached: ${words}`);
  }
  if (statusCode === 401 || statusCode === 403) {
    return new ConfigError(
      `${what}: ${endpoint} has no such repository, or it is private or gated; HF_TOKEN gives access (${words})`,
    );
  }
  return new ConfigError(`${what}: ${endpoint} says ${statusCode}: ${words}`);
}

function fileOf(entry: {
  path: string;
  size: number;
  oid?: string;
  lfs?: { oid: string; size: number };
}): HubFile {
  const { path, oid, lfs } = entry;
  const sizeBytes = lfs?.size ?? entry.size;
  const hash = lfs
    ? { algorithm: "sha256" as const, digest: lfs.oid.replace(/^sha256:/, "") }
    : { algorithm: "git-sha1" as const, digest: String(oid) };
  const legal = typeof path === "string" && isInside(path) && Number.isSafeInteger(sizeBytes) &&
    sizeBytes >= 0 && new RegExp(`^[0-9a-f]{${lfs ? 64 : 40}}$`).test(hash.digest);
  if (!legal) {
    throw new ConfigError(
      `Cannot read a hub's list of files: ${JSON.stringify(entry).slice(0, 200)} is no file of one`,
    );
  }
  return { path, sizeBytes, hash };
}

/**
 * Asks a hub which commit a revision is, and which files it holds.
 *
 * @throws HubUnreachableError when it cannot answer now; ConfigError when there is no such repository or revision.
 */
export async function snapshotOf(hub: Hub, name: HubName, stallMs = 60_000): Promise<Snapshot> {
  const { listFiles, modelInfo } = await import("@huggingface/hub");
  const { endpoint: hubUrl, token: accessToken } = hub;
  // A hub that takes a request and says nothing counts as one that does not answer.
  const fetch: Hub["fetch"] = (input, init) =>
    hub.fetch(input, { ...init, signal: AbortSignal.timeout(stallMs) });
  const { repo, revision } = name;
  try {
    const { sha: commit } = await modelInfo({
      name: repo,
      revision,
      hubUrl,
      accessToken,
      fetch,
      additionalFields: ["sha"],
    });
    if (!isCommit(commit)) {
      throw new ConfigError(
        `Cannot open model "${repo}": ${hubUrl} names ${JSON.stringify(commit)}, which is no commit`,
      );
    }
    const files = new Map<string, HubFile>();
    const listing = listFiles({
      repo: { type: "model", name: repo },
      revision: commit,
      recursive: true,
      hubUrl,
      accessToken,
      fetch,
    });
    for await (const entry of listing) if (entry.type === "file") files.set(entry.path, fileOf(entry));
    return { commit, files };
  } catch (error) {
    throw refusalOf(error, name, hub);
  }
}
