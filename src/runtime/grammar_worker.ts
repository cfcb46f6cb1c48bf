/**
 * The module that the thread of the grammars runs.
 *
 * @module
 */
import type { ToGrammars } from "../grammar/messages.ts";
import { serveGrammars } from "../grammar/thread.ts";
import { onStarter } from "./starter.ts";

let serve: ((message: ToGrammars) => void) | undefined;

onStarter((message, answer) => {
  serve ??= serveGrammars(answer);
  serve(message as ToGrammars);
});
