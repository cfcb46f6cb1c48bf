/**
 * Every command by its name.
 *
 * @module
 */
import type { ArgsDef } from "citty";
import { chat } from "./chat.ts";
import { combine } from "./combine.ts";
import type { DefinedCommand } from "./command.ts";
import { completionsOf } from "./completions.ts";
import { convert } from "./convert.ts";
import { delta } from "./delta.ts";
import { generate } from "./generate.ts";
import { inspect } from "./inspect.ts";
import { merge } from "./merge.ts";
import { perplexity } from "./perplexity.ts";
import { publish } from "./publish.ts";
import { quantize } from "./quantize.ts";
import { serve } from "./serve.ts";
import { top } from "./top.ts";
import { train } from "./train.ts";

/** A command whose own arguments' types are left out. */
export type Command = DefinedCommand<ArgsDef>;

/** In the order in which help lists them. */
export const commands: ReadonlyMap<string, Command> = new Map(
  Object.entries({
    serve,
    chat,
    top,
    publish,
    inspect,
    delta,
    merge,
    combine,
    generate,
    train,
    convert,
    quantize,
    perplexity,
    completions: completionsOf(() => commands),
  })
    .map(([name, command]) => [name, command as unknown as Command]),
);
