/**
 * Authentication: one layer over all routes. Routes are closed unless they are named as public.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import type { AdapterService, PageOptions } from "../adapters/service.ts";
import { NotFoundError } from "../errors.ts";
import { quoted } from "./echo.ts";
import { ForbiddenError, UnauthorizedError } from "./errors.ts";
import type { ServerContext, ServerEnv } from "./exchange.ts";
import { mayUse, OperatorTokens, type Tenant, type TenantOptions, Tenants } from "./tenants.ts";

/** Who may ask. Without tenants every caller may use every route but the operator's. */
export interface Auth {
  /** Tenants; a {@linkcode Tenants} may be replaced while the server runs. */
  readonly tenants?: readonly TenantOptions[] | Tenants;
  /** Tokens of the operator's routes, which are there only where one is set. */
  readonly operator?: Pick<TenantOptions, "tokens" | "tokenSha256">;
  /** Paths that need no token. Default `/health`, `/ready` and `/metrics`. */
  readonly publicPaths?: readonly string[];
}

/** Paths that need no token unless told. */
const publicByDefault = ["/health", "/ready", "/metrics"];

function bearerOf(c: ServerContext): string | undefined {
  return /^bearer +([\x21-\x7e]+) *$/i.exec(c.req.header("authorization") ?? "")?.[1];
}

/** The checked settings of a server's authentication. */
export class Authentication {
  readonly #tenants: Tenants | undefined;
  readonly #operator: OperatorTokens | undefined;
  readonly #publicPaths: ReadonlySet<string>;

  /** @throws RangeError that names the tenant, the token or the path. */
  constructor({ tenants, operator, publicPaths = publicByDefault }: Auth) {
    this.#tenants = tenants === undefined || tenants instanceof Tenants ? tenants : new Tenants(tenants);
    const own = (operator?.tokens?.length ?? 0) + (operator?.tokenSha256?.length ?? 0);
    this.#operator = operator && own > 0 ? new OperatorTokens(operator) : undefined;
    if (this.#operator) this.#tenants?.reserve(this.#operator.digests);
    const wrong = publicPaths.find((path) => !path.startsWith("/"));
    if (wrong !== undefined) {
      throw new RangeError(`Cannot make ${quoted(wrong)} public: a path begins with /`);
    }
    this.#publicPaths = new Set(publicPaths);
  }

  /** Whether there are routes of the operator's. */
  get hasOperator(): boolean {
    return this.#operator !== undefined;
  }

  /** Whether callers need a token. */
  get isClosed(): boolean {
    return this.#tenants !== undefined;
  }

  /** Whether several tenants share what the server has. */
  get hasSeveral(): boolean {
    return (this.#tenants?.ids.length ?? 0) > 1;
  }

  /** Looks who asks, and refuses whom nobody knows. */
  guard(): MiddlewareHandler<ServerEnv> {
    return async (c, next) => {
      this.#identify(c);
      await next();
    };
  }

  #identify(c: ServerContext): void {
    const token = bearerOf(c), exchange = c.get("exchange");
    if (token !== undefined) {
      // Both are asked in any case: which one knows the token must not show in the time.
      const tenant = this.#tenants?.of(token), operator = this.#operator?.has(token);
      exchange.tenant = tenant;
      exchange.operator = operator ?? false;
    }
    const closed = this.#tenants !== undefined && !this.#publicPaths.has(c.req.path);
    if (!closed || exchange.tenant || exchange.operator) return;
    throw new UnauthorizedError(
      token === undefined
        ? "Cannot answer without a token: it goes into the header authorization: Bearer TOKEN"
        : "Cannot answer to this token: it is not known here",
    );
  }

  /** Refuses callers who are not the operator, before a route of the operator's. */
  checkOperator(c: ServerContext): void {
    const { operator, tenant } = c.get("exchange");
    if (operator) return;
    if (tenant) throw new ForbiddenError("Cannot use this route: it is the operator's");
    throw new UnauthorizedError("Cannot use this route: it needs the operator's token");
  }

  /** Refuses the operator's token where work is some tenant's. */
  checkTenant(c: ServerContext): void {
    const { operator, tenant } = c.get("exchange");
    if (this.#tenants === undefined || tenant || !operator || this.#publicPaths.has(c.req.path)) return;
    throw new ForbiddenError("Cannot use this route by the operator's token: it needs a tenant's");
  }
}

/** A tenant's adapters; others do not exist. */
export function adaptersOf(tenant: Tenant | undefined, adapters: AdapterService): AdapterService {
  if (tenant?.adapterPrefixes === undefined) return adapters;
  // An async check, so that a refusal is a rejected promise like any other's.
  const own = async (id: string): Promise<void> => {
    if (!mayUse(tenant, id)) await Promise.reject(new NotFoundError(`Cannot find adapter "${id}"`));
  };
  return {
    list: async () => (await adapters.list()).filter(({ id }) => mayUse(tenant, id)),
    ...(adapters.page
      ? {
        page: (options: PageOptions) => adapters.page!({ ...options, mayShow: (id) => mayUse(tenant, id) }),
      }
      : {}),
    card: (id) => own(id).then(() => adapters.card(id)),
    linear: (module) => adapters.linear?.(module),
    modules: (id) => own(id).then(() => adapters.modules(id)),
    ...(adapters.module
      ? { module: (id: string, path: string) => own(id).then(() => adapters.module!(id, path)) }
      : {}),
    apply: (id, module, input) => own(id).then(() => adapters.apply(id, module, input)),
    delta: (id, module, shape) => own(id).then(() => adapters.delta(id, module, shape)),
  };
}
