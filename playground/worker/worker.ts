/**
 * The page's worker: the engine runs here, so that the page never waits for a step.
 *
 * @module
 */
import { type Handlers, handlers } from "./engine.ts";
import type { Answer, MethodName, Request, TrainingMethod } from "./protocol.ts";

/** What is used of a worker's global scope. */
interface Scope {
  postMessage(message: Answer): void;
  addEventListener(type: "message", hear: (event: { readonly data: Request }) => void): void;
}

const scope = globalThis as unknown as Scope;
const calls = new Map<number, AbortController>();
type AnyHandler = (
  input: unknown,
  call: { tell(event: unknown): void; signal: AbortSignal },
) => Promise<unknown>;

const first = handlers() as unknown as Readonly<Record<string, AnyHandler | undefined>>;
let training: Pick<Handlers, TrainingMethod> | undefined;

/** What answers a method; that of training is loaded with its first call. */
async function handlerOf(method: MethodName): Promise<AnyHandler> {
  const known = first[method];
  if (known) return known;
  const { trainingHandlers } = await import("./training.ts");
  training ??= trainingHandlers();
  return (training as unknown as Readonly<Record<string, AnyHandler>>)[method];
}

async function answer({ id, method, input }: Extract<Request, { kind: "call" }>): Promise<void> {
  const call = new AbortController();
  calls.set(id, call);
  try {
    const tell = (event: unknown): void => scope.postMessage({ kind: "event", id, event });
    const handler = await handlerOf(method);
    const output = await handler(input, { tell, signal: call.signal });
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
