/**
 * Tenants: who may ask, by bearer token, and for which adapters.
 *
 * @module
 */
import { sha256 as digestOf } from "@noble/hashes/sha2.js";
import { quoted } from "./echo.ts";
import { Quota, type SharedCounts } from "./quota.ts";

/** A tenant, as an operator describes it. Every bound is absent where there is none. */
export interface TenantOptions {
  /** Its name in logs and metrics: letters, digits, `.`, `_` and `-`, at most 64. */
  readonly id: string;
  /** Bearer tokens, of at least 16 characters. */
  readonly tokens?: readonly string[];
  /** SHA-256 of bearer tokens, hex: a file of them gives no token away. */
  readonly tokenSha256?: readonly string[];
  /** Beginnings of the names of its adapters; absent: all. Other adapters do not exist here: 404. */
  readonly adapterPrefixes?: readonly string[];
  /** Its share of the device beside other tenants that wait. Default 1. */
  readonly weight?: number;
  /** Requests for work that it may start in a minute. */
  readonly requestsPerMinute?: number;
  /** Tokens of prompts and answers in a minute. Each counts as it is used: the next request waits for a debt. */
  readonly tokensPerMinute?: number;
  /** Requests for work that may be open at once. */
  readonly maxConcurrent?: number;
}

/** A tenant that a token stands for. */
export interface Tenant {
  readonly id: string;
  readonly weight: number;
  readonly adapterPrefixes?: readonly string[];
  readonly quota: Quota;
}

const encoder = new TextEncoder();

// Not Web Crypto's, which is asynchronous: equal tokens are refused where the server is made.
const sha256 = (text: string): Uint8Array => digestOf(encoder.encode(text));

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** Whether two digests are equal; it takes as long whatever they are. */
function equalDigests(a: Uint8Array, b: Uint8Array): boolean {
  let difference = 0;
  for (let i = 0; i < 32; i++) difference |= a[i] ^ b[i];
  return difference === 0;
}

/** Shortest token: one that is guessed in no time is a mistake. */
const fewestCharacters = 16;

function checkToken(token: string, whose: string): void {
  if (token.length >= fewestCharacters && /^[\x21-\x7e]+$/.test(token)) return;
  throw new RangeError(
    `Cannot use a token of ${whose}: it must be ${fewestCharacters} or more printable ASCII characters without spaces`,
  );
}

function checkDigest(digest: string, whose: string): void {
  if (/^[0-9a-f]{64}$/.test(digest)) return;
  throw new RangeError(
    `Cannot use a tokenSha256 of ${whose}: it must be 64 hexadecimal digits in small letters`,
  );
}

function checkTenant(tenant: TenantOptions): void {
  const { id, weight = 1, requestsPerMinute, tokensPerMinute, maxConcurrent } = tenant;
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(id)) {
    throw new RangeError(
      `Cannot use tenant id ${quoted(id)}: it must be 1 to 64 letters, digits, dots, dashes or underscores`,
    );
  }
  const whose = `tenant ${quoted(id)}`;
  for (const [name, value] of Object.entries({ weight, requestsPerMinute, tokensPerMinute, maxConcurrent })) {
    const least = name === "weight" ? Number.MIN_VALUE : 1;
    if (value === undefined || (Number.isFinite(value) && value >= least)) continue;
    const rule = name === "weight" ? "above 0" : "of 1 or more";
    throw new RangeError(`Cannot use ${name} ${value} of ${whose}: it must be a number ${rule}`);
  }
  for (const token of tenant.tokens ?? []) checkToken(token, whose);
  for (const digest of tenant.tokenSha256 ?? []) checkDigest(digest, whose);
  if (tenant.adapterPrefixes?.includes("")) {
    throw new RangeError(
      `Cannot use an empty prefix of ${whose}: leave adapterPrefixes out to allow every adapter`,
    );
  }
  // An empty list shuts a tenant out for a while.
  if (!tenant.tokens && !tenant.tokenSha256) {
    throw new RangeError(`Cannot use ${whose}: it has neither tokens nor tokenSha256`);
  }
}

function refuseTwice(values: readonly string[], what: string): void {
  const twice = values.find((value, at) => values.indexOf(value) < at);
  if (twice !== undefined) throw new RangeError(`Cannot use ${what} twice: it must name one tenant`);
}

/** Refuses what no list of tenants can have, before any token is digested. */
function checkTenants(tenants: readonly TenantOptions[]): void {
  for (const tenant of tenants) checkTenant(tenant);
  refuseTwice(tenants.map(({ id }) => id), "a tenant's id");
  refuseTwice(tenants.flatMap(({ tokens = [] }) => tokens), "a token");
  refuseTwice(tenants.flatMap(({ tokenSha256 = [] }) => tokenSha256), "a tokenSha256");
}

