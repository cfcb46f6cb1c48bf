/**
 * A typed client of the server, for pages, Workers, Deno, Bun and Node.
 *
 * ```ts
 * import { createClient } from "fourierft/client";
 *
 * const client = createClient({ baseUrl: "http://127.0.0.1:8000", token: "a-long-secret" });
 * const read = async () => {
 *   for await (const chunk of client.streamCompletion({ model: "fourierft-kjv", prompt: "The king" })) {
 *     console.log(chunk.choices[0].text);
 *   }
 * };
 * console.log(typeof read);
 * ```
 *
 * OpenAI's own clients work, too; this one knows adapters, their tensors, and the operator's routes.
 *
 * @module
 */
export { type Client, type ClientOptions, createClient, type Options, type TensorOptions } from "./client.ts";
export { ApiError } from "./error.ts";
export type {
  AdapterTerm,
  Chat,
  ChatChoice,
  ChatChunk,
  ChatDelta,
  ChatFinishReason,
  ChatLogprob,
  ChatLogprobs,
  ChatRequest,
  Completion,
  CompletionChoice,
  CompletionLogprobs,
  CompletionRequest,
  EmbeddingRequest,
  Embeddings,
  FinishReason,
  GenerationFields,
  Message,
  ModelCard,
  ModelList,
  ModuleList,
  ModuleNorms,
  ModulePicture,
  ResponseFormat,
  StreamOptions,
  StructuredOutputs,
  Tool,
  ToolCall,
  ToolChoice,
  Usage,
} from "./types.ts";

export type { DeviceBuffer, DType, HostTensor, Tensor, TypedArray } from "../tensor.ts";
