/**
 * The adapter of a language model that a run trains: a new one, or one that goes on.
 *
 * @module
 */
import { linearsAlone } from "../adapters/copies.ts";
import type { Adapter } from "../adapters/create.ts";
import type { LoadedAdapter } from "../adapters/peft.ts";
import type { Device } from "../device/device.ts";
import { layersLinears, type Model } from "../models/model.ts";
import type { TrainRunOptions } from "../training/options.ts";
import { savedParameters } from "./saved_parameters.ts";
import { adapterToContinue, newAdapter } from "./shared.ts";

/** An adapter, and what it trains beside linears. */
export type WithOwn = Adapter & Pick<LoadedAdapter, "replacements">;

/**
 * Makes or reads the adapter that a run trains.
 *
 * @throws ConfigError that names a module or a tensor; RangeError for a token past the embedding.
 */
export async function adapterToTrain(
  device: Device,
  model: Model,
  { adapter, seed, folder, methods }:
    & { readonly seed: number }
    & Pick<TrainRunOptions, "adapter" | "folder" | "methods">,
): Promise<WithOwn> {
  const { config, linears } = model;
  if (!("init" in adapter)) {
    const made = newAdapter(adapter, { config, linears: layersLinears(model), seed });
    const saved = await savedParameters(device, model, adapter);
    return { ...made, config: { ...made.config, ...saved.config }, replacements: saved.replacements };
  }
  const found = await adapterToContinue(adapter.init, { config, linears, folder, methods });
  linearsAlone({ modules: found.modules }, "train");
  return found;
}
