/**
 * Model cards, and which model a request names.
 *
 * @module
 */
import type { AdapterTerm } from "../adapters/registry.ts";
import type { AdapterCard } from "../adapters/service.ts";
import { NotFoundError } from "../errors.ts";
import type { ServedModel, ServerDeps } from "./deps.ts";
import { quoted } from "./echo.ts";
import { InvalidRequestError, ModelNotFoundError } from "./errors.ts";
import { type AskedPage, type List, pageOf } from "./pages.ts";

/** vLLM's model card, with what is known of an adapter. */
export interface ModelCard {
  readonly id: string;
  readonly object: "model";
  /** Unix seconds. */
  readonly created: number;
  readonly owned_by: string;
  /** The name of the files: the base's, or the adapter's in its store. */
  readonly root: string;
  /** The base of an adapter; null for a base. */
  readonly parent: string | null;
  /** Tokens of prompt and answer together at most; null where no base is served. */
  readonly max_model_len: number | null;
  readonly adapter?: {
    readonly peft_type: string;
    readonly size_bytes: number;
    /** SHA-256 of config and weights, hex; null until first loaded. */
    readonly digest: string | null;
    readonly resident: boolean;
    /** Whether it stays on the device though others need the room. */
    readonly pinned: boolean;
  };
}

/** What knows models and adapters. */
export type ModelDeps = Pick<ServerDeps, "model" | "encoder" | "adapters">;

/** What cards say of the base. */
interface Base {
  readonly id: string;
  readonly createdUnixSeconds: number;
  readonly maxModelLen: number;
}

/** What is served, a model that generates or an encoder. */
function baseOf({ model, encoder }: Pick<ModelDeps, "model" | "encoder">): Base | undefined {
  if (model) return { ...model, maxModelLen: model.engine.maxModelLen };
  return encoder && { ...encoder, maxModelLen: encoder.encoder.maxModelLen };
}

function baseCard({ id, createdUnixSeconds, maxModelLen }: Base): ModelCard {
  return {
    id,
    object: "model",
    created: createdUnixSeconds,
    owned_by: "fourierft",
    root: id,
    parent: null,
    max_model_len: maxModelLen,
  };
}

function adapterCard(card: AdapterCard, model: Base | undefined): ModelCard {
  return {
    // The base's name alone is the base.
    id: card.id === model?.id ? `${model.id}:${card.id}` : card.id,
    object: "model",
    created: card.createdUnixSeconds,
    owned_by: "fourierft",
    root: card.id,
    parent: model?.id ?? null,
    max_model_len: model?.maxModelLen ?? null,
    adapter: {
      peft_type: card.peftType,
      size_bytes: card.sizeBytes,
      digest: card.digest ?? null,
      resident: card.resident,
      pinned: card.pinned ?? false,
    },
  };
}

/** The card of an adapter. */
export function cardOfAdapter(card: AdapterCard, deps: ModelDeps): ModelCard {
  return adapterCard(card, baseOf(deps));
}

/** Cards of adapters, sorted by their names in the store; of a page, no others are looked at. */
export async function adapterList(deps: ModelDeps, asked?: AskedPage): Promise<List<ModelCard>> {
  const model = baseOf(deps), { adapters } = deps;
  if (!asked) {
    return { object: "list", data: (await adapters.list()).map((card) => adapterCard(card, model)) };
  }
  if (!adapters.page) return pageOf((await adapterList(deps)).data, asked);
  const { cards, hasMore } = await adapters.page(ofStore(asked, model));
  return { object: "list", data: cards.map((card) => adapterCard(card, model)), has_more: hasMore };
}

/** A page whose `after` is the adapter's name in the store: one of the base's name is listed as `base:base`. */
function ofStore(asked: AskedPage, model: Base | undefined): AskedPage {
  return model && asked.after === `${model.id}:${model.id}` ? { ...asked, after: model.id } : asked;
}

/** The base, where one is served, and adapters. */
export async function modelList(deps: ModelDeps, asked?: AskedPage): Promise<List<ModelCard>> {
  const model = baseOf(deps);
  // The base comes first: after another entry, and after the base, there are adapters alone.
  if (!model) return await adapterList(deps, asked);
  if (asked?.after === model.id) return await adapterList(deps, { limit: asked.limit });
  if (asked?.after !== undefined) return await adapterList(deps, asked);
  const base = baseCard(model);
  if (!asked) return { object: "list", data: [base, ...(await adapterList(deps)).data] };
  // A page of the base alone still has to know whether there are adapters.
  const { data, has_more } = await adapterList(deps, { limit: Math.max(1, asked.limit - 1) });
  const shown = data.slice(0, asked.limit - 1);
  return { object: "list", data: [base, ...shown], has_more: has_more || shown.length < data.length };
}

