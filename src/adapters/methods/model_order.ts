/**
 * The order in which a model has its linears: adapters may number modules by it, and files are sorted by name.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";

/** The linears of a layer as transformers registers them: of Llama and its like, and of GPT-2. */
const ofLayer = [
  "self_attn.q_proj",
  "self_attn.k_proj",
  "self_attn.v_proj",
  "self_attn.o_proj",
  "mlp.gate_proj",
  "mlp.up_proj",
  "mlp.down_proj",
  "attn.c_attn",
  "attn.c_proj",
  "mlp.c_fc",
  "mlp.c_proj",
];

/** A path's layer, and its place there; the head comes after every layer. */
function placeOf(path: string): readonly [layer: number, place: number] {
  if (path === "lm_head") return [Infinity, 0];
  const [, layer, name] = /^[^\d]*\.(\d+)\.(.+)$/.exec(path) ?? [];
  const place = ofLayer.indexOf(name);
  if (place >= 0) return [Number(layer), place];
  throw new ConfigError(`Cannot use adapter module "${path}": its place in the model is not known`);
}

/**
 * The number of each module, in the model's order.
 *
 * @throws ConfigError for a module of unknown place.
 */
export function modelOrder(paths: readonly string[]): Map<string, number> {
  const places = paths.map((path) => ({ path, place: placeOf(path) }));
  places.sort((one, other) => {
    const [layer, place] = one.place, [otherLayer, otherPlace] = other.place;
    return layer === otherLayer ? place - otherPlace : layer - otherLayer;
  });
  return new Map(places.map(({ path }, number) => [path, number]));
}
