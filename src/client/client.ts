/**
 * The client: one method a route.
 *
 * @module
 */
import { EventSourceParserStream } from "eventsource-parser/stream";
import { fromTensor, parseSafetensors, toTensor, writeSafetensors } from "../safetensors/mod.ts";
import type { HostTensor } from "../tensor.ts";
import { ApiError, errorFields } from "./error.ts";
import type {
  Chat,
  ChatChunk,
  ChatRequest,
  Completion,
  CompletionRequest,
  EmbeddingRequest,
  Embeddings,
  ModelCard,
  ModelList,
  ModuleList,
  ModuleNorms,
  ModulePicture,
  StreamOptions,
} from "./types.ts";

/** Where the server is, and who asks. */
export interface ClientOptions {
  /** The server's address, e.g. `https://ai.example.com`; `/v1` at its end is as good. */
  readonly baseUrl: string;
  /** A tenant's bearer token, or the operator's. */
  readonly token?: string;
  /** Sent with each request. */
  readonly headers?: Readonly<Record<string, string>>;
  /** In place of the global one. */
  readonly fetch?: typeof fetch;
}

/** What every method takes. */
export interface Options {
  /** Aborting ends the request; the method throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** The `x-request-id`; the server makes one otherwise. */
  readonly requestId?: string;
}

/** A module of an adapter. */
export interface TensorOptions extends Options {
  /** The linear's outputs and inputs, where the server has no base model to say them. */
  readonly shape?: { readonly out: number; readonly in: number };
}

/** See {@linkcode createClient}. Every method throws ApiError for a refusal, and what `fetch` throws. */
export interface Client {
  /** Cards of the base and of the adapters, or a page of them. */
  models(page?: { readonly limit?: number; readonly after?: string }, options?: Options): Promise<ModelList>;
  /** The card of the base, of an adapter, or of `base:adapter`. */
  model(id: string, options?: Options): Promise<ModelCard>;
  complete(request: CompletionRequest, options?: Options): Promise<Completion>;
  /** Chunks as they come. Leaving the iteration ends the request. */
  streamCompletion(
    request: CompletionRequest,
    options?: Options & StreamOptions,
  ): AsyncGenerator<Completion, void, void>;
  chat(request: ChatRequest, options?: Options): Promise<Chat>;
  /** Chunks as they come. Leaving the iteration ends the request. */
  streamChat(request: ChatRequest, options?: Options & StreamOptions): AsyncGenerator<ChatChunk, void, void>;
  embed(request: EmbeddingRequest, options?: Options): Promise<Embeddings>;
  /** `y + x dW^T`, or `x dW^T` without `y`: x (rows, in), y (rows, out), result (rows, out), float32. */
  apply(
    adapter: string,
    module: string,
    input: { readonly x: HostTensor; readonly y?: HostTensor },
    options?: TensorOptions,
  ): Promise<HostTensor>;
  /** dW of a module (out, in), float32. */
  delta(adapter: string, module: string, options?: TensorOptions): Promise<HostTensor>;
  /** Paths of the modules that an adapter adapts. */
  adapterModules(adapter: string, options?: Options): Promise<ModuleList>;
  /** The numbers of a module's pictures. */
  modulePicture(adapter: string, module: string, options?: Options): Promise<ModulePicture>;
  /** The norm of each module's dW; with `beside` the cosines between two adapters' dW. */
  moduleNorms(
    adapter: string,
    query?: { readonly beside?: string },
    options?: Options,
  ): Promise<ModuleNorms>;
  /** The operator's: serves the adapter `source` of the store, by default that of the same name. */
  loadAdapter(
    adapter: { readonly id: string; readonly source?: string; readonly pinned?: boolean },
    options?: Options,
  ): Promise<ModelCard>;
  /**
   * The operator's: serves the adapter of these files, `adapter_config.json` and `adapter_model.safetensors`, by a name. They
   * stay in the server's memory, until the name stands for another adapter or the server ends.
   */
  sendAdapter(
    id: string,
    files: Readonly<Record<"adapter_config.json" | "adapter_model.safetensors", Blob>>,
    options?: Options,
  ): Promise<ModelCard>;
  /** The operator's: serves nothing by that name any more. */
  unloadAdapter(id: string, options?: Options): Promise<void>;
  /** The operator's: keeps an adapter on the device, or no longer. */
  pinAdapter(id: string, pinned: boolean, options?: Options): Promise<ModelCard>;
}

interface Call extends Options {
  readonly method?: "GET" | "POST" | "PUT" | "DELETE";
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: string | Uint8Array | FormData;
}

type Send = (path: string, call?: Call) => Promise<Response>;

