/**
 * What the server is given.
 *
 * @module
 */
import type { AdapterService } from "../adapters/service.ts";
import type { Engine } from "../engine/generate.ts";
import type { Tokenizer } from "../models/tokenizer_types.ts";

/** The base model that is served. */
export interface ServedModel {
  /** Its name in requests and answers. */
  readonly id: string;
  readonly createdUnixSeconds: number;
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
}

/** What the server is given; it opens nothing by itself. */
export interface ServerDeps {
  /** Absent for a server of adapters alone: then no text is generated. */
  readonly model?: ServedModel;
  readonly adapters: AdapterService;
  /** Whether new work is taken; always, when absent. */
  readonly ready?: () => boolean;
  /** Takes one line for each failure that is the server's own. */
  readonly log?: (line: string) => void;
  /** Bytes of a JSON body at most; default 4 MiB. */
  readonly maxBodyBytes?: number;
  /** Bytes of a safetensors body, or of a result whose size a request names, at most; default 256 MiB. */
  readonly maxTensorBytes?: number;
}
