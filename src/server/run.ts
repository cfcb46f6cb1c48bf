/**
 * A checked request on the engine: its parts as they come, and all at once.
 *
 * @module
 */
import { generateText, type TextEvent, type TextOptions, type TextToken } from "../engine/text.ts";
import { checkingInput, QueueTimeoutError } from "./errors.ts";
import { merge, started } from "./merge.ts";
import type { Job } from "./openai.ts";
import { type ToolCall, ToolParser } from "./tool_parser.ts";

/** Some more of one choice, or all of it. */
export interface Part {
  /** The choice's place: prompt by prompt, `n` each. */
  readonly index: number;
  readonly text: string;
  /** Tokens of an echoed prompt. */
  readonly promptTokens: readonly TextToken[];
  /** New tokens. */
  readonly tokens: readonly TextToken[];
  /** Null until the choice ends. */
  readonly finishReason: "stop" | "length" | "tool_calls" | null;
  /** Calls of tools that are complete, and how many of the choice came before. */
  readonly calls: readonly ToolCall[];
  readonly callsBefore: number;
  /** The stop string, or the id among the request's stop tokens, that ended the choice. */
  readonly stopReason: string | number | null;
}

/** vLLM's `stop_reason`, in choices of requests that name stop strings or stop tokens. */
export function stopReasonOf(part: Part, job: Job): { readonly stop_reason?: string | number | null } {
  const named = job.stop.length > 0 || job.requests[part.index].stopTokenIds !== undefined;
  return named ? { stop_reason: part.stopReason } : {};
}

function partOf(index: number, event: TextEvent): Part {
  const { kind, text, tokens } = event;
  return {
    index,
    text,
    promptTokens: kind === "prompt" ? tokens : [],
    tokens: kind === "prompt" ? [] : tokens,
    finishReason: kind === "end" ? event.finishReason : null,
    calls: [],
    callsBefore: 0,
    stopReason: kind === "end" ? event.stopReason ?? null : null,
  };
}

/** How a job's tokens become text. */
export function textOptions({ model, stop, echo, skipSpecialTokens, includeStop, tools }: Job): TextOptions {
  // Calls may begin with a special token.
  const skips = skipSpecialTokens && !(tools?.format.isSpecial && !tools.isForced);
  return { tokenizer: model.tokenizer, stop, echo, skipSpecialTokens: skips, includeStop };
}

/** Finds calls in each choice's text. */
function callFinder({ requests, tools }: Job): (part: Part) => Part {
  if (!tools) return (part) => part;
  const parsers = requests.map(() => new ToolParser(tools.format, tools.isForced));
  return (part) => {
    const parser = parsers[part.index], callsBefore = parser.count, found = parser.push(part.text);
    if (part.finishReason === null) return { ...part, ...found, callsBefore };
    const last = parser.end(), calls = [...found.calls, ...last.calls];
    const isCalled = part.finishReason === "stop" && parser.count > 0;
    return {
      ...part,
      ...{ text: found.text + last.text, calls, callsBefore },
      finishReason: isCalled ? "tool_calls" : part.finishReason,
    };
  };
}

/** Stops a job whose sequences all wait too long; to call once one of them runs, or none will. */
function queueTimer(seconds: number, stopped: AbortController): () => void {
  // Timers take no longer times; those are as good as none.
  if (1000 * seconds >= 2 ** 31) return () => {};
  const late = (): void =>
    stopped.abort(new QueueTimeoutError(`Cannot run this request: it has waited for ${seconds} s`));
  const timer = setTimeout(late, 1000 * seconds);
  return () => clearTimeout(timer);
}

/** Why the sequences of a job that is over end: made once, for an error of each would hold a stack. */
const over = new DOMException("The request is over", "AbortError");