function senderOf({ baseUrl, token, headers, fetch: given }: ClientOptions): Send {
  const base = new URL(baseUrl.replace(/\/(?:v1\/?)?$/, ""));
  return async (path, { method = "GET", query = {}, body, signal, requestId } = {}) => {
    const url = new URL(`${base.href.endsWith("/") ? base.href : `${base.href}/`}${path}`);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const response = await (given ?? fetch)(url, {
      method,
      body: body as BodyInit | undefined,
      signal,
      headers: {
        ...headers,
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(requestId === undefined ? {} : { "x-request-id": requestId }),
        ...(typeof body === "string" ? { "content-type": "application/json" } : {}),
      },
    });
    if (response.ok) return response;
    throw new ApiError(errorFields(await response.text()), response);
  };
}

/** The values of a stream's events; an event that is an error is thrown. */
async function* events<Chunk>(response: Response): AsyncGenerator<Chunk, void, void> {
  const stream = response.body!.pipeThrough(
    new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>,
  )
    .pipeThrough(new EventSourceParserStream());
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new ApiError({ message: "The stream ended before its last event" }, { status: 0 });
      if (value.data === "[DONE]") return;
      const chunk = JSON.parse(value.data);
      if (chunk.error) throw new ApiError(chunk.error, { status: 0, headers: response.headers });
      yield chunk;
    }
  } finally {
    // Not awaited: a connection that is gone may never say so.
    reader.cancel().catch(() => {});
  }
}

const segment = encodeURIComponent;

const shapeText = ({ shape }: TensorOptions): string | undefined => shape && `${shape.out}x${shape.in}`;

async function tensorOf(response: Response, name: string): Promise<HostTensor> {
  return toTensor(parseSafetensors(new Uint8Array(await response.arrayBuffer())).read(name));
}

/**
 * A client of a server.
 *
 * @throws TypeError for a `baseUrl` that is no address.
 */
export function createClient(options: ClientOptions): Client {
  const send = senderOf(options);
  const json = async <Answer>(path: string, call?: Call): Promise<Answer> =>
    await (await send(path, call)).json() as Answer;
  const post = <Answer>(path: string, body: unknown, call: Options = {}): Promise<Answer> =>
    json<Answer>(path, { ...call, method: "POST", body: JSON.stringify(body) });
  async function* stream<Chunk>(
    path: string,
    request: object,
    { signal, requestId, ...streamOptions }: Options & StreamOptions = {},
  ): AsyncGenerator<Chunk, void, void> {
    const body = JSON.stringify({
      ...request,
      stream: true,
      ...(Object.keys(streamOptions).length > 0 ? { stream_options: streamOptions } : {}),
    });
    yield* events<Chunk>(await send(path, { method: "POST", body, signal, requestId }));
  }
  return {
    models: (query = {}, call) => json("v1/models", { ...call, query }),
    model: (id, call) => json(`v1/models/${segment(id)}`, call),
    complete: (request, call) => post("v1/completions", request, call),
    streamCompletion: (request, call) => stream("v1/completions", request, call),
    chat: (request, call) => post("v1/chat/completions", request, call),
    streamChat: (request, call) => stream("v1/chat/completions", request, call),
    embed: (request, call) => post("v1/embeddings", request, call),
    async apply(adapter, module, { x, y }, call = {}) {
      const tensors = [fromTensor("x", x), ...(y ? [fromTensor("y", y)] : [])];
      const response = await send(`v1/adapters/${segment(adapter)}/apply`, {
        ...call,
        method: "POST",
        body: writeSafetensors(tensors),
        query: { module, shape: shapeText(call) },
      });
      return await tensorOf(response, "y");
    },
    async delta(adapter, module, call = {}) {
      const query = { module, shape: shapeText(call) };
      return await tensorOf(
        await send(`v1/adapters/${segment(adapter)}/delta`, { ...call, query }),
        "delta_weight",
      );
    },
    adapterModules: (adapter, call) => json(`v1/adapters/${segment(adapter)}/modules`, call),
    modulePicture: (adapter, module, call) =>
      json(`v1/adapters/${segment(adapter)}/picture`, { ...call, query: { module } }),
    moduleNorms: (adapter, query = {}, call) =>
      json(`v1/adapters/${segment(adapter)}/norms`, { ...call, query }),
    loadAdapter: (adapter, call) => post("v1/adapters", adapter, call),
    async sendAdapter(id, files, call) {
      const form = new FormData();
      for (const [name, content] of Object.entries(files)) form.set(name, content, name);
      return await json(`v1/adapters/${segment(id)}`, { ...call, method: "PUT", body: form });
    },
    async unloadAdapter(id, call) {
      await json(`v1/adapters/${segment(id)}`, { ...call, method: "DELETE" });
    },
    pinAdapter: (id, pinned, call) => post(`v1/adapters/${segment(id)}/pin`, { pinned }, call),
  };
}
