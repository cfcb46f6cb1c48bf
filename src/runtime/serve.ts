/**
 * Serves a fetch handler by HTTP on Deno, Bun or Node.
 *
 * @module
 */
import { importOptional, runtimeGlobals, runtimeName } from "./runtime.ts";

/** Where to listen. */
export interface ServeOptions {
  /** TCP port; 0 asks the system for a free one. */
  readonly port: number;
  /** Address to bind, e.g. `127.0.0.1`, or `0.0.0.0` for every interface. */
  readonly hostname: string;
  /**
   * Seconds in which a request's headers must arrive; default 30. On Bun it is the time in which nothing comes. Deno has no
   * such option: there a proxy in front must set it.
   */
  readonly headerSeconds?: number;
}

/** A listening server. */
export interface Served {
  /** The port that is bound. */
  readonly port: number;
  /** Stops listening; resolves when open requests have ended. */
  close(): Promise<void>;
}

/** A web handler, as Hono's `app.fetch`. */
export type FetchHandler = (request: Request) => Response | Promise<Response>;

type Listen = (fetch: FetchHandler, options: Required<ServeOptions>) => Served | Promise<Served>;

interface Address {
  readonly port: number;
  readonly hostname: string;
}

interface DenoServer {
  readonly addr: { readonly port: number };
  shutdown(): Promise<void>;
}

interface BunServer {
  readonly port: number;
  stop(): Promise<void>;
  timeout(request: Request, seconds: number): void;
}

const listenOnDeno: Listen = (fetch, { port, hostname }) => {
  const { serve } = runtimeGlobals.Deno as unknown as {
    serve(options: Address & { onListen(): void }, handler: FetchHandler): DenoServer;
  };
  const server = serve({ port, hostname, onListen() {} }, fetch);
  return { port: server.addr.port, close: () => server.shutdown() };
};

/** Bun's longest. */
const mostIdleSeconds = 255;

const listenOnBun: Listen = (fetch, { port, hostname, headerSeconds }) => {
  const { serve } = runtimeGlobals.Bun as unknown as {
    serve(
      options: Address & {
        fetch(request: Request, server: BunServer): Response | Promise<Response>;
        idleTimeout: number;
      },
    ): BunServer;
  };
  const server = serve({
    port,
    hostname,
    idleTimeout: Math.min(mostIdleSeconds, Math.ceil(headerSeconds)),
    fetch(request, server) {
      // A stream may be silent for longer while a long prompt is read; bodies have the server's own limit.
      server.timeout(request, 0);
      return fetch(request);
    },
  });
  return { port: server.port, close: () => server.stop() };
};

interface NodeServer {
  once(event: "error", listener: (error: Error) => void): void;
  close(done: () => void): void;
}

interface NodeAdapter {
  serve(
    options: Address & { fetch: FetchHandler; serverOptions: Readonly<Record<string, number>> },
    listening: (info: { port: number }) => void,
  ): NodeServer;
}

const listenOnNode: Listen = async (fetch, { port, hostname, headerSeconds }) => {
  const { serve } = await importOptional<NodeAdapter>("@hono/node-server");
  const headersTimeout = 1000 * headerSeconds;
  const serverOptions = {
    headersTimeout,
    // How often Node looks for late headers.
    connectionsCheckingInterval: Math.min(5000, headersTimeout),
    // Bodies have the server's own limit.
    requestTimeout: 0,
  };
  return await new Promise<Served>((resolve, reject) => {
    const server = serve({ port, hostname, fetch, serverOptions }, ({ port }) => {
      resolve({ port, close: () => new Promise((done) => server.close(done)) });
    });
    server.once("error", reject);
  });
};

const listeners: Readonly<Record<string, Listen>> = {
  deno: listenOnDeno,
  bun: listenOnBun,
  node: listenOnNode,
};

/** The rule that a failed `listen` broke, for an error message. */
function whyNot(error: unknown): string {
  const { name, code, message } = error as { name?: string; code?: string; message?: string };
  if (name === "AddrInUse" || code === "EADDRINUSE") {
    return "it is in use; stop what listens there, or choose another port (0 picks a free one)";
  }
  if (name === "PermissionDenied" || code === "EACCES") {
    return "this user may not bind it; ports below 1024 usually need root";
  }
  return message ?? String(error);
}

/**
 * Listens for HTTP requests and answers them by `fetch`.
 *
 * @throws Error `Cannot listen on port 8000: ...` when the port is taken or not allowed.
 * @throws TypeError on a runtime that cannot listen (export the handler to it instead).
 */
export async function serveApp(fetch: FetchHandler, options: ServeOptions): Promise<Served> {
  const listen = listeners[runtimeName()];
  if (!listen) {
    throw new TypeError("Cannot listen on this runtime: give it the fetch handler to call instead");
  }
  try {
    return await listen(fetch, { headerSeconds: 30, ...options });
  } catch (error) {
    throw new Error(`Cannot listen on port ${options.port}: ${whyNot(error)}`, { cause: error });
  }
}