/** The base, an adapter, or `base:adapter`. */
export async function modelCard(name: string, deps: ModelDeps): Promise<ModelCard> {
  const { adapters } = deps, model = baseOf(deps);
  if (name === model?.id) return baseCard(model);
  // No adapter's name is so long, and a store must not be asked for such a name.
  if (name.length > mostNameLength) throw unknownModel(name);
  const prefix = `${model?.id}:`;
  const id = model && name.startsWith(prefix) ? name.slice(prefix.length) : name;
  try {
    return adapterCard(await adapters.card(id), model);
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    throw unknownModel(name);
  }
}

/** Characters of a model's name at most. */
export const mostNameLength = 1024;

function unknownModel(name: string): ModelNotFoundError {
  return new ModelNotFoundError(
    `Cannot find model ${quoted(name)}: it is neither the base model nor an adapter`,
  );
}

/** The model and adapter that a request's `model` names. */
export interface Target {
  readonly model: ServedModel;
  /** An adapter, or adapters that are added up; absent for the base alone. */
  readonly adapter?: string | readonly AdapterTerm[];
}

/**
 * The base and adapter that a request names: the base's id, an adapter's, or `base:adapter`.
 *
 * @throws ModelNotFoundError for another name, and where no base is served; ConfigError for a broken adapter.
 */
export async function resolveModel(name: string, deps: ModelDeps): Promise<Target> {
  const { model } = deps;
  if (!model) {
    const why = deps.encoder
      ? "an encoder is served here, which generates nothing"
      : "no base model is served here";
    throw new ModelNotFoundError(`Cannot use model ${quoted(name)}: ${why}`);
  }
  const { root, parent } = await modelCard(name, deps);
  return parent === null ? { model } : { model, adapter: root };
}

/** One of `adapters`, by the id that the store has. */
async function resolveTerm(
  { id, scale }: AdapterTerm,
  { at, deps }: { readonly at: number; readonly deps: ModelDeps },
): Promise<AdapterTerm> {
  const param = `adapters[${at}].id`;
  try {
    const card = await modelCard(id, deps);
    if (card.parent !== null || !deps.model) return { id: card.root, scale };
  } catch (error) {
    if (!(error instanceof ModelNotFoundError)) throw error;
    throw new ModelNotFoundError(`Cannot find ${param} ${quoted(id)}: there is no such adapter`, { param });
  }
  throw new InvalidRequestError(`Cannot use ${param} ${quoted(id)}: it is the base model, not an adapter`, {
    param,
    code: "invalid_value",
  });
}

/**
 * The models that a request names by its `models`, each a base or an adapter; that of its `model`, where there are none.
 *
 * @throws as {@linkcode resolveModel}, for each of them; InvalidRequestError where `model` names an adapter, too.
 */
export async function resolveEach(
  models: readonly string[],
  target: Target,
  deps: ModelDeps,
): Promise<readonly Target[]> {
  if (models.length === 0) return [target];
  if (target.adapter !== undefined) {
    throw new InvalidRequestError(
      'Cannot use "models" with a model or adapters of its own: "model" names the base model then',
      { param: "models", code: "invalid_value" },
    );
  }
  return await Promise.all(models.map(async (name, at) => {
    try {
      return await resolveModel(name, deps);
    } catch (error) {
      if (!(error instanceof ModelNotFoundError)) throw error;
      throw new ModelNotFoundError(error.message, { param: `models[${at}]` });
    }
  }));
}

/**
 * The base and adapters that a request names by its `model` and `adapters`. A list of adapters goes with the base's name.
 *
 * @throws as {@linkcode resolveModel}, for each of them; InvalidRequestError where `model` names an adapter, too.
 */
export async function resolveTarget(
  { model: name, adapters }: { readonly model: string; readonly adapters: readonly AdapterTerm[] },
  deps: ModelDeps,
): Promise<Target> {
  const target = await resolveModel(name, deps);
  if (adapters.length === 0) return target;
  if (target.adapter !== undefined) {
    throw new InvalidRequestError(
      `Cannot use "adapters" with model ${quoted(name)}: it names an adapter already; name the base model`,
      { param: "adapters", code: "invalid_value" },
    );
  }
  return {
    ...target,
    adapter: await Promise.all(adapters.map((term, at) => resolveTerm(term, { at, deps }))),
  };
}
