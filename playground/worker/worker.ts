/**
 * The page's worker: the engine runs here, so that the page never waits for a step.
 *
 * @module
 */
import { type Handlers, handlers } from "./engine.ts";
import { trainingHandlers } from "./training.ts";
import type { Answer, Request } from "./protocol.ts";

/** What is used of a worker's global scope. */
interface Scope {
  postMessage(message: Answer): void;
  addEventListener(type: "message", hear: (event: { readonly data: Request }) => void): void;
}

const scope = globalThis as unknown as Scope;
const calls = new Map<number, AbortController>();
const all: Handlers = { ...handlers(), ...trainingHandlers() };
const methods = all as Readonly<
  Record<
    string,
    (input: unknown, call: { tell(event: unknown): void; signal: AbortSignal }) => Promise<unknown>
  >
>;

async function answer({ id, method, input }: Extract<Request, { kind: "call" }>): Promise<void> {
  const call = new AbortController();
  calls.set(id, call);
  try {
    const tell = (event: unknown): void => scope.postMessage({ kind: "event", id, event });
    const output = await methods[method](input, { tell, signal: call.signal });
    scope.postMessage({ kind: "done", id, output });
  } catch (error) {
    scope.postMessage({
      kind: "failed",
      id,
      message: error instanceof Error ? error.message : String(error),
    });
  } finally {
    calls.delete(id);
  }
}

scope.addEventListener("message", ({ data }) => {
  if (data.kind === "call") void answer(data);
  else calls.get(data.id)?.abort(new DOMException("The call was aborted", "AbortError"));
});
