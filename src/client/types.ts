/**
 * The fields of requests and answers. `GET /openapi.json` has the rules.
 *
 * @module
 */

/** An adapter of a sum, and its scale; 1 unless given. */
export interface AdapterTerm {
  readonly id: string;
  readonly scale?: number;
}

/** Fields of completions and chats. */
export interface GenerationFields {
  /** The base model, an adapter, or `base:adapter`. */
  readonly model: string;
  /** Beside the base's name: up to 8 adapters that are added up. */
  readonly adapters?: readonly AdapterTerm[];
  readonly n?: number;
  readonly temperature?: number;
  readonly top_p?: number;
  readonly top_k?: number;
  readonly min_p?: number;
  readonly presence_penalty?: number;
  readonly frequency_penalty?: number;
  readonly repetition_penalty?: number;
  /** Added to the logits of tokens, by their ids. */
  readonly logit_bias?: Readonly<Record<string, number>>;
  /** Requests of other salts share no cached beginning with this one. */
  readonly cache_salt?: string;
  /** An integer of 64 bits; past 2^53 a number is not exact. */
  readonly seed?: number;
  readonly stop?: string | readonly string[];
  readonly stop_token_ids?: readonly number[];
  readonly include_stop_str_in_output?: boolean;
  readonly skip_special_tokens?: boolean;
  readonly ignore_eos?: boolean;
  readonly min_tokens?: number;
  readonly return_token_ids?: boolean;
  /** What form an answer has. */
  readonly response_format?: ResponseFormat;
  /** vLLM's: one of its fields. */
  readonly structured_outputs?: StructuredOutputs;
  /** A JSON schema, or its text. */
  readonly guided_json?: Readonly<Record<string, unknown>> | string;
  readonly guided_regex?: string;
  readonly guided_choice?: readonly string[];
  readonly guided_grammar?: string;
  /** The end of the answer's id. */
  readonly request_id?: string;
}

/** OpenAI's form of an answer. */
export type ResponseFormat =
  | { readonly type: "text" | "json_object" }
  | {
    readonly type: "json_schema";
    readonly json_schema: {
      readonly schema: Readonly<Record<string, unknown>>;
      readonly name?: string;
      readonly description?: string;
      readonly strict?: boolean;
    };
  };

/** vLLM's form of an answer. */
export interface StructuredOutputs {
  /** A JSON schema, or its text. */
  readonly json?: Readonly<Record<string, unknown>> | string;
  readonly json_object?: boolean;
  readonly regex?: string;
  readonly choice?: readonly string[];
  readonly grammar?: string;
}

/** A body of /v1/completions. */
export interface CompletionRequest extends GenerationFields {
  /** Beside the base's name: up to 128 models and adapters, each of which continues every prompt. */
  readonly models?: readonly string[];
  /** Texts or token ids, one or several. */
  readonly prompt: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  readonly max_tokens?: number;
  readonly logprobs?: number;
  readonly echo?: boolean;
}

/** A call of a function. */
export interface ToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; /** JSON. */ readonly arguments: string };
}

/** A function that the model may call. */
export interface Tool {
  readonly type: "function";
  readonly function: {
    readonly name: string;
    readonly description?: string;
    /** A JSON schema. */
    readonly parameters?: Readonly<Record<string, unknown>>;
    readonly strict?: boolean;
  };
}

/** Whether a call may come, must come, or which. */
export type ToolChoice = "none" | "auto" | "required" | {
  readonly type: "function";
  readonly function: { readonly name: string };
};

/** A message of a chat. */
export interface Message {
  readonly role: string;
  /** Null or absent beside an assistant's calls. */
  readonly content?: string | null | readonly { readonly type: "text"; readonly text: string }[];
  readonly tool_calls?: readonly ToolCall[];
  /** Of a tool's answer: the call. */
  readonly tool_call_id?: string;
}

/** A body of /v1/chat/completions. */
export interface ChatRequest extends GenerationFields {
  readonly messages: readonly Message[];
  readonly max_tokens?: number;
  readonly max_completion_tokens?: number;
  readonly tools?: readonly Tool[];
  readonly tool_choice?: ToolChoice;
  readonly parallel_tool_calls?: boolean;
  readonly logprobs?: boolean;
  readonly top_logprobs?: number;
}

/** How a stream counts. */
export interface StreamOptions {
  /** Counts in a last chunk. */
  readonly include_usage?: boolean;
  /** Counts in each chunk. */
  readonly continuous_usage_stats?: boolean;
}

/** Counts of tokens. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** Log-probabilities of /v1/completions: one entry a token in each list. */
export interface CompletionLogprobs {
  readonly text_offset: readonly number[];
  readonly token_logprobs: readonly (number | null)[];
  readonly tokens: readonly string[];
  readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[];
}

/** Why a choice ended; null while it goes on. */
export type FinishReason = "stop" | "length" | null;

/** The same of a chat, which calls of tools may end. */
export type ChatFinishReason = FinishReason | "tool_calls";

/** A choice of /v1/completions, or some more of one. */
export interface CompletionChoice {
  readonly index: number;
  /** Its model, where the request names several. */
  readonly model?: string;
  readonly text: string;
  readonly logprobs: CompletionLogprobs | null;
  readonly finish_reason: FinishReason;
  /** The stop string or the token that ended it, where the request names some. */
  readonly stop_reason?: string | number | null;
  readonly token_ids?: readonly number[];
  readonly prompt_token_ids?: readonly number[] | null;
}