/** Refuses a token that two have: as its text or as its digest, and the operator's, too. */
function checkDigests(known: readonly Known<Tenant>[], reserved: readonly Uint8Array[]): void {
  const operators = new Set(reserved.map((digest) => digest.join()));
  const owners = new Map<string, Tenant>();
  for (const { digest, owner } of known) {
    const key = digest.join(), whose = `tenant ${quoted(owner.id)}`;
    if (operators.has(key)) {
      throw new RangeError(`Cannot use a token of ${whose}: it is the operator's`);
    }
    const other = owners.get(key);
    if (other && other !== owner) {
      throw new RangeError(`Cannot use a token of ${whose}: tenant ${quoted(other.id)} has the same`);
    }
    owners.set(key, owner);
  }
}

/** A bearer token's digest, and whose token it is. */
interface Known<Owner> {
  readonly digest: Uint8Array;
  readonly owner: Owner;
}

/** The digests of an owner's tokens. */
function digestsOf<Owner>(
  owner: Owner,
  { tokens = [], tokenSha256 = [] }: Pick<TenantOptions, "tokens" | "tokenSha256">,
): Known<Owner>[] {
  const digests = [...tokens.map(sha256), ...tokenSha256.map(fromHex)];
  return digests.map((digest) => ({ digest, owner }));
}

/** Whose a token is. Every known token is compared, so that the time tells nothing of them. */
function ownerOf<Owner>(token: string, known: readonly Known<Owner>[]): Owner | undefined {
  const asked = sha256(token);
  let found: Owner | undefined;
  for (const { digest, owner } of known) if (equalDigests(asked, digest)) found = owner;
  return found;
}

/** Whether a token is among an operator's own. */
export class OperatorTokens {
  readonly #known: readonly Known<true>[];

  /** @throws RangeError for a token that breaks a rule. */
  constructor(tokens: Pick<TenantOptions, "tokens" | "tokenSha256">) {
    for (const token of tokens.tokens ?? []) checkToken(token, "the operator");
    for (const digest of tokens.tokenSha256 ?? []) checkDigest(digest, "the operator");
    this.#known = digestsOf(true as const, tokens);
  }

  /** SHA-256 of each token. */
  get digests(): readonly Uint8Array[] {
    return this.#known.map(({ digest }) => digest);
  }

  /** Whether the operator has this token. */
  has(token: string): boolean {
    return ownerOf(token, this.#known) ?? false;
  }
}

/** The tenants of a server. Replacing them while requests run keeps the use of those that stay. */
export class Tenants {
  #byId: ReadonlyMap<string, Tenant> = new Map();
  #known: readonly Known<Tenant>[] = [];
  #reserved: readonly Uint8Array[] = [];

  /**
   * @param options.counts Counts of the tenants' use that several servers share; by default each server counts alone.
   * @throws RangeError that names the tenant and the rule.
   */
  constructor(
    tenants: readonly TenantOptions[],
    private readonly options: { readonly counts?: SharedCounts } = {},
  ) {
    this.#replace(tenants);
  }

  /** The tenants' ids. */
  get ids(): readonly string[] {
    return [...this.#byId.keys()];
  }

  /** The tenant of that id. */
  get(id: string): Tenant | undefined {
    return this.#byId.get(id);
  }

  /**
   * Takes other tenants in place of those there are; when it rejects, these stay.
   *
   * @throws RangeError that names the tenant and the rule.
   */
  async replace(tenants: readonly TenantOptions[]): Promise<void> {
    // A refusal is a rejected promise, as it always was.
    await Promise.resolve();
    this.#replace(tenants);
  }

  #replace(tenants: readonly TenantOptions[]): void {
    checkTenants(tenants);
    const byId = new Map(tenants.map(({ id, weight = 1, adapterPrefixes }): [string, Tenant] => {
      const { counts } = this.options;
      const quota = this.#byId.get(id)?.quota ?? new Quota(undefined, counts && { counts, tenant: id });
      return [id, {
        id,
        weight,
        adapterPrefixes: adapterPrefixes?.map((one) => one.normalize("NFC")),
        quota,
      }];
    }));
    const known = tenants.flatMap((tenant) => digestsOf(byId.get(tenant.id)!, tenant));
    checkDigests(known, this.#reserved);
    this.#byId = byId;
    this.#known = known;
    for (const tenant of tenants) byId.get(tenant.id)!.quota.limit(tenant);
  }

  /**
   * Keeps the operator's tokens from tenants, now and when tenants are replaced.
   *
   * @param digests SHA-256 of each token.
   * @throws RangeError that names the tenant that has such a token.
   */
  reserve(digests: readonly Uint8Array[]): void {
    checkDigests(this.#known, digests);
    this.#reserved = digests;
  }

  /** The tenant that a bearer token stands for. */
  of(token: string): Tenant | undefined {
    return ownerOf(token, this.#known);
  }
}

/** Whether an adapter of that name is a tenant's; every adapter is, where nobody is named. */
export function mayUse(tenant: Pick<Tenant, "adapterPrefixes"> | undefined, adapter: string): boolean {
  const name = adapter.normalize("NFC");
  return tenant?.adapterPrefixes?.some((prefix) => name.startsWith(prefix)) ?? true;
}
