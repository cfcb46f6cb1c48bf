/**
 * The fields of OpenAI's completion routes that are followed, vLLM's among them.
 *
 * Lists that may be long are taken as they are here: {@linkcode ./prompts.ts} and {@linkcode ./messages.ts} check them.
 *
 * @module
 */
import * as z from "zod";
import { structureFields } from "./structured.ts";
import { toolFields } from "./tools.ts";

const maxTopLogprobs = 20;
const maxStopTokenIds = 128;
const maxAdapters = 8;
const maxModels = 128;
const maxScale = 1000;

const stopString = z.string()
  .min(1, { error: "a stop string must not be empty" })
  .max(512, { error: "a stop string must have at most 512 characters" });

/** What the OpenAPI document says of a value that is checked later, piece by piece. */
const later = (schema: Readonly<Record<string, unknown>>) => z.unknown().meta(schema);

/** A list that is capped before its entries are checked. */
function shortList<T extends z.ZodType>(entry: T, most: number): z.ZodType<z.output<T>[]> {
  const { $schema: _, ...items } = z.toJSONSchema(entry, { io: "input" });
  return z.array(z.unknown()).meta({ items, maxItems: most })
    .refine((list) => list.length <= most, { error: `it must be a list of at most ${most}`, abort: true })
    .pipe(z.array(entry)) as unknown as z.ZodType<z.output<T>[]>;
}

const stop = z.union([stopString, z.array(z.unknown()).meta({ items: { type: "string" }, maxItems: 16 })], {
  error: "it must be a text or a list of at most 16 texts",
})
  .refine((value) => typeof value === "string" || value.length <= 16, {
    error: "it must be a text or a list of at most 16 texts",
    abort: true,
  })
  .transform((value) => typeof value === "string" ? [value] : value)
  .pipe(z.array(stopString));

const seedRule = "it must be an integer of 64 bits";
const seed = z.union([z.bigint(), z.number()], { error: seedRule })
  .refine((value) => typeof value === "bigint" || Number.isSafeInteger(value), {
    error: seedRule,
    abort: true,
  })
  .transform((value) => BigInt(value))
  .refine((value) => value === BigInt.asIntN(64, value), { error: seedRule });

const streamOptions = z.strictObject({
  include_usage: z.boolean().nullish(),
  continuous_usage_stats: z.boolean().nullish(),
  include_obfuscation: z.literal(false, { error: "obfuscation is not supported" }).nullish(),
});

const adapters = shortList(
  z.strictObject({
    id: z.string().min(1),
    scale: z.number().min(-maxScale).max(maxScale).default(1),
  }),
  maxAdapters,
);

const maxBiases = 1024;

/** Biases by token id, as JSON has them: keys are texts. */
const logitBias = z.record(z.string(), z.unknown())
  .refine((biases) => Object.keys(biases).length <= maxBiases, {
    error: `it must have at most ${maxBiases} tokens`,
    abort: true,
  })
  .pipe(z.record(
    z.string().regex(/^(0|[1-9][0-9]{0,9})$/, { error: "a key must be a token id" }),
    z.number().min(-100).max(100),
  ))
  .transform((biases) => new Map(Object.entries(biases).map(([id, bias]) => [Number(id), bias])));

const common = {
  model: z.string().min(1),
  adapters: adapters.default([]),
  n: z.number().int().min(1).max(128).default(1),
  temperature: z.number().min(0).max(2).default(1),
  top_p: z.number().gt(0).max(1).default(1),
  top_k: z.number().int().min(-1).default(0),
  min_p: z.number().min(0).max(1).default(0),
  presence_penalty: z.number().min(-2).max(2).default(0),
  frequency_penalty: z.number().min(-2).max(2).default(0),
  repetition_penalty: z.number().gt(0).default(1),
  logit_bias: logitBias.optional(),
  cache_salt: z.string().min(1).max(256).optional(),
  seed: seed.optional(),
  stop: stop.default([]),
  stop_token_ids: shortList(z.number().int().nonnegative(), maxStopTokenIds).default([]),
  include_stop_str_in_output: z.boolean().default(false),
  skip_special_tokens: z.boolean().default(true),
  ignore_eos: z.boolean().default(false),
  min_tokens: z.number().int().min(0).default(0),
  stream: z.boolean().default(false),
  stream_options: streamOptions.optional(),
  return_token_ids: z.boolean().default(false),
  ...structureFields,
  request_id: z.string().min(1).max(200).regex(/^[\x21-\x7e]*$/, {
    error: "it must be of printable ASCII characters without spaces",
  }).optional(),
};

const tokenIds = { type: "array", items: { type: "integer", minimum: 0 } } as const;

/** Texts or token ids, one or several. */
export const textsField = later({
  anyOf: [
    { type: "string" },
    { type: "array", items: { type: "string" } },
    tokenIds,
    { type: "array", items: tokenIds },
  ],
});

const messagesField = later({
  type: "array",
  items: {
    type: "object",
    required: ["role"],
    properties: {
      role: { type: "string" },
      content: { type: ["string", "array", "null"] },
      tool_calls: { type: "array", items: { type: "object", required: ["function"] } },
      tool_call_id: { type: "string" },
    },
  },
});

/** A body of /v1/completions. */
export const completionBody = z.strictObject({
  ...common,
  models: shortList(z.string().min(1), maxModels).default([]),
  prompt: textsField.optional(),
  max_tokens: z.number().int().min(0).default(16),
  logprobs: z.number().int().min(0).max(maxTopLogprobs).optional(),
  echo: z.boolean().default(false),
});

/** A body of /v1/chat/completions. */
export const chatBody = z.strictObject({
  ...common,
  messages: messagesField.optional(),
  max_tokens: z.number().int().min(1).optional(),
  max_completion_tokens: z.number().int().min(1).optional(),
  ...toolFields,
  logprobs: z.boolean().default(false),
  top_logprobs: z.number().int().min(0).max(maxTopLogprobs).optional(),
});

/** The fields of both bodies. */
export type Common = Omit<
  z.output<typeof completionBody>,
  "models" | "prompt" | "max_tokens" | "logprobs" | "echo"
>;
