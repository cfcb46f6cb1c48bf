/**
 * The OpenAI-compatible server: a web handler over an engine and adapters.
 *
 * @module
 */
export type { Access } from "./access.ts";
export { createApp } from "./app.ts";
export type { Auth } from "./auth.ts";
export type { ServedEncoder, ServedModel, ServerDeps } from "./deps.ts";
export type { RequestRecord } from "./exchange.ts";
export { defaultLimits, type ServerLimits } from "./limits.ts";
export { type OpenRequest, OpenRequests } from "./open_requests.ts";
export type { Page, PageFile } from "./page.ts";
export { type Admission, type Clock, Quota, type QuotaLimits } from "./quota.ts";
export type { PeerStats } from "./peers.ts";
export type { SharedAnswer, SharedCounts, SharedLimits } from "./quota.ts";
export { type Tenant, type TenantOptions, Tenants } from "./tenants.ts";

export type { AdapterAdmin } from "../adapters/admin.ts";
export type { SentFiles } from "../adapters/uploads.ts";
export type { LinearShape } from "../adapters/method.ts";
export type { AdapterTerm } from "../adapters/registry.ts";
export type {
  AdapterCard,
  AdapterPage,
  AdapterService,
  AdapterStats,
  PageOptions,
  ResidentAdapter,
} from "../adapters/service.ts";
export type { ConstrainedRun, Constraint } from "../engine/constraint.ts";
export type { EncodeRequest, EncoderInput, EncoderOutput } from "../engine/encode_request.ts";
export type { EncodingService } from "../engine/encoding.ts";
export type {
  Engine,
  EngineStats,
  GenerateEvent,
  GenerateRequest,
  Owner,
  Sampling,
  TokenLogprobs,
} from "../engine/generate.ts";
export type { GrammarService } from "../grammar/grammars.ts";
export type { GrammarSpec, TagFormat } from "../grammar/spec.ts";
export type { CacheCounts } from "../engine/paging.ts";
export type {
  ChatMessage,
  ChatOptions,
  PairTokenizer,
  Tokenizer,
  TypedTokens,
} from "../models/tokenizer_types.ts";
export type { DeviceBuffer, DType, HostTensor, Tensor, TypedArray } from "../tensor.ts";