/** An answer of /v1/completions. */
export interface Completion {
  readonly id: string;
  readonly object: "text_completion";
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  readonly choices: readonly CompletionChoice[];
  /** In a stream only where it is asked for. */
  readonly usage?: Usage | null;
}

/** One token's log-probability in a chat. */
export interface ChatLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

/** Log-probabilities of a chat. */
export interface ChatLogprobs {
  readonly content: readonly (ChatLogprob & { readonly top_logprobs: readonly ChatLogprob[] })[];
  readonly refusal: null;
}

/** A choice of a chat. */
export interface ChatChoice {
  readonly index: number;
  readonly message: {
    readonly role: "assistant";
    /** Null where there is nothing but calls. */
    readonly content: string | null;
    readonly refusal: null;
    readonly tool_calls?: readonly ToolCall[];
  };
  readonly logprobs: ChatLogprobs | null;
  readonly finish_reason: ChatFinishReason;
  readonly stop_reason?: string | number | null;
  readonly token_ids?: readonly number[];
}

/** An answer of /v1/chat/completions. */
export interface Chat {
  readonly id: string;
  readonly object: "chat.completion";
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  readonly choices: readonly ChatChoice[];
  readonly usage: Usage;
  readonly prompt_token_ids?: readonly number[];
}

/** Some more of a chat's choice; its first chunk names the role. */
export interface ChatDelta {
  readonly index: number;
  readonly delta: {
    readonly role?: "assistant";
    readonly content?: string;
    /** Calls that are complete; `index` counts those of the choice. */
    readonly tool_calls?: readonly (ToolCall & { readonly index: number })[];
  };
  readonly logprobs: ChatLogprobs | null;
  readonly finish_reason: ChatFinishReason;
  readonly stop_reason?: string | number | null;
  readonly token_ids?: readonly number[];
}

/** A chunk of a streamed chat. */
export interface ChatChunk {
  readonly id: string;
  readonly object: "chat.completion.chunk";
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  readonly choices: readonly ChatDelta[];
  readonly usage?: Usage | null;
  readonly prompt_token_ids?: readonly number[];
}

/** A card of a model or an adapter. */
export interface ModelCard {
  readonly id: string;
  readonly object: "model";
  /** Unix seconds. */
  readonly created: number;
  readonly owned_by: string;
  readonly root: string;
  /** The base of an adapter; null for a base. */
  readonly parent: string | null;
  /** Tokens of prompt and answer together at most. */
  readonly max_model_len: number | null;
  readonly adapter?: {
    readonly peft_type: string;
    readonly size_bytes: number;
    /** SHA-256 of config and weights, hex; null until first loaded. */
    readonly digest: string | null;
    readonly resident: boolean;
    readonly pinned: boolean;
  };
}

/** A list of cards; `has_more` where a page was asked for. */
export interface ModelList {
  readonly object: "list";
  readonly data: readonly ModelCard[];
  readonly has_more?: boolean;
}

/** A body of /v1/embeddings; `float` numbers unless told. */
export interface EmbeddingRequest {
  readonly model: string;
  readonly input: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  readonly encoding_format?: "float" | "base64";
  readonly dimensions?: number;
  readonly truncate_prompt_tokens?: number;
}

/** An answer of /v1/embeddings; base64 has little-endian float32. */
export interface Embeddings {
  readonly id: string;
  readonly object: "list";
  readonly model: string;
  readonly data: readonly {
    readonly object: "embedding";
    readonly index: number;
    readonly embedding: readonly number[] | string;
  }[];
  readonly usage: { readonly prompt_tokens: number; readonly total_tokens: number };
}

/** The modules that an adapter adapts. */
export interface ModuleList {
  readonly object: "list";
  /** By their paths, in the files' order. */
  readonly data: readonly { readonly id: string; readonly object: "module" }[];
}

/** The numbers of a module's pictures, rounded to six digits. */
export interface ModulePicture {
  readonly object: "module_numbers";
  readonly module: string;
  /** (out, in). */
  readonly shape: readonly [number, number];
  /** Null where the method has no spectrum. Entry l of u, v and c is one coefficient. */
  readonly spectrum:
    | {
      /** Coefficients of the file; at most 5,000 of them, the greatest, are told. */
      readonly total: number;
      /** Null where u and v are frequencies: cycles over the rows and the columns. */
      readonly wavelet: string | null;
      readonly u: readonly number[];
      readonly v: readonly number[];
      readonly c: readonly number[];
      readonly u_range: readonly [number, number];
      readonly v_range: readonly [number, number];
      readonly mirrored_pairs: number;
    }
    | null;
  /** dW in cells, row-major: elements, or square blocks of `block` rows and columns reduced to a number. */
  readonly delta: {
    readonly rows: number;
    readonly columns: number;
    readonly block: number;
    readonly reduction: "mean" | "rms" | null;
    readonly values: readonly number[];
  };
  /** Of the coefficients, or of dW's elements where there is no spectrum. */
  readonly distribution: {
    readonly edges: readonly number[];
    readonly counts: readonly number[];
    readonly total: number;
    readonly mean: number;
    readonly deviation: number;
    readonly most: number;
  };
  /** Descending; null where the method has no factors. */
  readonly singular_values: readonly number[] | null;
}

/** Frobenius norms of modules' dW, or cosines between two adapters' dW. */
export interface ModuleNorms {
  readonly object: "list";
  /** By the modules' paths. */
  readonly data: readonly { readonly id: string; readonly value: number }[];
  /** Modules without a number here: their dW would have to be built, or is zero where a cosine is asked for. */
  readonly left_out: number;
}
