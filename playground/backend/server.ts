/**
 * A server of fourierft as the page's backend, by `fourierft/client`.
 *
 * @module
 */
import type { ModuleData } from "fourierft";
import {
  ApiError,
  createClient,
  type GenerationFields,
  type ModelCard,
  type ModulePicture,
} from "fourierft/client";
import type { AdapterInfo, Backend, Job, MemoryShare, Piece } from "./backend.ts";

/** Where the server is, and who asks. */
export interface ServerOptions {
  /** Its address. */
  readonly baseUrl: string;
  /** A tenant's bearer token. */
  readonly token?: string;
}

/** Cards of one request: a server may have thousands of adapters, and a list in the page shows no more. */
const mostCards = 500;

const adapterInfo = ({ id, adapter }: ModelCard): AdapterInfo => ({
  id,
  peftType: adapter?.peft_type ?? "",
  sizeBytes: adapter?.size_bytes ?? 0,
});

function fieldsOf({ terms, sampling, maxTokens, stop }: Job, model: string): GenerationFields & {
  readonly max_tokens: number;
} {
  const { temperature, topP, topK, repetitionPenalty, seed } = sampling;
  const single = terms.length === 1 && terms[0].scale === 1 ? terms[0].id : undefined;
  return {
    // An adapter at scale 1 may be of a kind that cannot be added up.
    ...(single === undefined ? { model, adapters: terms } : { model: single }),
    max_tokens: maxTokens,
    temperature,
    top_p: topP,
    top_k: topK,
    repetition_penalty: repetitionPenalty,
    seed,
    ...(stop.length > 0 ? { stop } : {}),
  };
}

/** The value of a gauge in Prometheus' text. */
function gauge(text: string, name: string): number | undefined {
  const line = text.split("\n").find((one) => one.startsWith(name) && !one.startsWith("#"));
  const value = Number(line?.slice(line.lastIndexOf(" ") + 1));
  return line === undefined || Number.isNaN(value) ? undefined : value;
}

/** A module's numbers, from a server's JSON. */
function dataOf({ shape, spectrum, delta, distribution, ...rest }: ModulePicture): ModuleData {
  const { edges, counts, ...moments } = distribution;
  return {
    shape: { out: shape[0], in: shape[1] },
    ...(spectrum
      ? {
        points: {
          total: spectrum.total,
          ...(spectrum.wavelet === null ? {} : { wavelet: spectrum.wavelet }),
          u: Int32Array.from(spectrum.u),
          v: Int32Array.from(spectrum.v),
          c: Float32Array.from(spectrum.c),
          uRange: spectrum.u_range,
          vRange: spectrum.v_range,
          mirroredPairs: spectrum.mirrored_pairs,
        },
      }
      : {}),
    cells: {
      rows: delta.rows,
      columns: delta.columns,
      block: delta.block,
      ...(delta.reduction === null ? {} : { reduction: delta.reduction }),
      values: Float32Array.from(delta.values),
    },
    distribution: { edges: Float64Array.from(edges), counts: Uint32Array.from(counts), ...moments },
    ...(rest.singular_values ? { singularValues: Float64Array.from(rest.singular_values) } : {}),
  };
}

/** The outcome of a request; a server that cannot be reached is named. */
export async function reached<Value>(asked: Promise<Value>): Promise<Value> {
  try {
    return await asked;
  } catch (error) {
    // `fetch` says no more than that it failed.
    if (error instanceof TypeError) throw new Error(`Cannot reach the server: ${error.message}`);
    throw error;
  }
}

/** The items of a stream, in the same way. */
async function* reachedItems<Value>(
  items: AsyncGenerator<Value, void, void>,
): AsyncGenerator<Value, void, void> {
  try {
    for (let next = await reached(items.next()); !next.done; next = await reached(items.next())) {
      yield next.value;
    }
  } finally {
    await items.return();
  }
}

const counting = { include_usage: true, continuous_usage_stats: true } as const;

/**
 * Opens a server: asks for its model.
 *
 * @throws ApiError of status 401 where a token is needed; Error where no model is served that generates.
 */
export async function openServer(options: ServerOptions): Promise<Backend> {
  const client = createClient(options);
  const cards = async (): Promise<readonly ModelCard[]> => (await client.models({ limit: mostCards })).data;
  const base = (await cards()).find(({ parent, adapter }) => parent === null && !adapter);
  if (!base) throw new Error("Cannot generate: this server has adapters alone, and no base model");
  async function* completion(prompt: string, job: Job, signal: AbortSignal): AsyncGenerator<Piece> {
    const request = { ...fieldsOf(job, base!.id), prompt };
    const chunks = reachedItems(client.streamCompletion(request, { signal, ...counting }));
    for await (const { choices: [choice], usage } of chunks) {
      if (!choice) continue;
      yield {
        text: choice.text,
        tokens: usage?.completion_tokens ?? 0,
        finishReason: choice.finish_reason,
      };
    }
  }
  return {
    way: "server",
    model: { id: base.id, maxModelLen: base.max_model_len },
    adapters: async () => (await cards()).filter(({ adapter }) => adapter).map(adapterInfo),
    async *generate(job, signal) {
      if ("prompt" in job.input) return yield* completion(job.input.prompt, job, signal);
      const request = { ...fieldsOf(job, base.id), messages: job.input.messages };
      const chunks = reachedItems(client.streamChat(request, { signal, ...counting }));
      for await (const { choices: [choice], usage } of chunks) {
        if (!choice) continue;
        yield {
          text: choice.delta.content ?? "",
          tokens: usage?.completion_tokens ?? 0,
          finishReason: choice.finish_reason,
        };
      }
    },
    modules: async (id) => (await client.adapterModules(id)).data.map((module) => module.id),
    picture: async (id, module, signal) => dataOf(await client.modulePicture(id, module, { signal })),
    async norms(id, beside, signal) {
      const { data, left_out: leftOut } = await client.moduleNorms(id, { beside }, { signal });
      return { numbers: data.map(({ id: path, value }) => ({ path, value })), leftOut };
    },
    async memory(): Promise<readonly MemoryShare[]> {
      const headers: HeadersInit = options.token ? { authorization: `Bearer ${options.token}` } : {};
      const response = await fetch(new URL("metrics", options.baseUrl), { headers });
      if (!response.ok) return [];
      const part = gauge(await response.text(), "vllm:kv_cache_usage_perc");
      return part === undefined ? [] : [{ name: "cache", part }];
    },
    async addAdapter(name, files, token) {
      if (!token) {
        throw new Error(
          "Cannot add an adapter to this server without its operator's token: give the token below the columns, " +
            "or open a model in this browser",
        );
      }
      const file = (path: string): File => {
        const found = files.find((one) => one.path === path);
        if (found) return found.file;
        throw new Error(`Cannot add adapter "${name}": its folder has no ${path}`);
      };
      const content = {
        "adapter_config.json": file("adapter_config.json"),
        "adapter_model.safetensors": file("adapter_model.safetensors"),
      };
      try {
        return adapterInfo(await createClient({ ...options, token }).sendAdapter(name, content));
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 404 && error.status !== 405) throw error;
        throw new Error("Cannot add an adapter to this server: it was started without an operator's token");
      }
    },
    close() {},
  };
}

/** Whether an error says that the server wants a token. */
export const wantsToken = (error: unknown): boolean => error instanceof ApiError && error.status === 401;
