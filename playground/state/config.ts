/// <reference lib="dom" />
/**
 * `playground.json`, beside the page: where a server is, and which models the page offers.
 *
 * @module
 */

/** An adapter of an offered model. What a list says of it is read from its files where it is not said here. */
export interface OfferedAdapter {
  readonly id: string;
  readonly url: string;
  /** `peft_type` of adapter_config.json. */
  readonly peftType?: string;
  /** Bytes of its two files together. */
  readonly sizeBytes?: number;
}

/** A model that the page offers; addresses are relative to the page. */
export interface OfferedModel {
  readonly name: string;
  readonly url: string;
  readonly adapters?: readonly OfferedAdapter[];
  /** Adapters of the first columns, beside the base. */
  readonly columns?: readonly string[];
  /** Prompts to begin with. */
  readonly prompts?: readonly string[];
}

/** See the module's documentation. */
export interface PageConfig {
  /** The server that the page talks to; absent for a page that computes by itself alone. */
  readonly server?: string;
  readonly models: readonly OfferedModel[];
}

function absolute<Value extends { readonly url: string }>(entry: Value): Value {
  return { ...entry, url: new URL(entry.url, document.baseURI).href };
}

/** Reads the page's configuration; where there is none, the page offers no model of its own. */
export async function readConfig(): Promise<PageConfig> {
  const response = await fetch(new URL("playground.json", document.baseURI));
  if (!response.ok) return { models: [] };
  const { server, models = [] } = await response.json() as Partial<PageConfig>;
  return {
    ...(server === undefined ? {} : { server: new URL(server, document.baseURI).href }),
    models: models.map((model) => ({ ...absolute(model), adapters: model.adapters?.map(absolute) })),
  };
}
