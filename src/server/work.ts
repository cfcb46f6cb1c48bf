/**
 * Routes that run a job on an engine or an encoder.
 *
 * @module
 */
import { breathe } from "../breathe.ts";
import { answer, type AnswerShape } from "./answer.ts";
import { beginWork, forRequest, type RequestServing, type Serving } from "./deps.ts";
import type { ServerContext } from "./exchange.ts";
import type { EncodingAnswer, EncodingRoute } from "./encoding.ts";
import { requestBounds } from "./json_bounds.ts";
import { readJson } from "./json.ts";
import type { JobMaker } from "./openai.ts";
import { report } from "./report.ts";
import type { Handler } from "./route.ts";

/** A route that runs a job on the engine. */
export function generating(
  serving: Serving,
  { jobOf, shape }: { readonly jobOf: JobMaker; readonly shape: AnswerShape },
): Handler {
  const { limits } = serving;
  const bounds = requestBounds(serving.model?.engine.maxModelLen ?? 0);
  return async (c) => {
    const own = forRequest(c, serving);
    const { signal, end } = await beginWork(own, c.req.raw.signal);
    const hold = serving.budget.hold();
    try {
      const body = await readJson(c.req.raw, { maxBytes: limits.maxBodyBytes, bounds, hold, signal, limits });
      const job = await jobOf(body, { serving: own, hold, signal });
      return await answer(c, job, {
        shape,
        signal,
        onError: (error) => report(c, error, serving).body,
        onEnd: end,
        readerMs: 1000 * limits.readerSeconds,
        queueSeconds: limits.queueSeconds,
      });
    } catch (error) {
      end();
      throw error;
    } finally {
      // From here on the engine's own bounds hold: of what runs, and of what waits.
      hold.free();
    }
  };
}

/** Work on a JSON body that is neither text's nor an encoder's. */
export type JsonWork = (
  body: Readonly<Record<string, unknown>>,
  options: { readonly c: ServerContext; readonly own: RequestServing },
) => Promise<Response>;

/** A route that takes a JSON body, or none, which is an empty object. */
export function withJson(serving: Serving, work: JsonWork): Handler {
  const { limits } = serving, bounds = requestBounds(0);
  return async (c) => {
    const own = forRequest(c, serving);
    const { signal, end } = await beginWork(own, c.req.raw.signal);
    const hold = serving.budget.hold();
    try {
      const read = { maxBytes: limits.maxBodyBytes, bounds, hold, signal, limits };
      return await work(c.req.raw.body === null ? {} : await readJson(c.req.raw, read), { c, own });
    } finally {
      hold.free();
      end();
    }
  };
}

/** An answer's JSON, an item of its data at a time: one with many numbers takes a while. */
async function answerText({ data, ...rest }: EncodingAnswer): Promise<string> {
  const items: string[] = [];
  for (const item of data) {
    items.push(JSON.stringify(item));
    await breathe();
  }
  return `${JSON.stringify(rest).slice(0, -1)},"data":[${items.join(",")}]}`;
}

/** A route that encodes. */
export function encoding(serving: Serving, route: EncodingRoute): Handler {
  const { limits } = serving;
  // Token ids of many sequences may stand in one body.
  const bounds = requestBounds(limits.maxBodyBytes / 2);
  return async (c) => {
    const own = forRequest(c, serving);
    const { signal, end } = await beginWork(own, c.req.raw.signal);
    const hold = serving.budget.hold();
    try {
      const body = await readJson(c.req.raw, { maxBytes: limits.maxBodyBytes, bounds, hold, signal, limits });
      const text = await answerText(await route(body, { serving: own, hold, signal }));
      return c.body(text, 200, { "content-type": "application/json" });
    } finally {
      hold.free();
      end();
    }
  };
}
