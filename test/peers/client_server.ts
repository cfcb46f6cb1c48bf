/**
 * A server for clients of others: the demo model on the CPU, with a template that has a place for tools. Prints its address,
 * and the body of each request, a line each: `deno run -A test/peers/client_server.ts`. {@linkcode ./clients.mjs} asks it.
 *
 * @module
 */
import { cpuDevice, openModel } from "../../mod.ts";
import { openAdapterStore, openFolder, openGrammars, serveApp } from "../../src/runtime/mod.ts";
import { createApp } from "../../src/server/mod.ts";

const { engine, tokenizer, registry } = await openModel(cpuDevice(), {
  folder: await openFolder("examples/demo/base"),
  adapters: await openAdapterStore("examples/demo/adapters"),
});
const grammars = openGrammars(tokenizer, { vocabSize: engine.vocabSize });
const app = createApp({
  model: {
    ...{ id: "base", createdUnixSeconds: 0, engine, grammars },
    tokenizer: { ...tokenizer, toolTemplate: "{{ tools }}<tool_call>" },
  },
  adapters: registry,
  middleware: [async (c, next) => {
    if (c.req.method === "POST") console.log(JSON.stringify([c.req.path, await c.req.raw.clone().json()]));
    await next();
  }],
});
const { port } = await serveApp(app.fetch, { port: 0, hostname: "127.0.0.1" });
console.log(`http://127.0.0.1:${port}/v1`);