async function* parts(
  job: Job,
  stopped: AbortController,
  onAdmit: () => void,
): AsyncGenerator<Part, void, void> {
  // Each sequence has a signal of its own: Node warns of one that many listen to.
  const signals = job.requests.map(() => new AbortController());
  const stop = (): void => signals.forEach((one) => one.abort(stopped.signal.reason));
  if (stopped.signal.aborted) stop();
  stopped.signal.addEventListener("abort", stop, { once: true });
  const sequences = job.requests.map((request, i) =>
    generateText(job.model.engine, {
      ...request,
      signal: signals[i].signal,
      onAdmit,
      onToken: () => job.exchange.made(),
    }, textOptions(job))
  );
  const findCalls = callFinder(job);
  const take = (index: number, event: TextEvent): Part => {
    const part = findCalls(partOf(index, event));
    job.exchange.tokens(part.tokens.length);
    return part;
  };
  try {
    if (sequences.length === 1) {
      for await (const event of sequences[0]) yield take(0, event);
      return;
    }
    for await (const { index, item } of merge(sequences)) yield take(index, item);
  } finally {
    onAdmit();
    // When one sequence fails the others must not go on.
    stopped.abort(over);
  }
}

/** A running job. */
export interface Run {
  readonly parts: AsyncIterable<Part, void, void>;
  /** Ends every sequence. */
  cancel(): void;
}

/**
 * Starts a job; resolves when its first part is there, so that what the engine refuses is thrown here.
 *
 * @param options.signal Aborting it ends every sequence; the parts then throw its reason.
 * @param options.queueSeconds Time until one of its sequences must run.
 * @throws QueueTimeoutError when none does; InvalidRequestError for what the engine refuses as the request's fault, and whatever else the engine throws.
 */
export async function startJob(
  job: Job,
  { signal, queueSeconds }: { readonly signal: AbortSignal; readonly queueSeconds: number },
): Promise<Run> {
  const stopped = new AbortController();
  const cancel = (): void => stopped.abort(signal.reason);
  if (signal.aborted) cancel();
  signal.addEventListener("abort", cancel, { once: true });
  // Every end aborts `stopped`; a signal that outlives the job must not keep it.
  stopped.signal.addEventListener("abort", () => signal.removeEventListener("abort", cancel), { once: true });
  const running = parts(job, stopped, queueTimer(queueSeconds, stopped));
  try {
    return { parts: await checkingInput(() => started(running)), cancel };
  } catch (error) {
    // Who leaves has had prompts read.
    if (!signal.aborted) job.exchange.refused();
    throw error;
  }
}

/** Every choice, whole, in order. */
export async function collect(job: Job, parts: AsyncIterable<Part>): Promise<readonly Part[]> {
  const texts: string[][] = job.requests.map(() => []);
  const promptTokens: TextToken[][] = job.requests.map(() => []);
  const tokens: TextToken[][] = job.requests.map(() => []);
  const calls: ToolCall[][] = job.requests.map(() => []);
  const reasons: Pick<Part, "finishReason" | "stopReason">[] = [];
  for await (const part of parts) {
    texts[part.index].push(part.text);
    promptTokens[part.index].push(...part.promptTokens);
    tokens[part.index].push(...part.tokens);
    calls[part.index].push(...part.calls);
    reasons[part.index] = part;
  }
  return texts.map((pieces, index) => ({
    index,
    text: pieces.join(""),
    promptTokens: promptTokens[index],
    tokens: tokens[index],
    calls: calls[index],
    callsBefore: 0,
    finishReason: reasons[index].finishReason,
    stopReason: reasons[index].stopReason,
  }));
}

/** OpenAI's counts; the end-of-text token is not counted. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** The counts of some tokens. */
export function counts(promptTokens: number, newTokens: number): Usage {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: newTokens,
    total_tokens: promptTokens + newTokens,
  };
}

/** The counts of a job whose choices have `newTokens` together; a prompt counts once, however often it runs. */
export function usageOf(job: Job, newTokens: number): Usage {
  return counts(job.prompts.reduce((sum, ids) => sum + ids.length, 0), newTokens);
}
