/**
 * The worker's methods: a model that was opened, its adapters, and texts.
 *
 * @module
 */
import {
  type AdapterCard,
  generateText,
  openDevice,
  type OpenModel,
  openModel,
  openUrlFolder,
} from "fourierft";
import type { AdapterInfo, Job } from "../backend/backend.ts";
import { counted, type CountedDevice } from "./counted.ts";
import { folderOfFiles, openSource } from "./folders.ts";
import type { AdapterSource, MethodName, Methods, Opening, TrainingMethod } from "./protocol.ts";
import { PageStore } from "./store.ts";

/** What a method is given beside its input. */
export interface Call<Name extends MethodName> {
  readonly tell: (event: Methods[Name]["event"]) => void;
  readonly signal: AbortSignal;
}

/** The worker's methods. */
export type Handlers = {
  readonly [Name in MethodName]: (
    input: Methods[Name]["input"],
    call: Call<Name>,
  ) => Promise<Methods[Name]["output"]>;
};

/** Sequences that run at once: a page has four columns, and a text that was stopped may have a step to go. */
const maxSequences = 8;

/** Bytes of the key-value cache: a page shares its GPU with the desktop. */
const cacheBytes = 2 ** 28;

/** Cells of a picture of dW: the page makes an image of them in one task. */
const mostCells = 2 ** 16;

interface Opened extends OpenModel {
  readonly counted: CountedDevice;
  readonly store: PageStore;
}

const infoOf = ({ id, peftType, sizeBytes }: AdapterCard): AdapterInfo => ({ id, peftType, sizeBytes });

function folderOf(source: AdapterSource) {
  return source.kind === "files" ? folderOfFiles(source.files) : openUrlFolder(source.url);
}

async function promptOf({ tokenizer }: Opened, { input }: Job, signal: AbortSignal): Promise<number[]> {
  if ("prompt" in input) return await tokenizer.encodeAsync(input.prompt, { signal });
  await tokenizer.prepareChat?.();
  const text = tokenizer.chatPrompt(input.messages.map((message) => ({ ...message })));
  return await tokenizer.encodeAsync(text, { signal, addSpecialTokens: false });
}

/** The methods of a worker that has no model yet; those of training are `trainingHandlers`. */
export function handlers(): Omit<Handlers, TrainingMethod> {
  let opened: Opened | undefined;
  const model = (): Opened => {
    if (!opened) throw new Error("Cannot do this yet: no model is open");
    return opened;
  };

  async function open({ source, device: kind, quantize }: Opening, { tell, signal }: Call<"open">) {
    tell({ text: "opening the device" });
    const device = counted(await openDevice({ kind }));
    signal.throwIfAborted();
    const { name, folder } = await openSource(source, tell);
    const store = new PageStore();
    for (const { id, url, peftType, sizeBytes } of source.kind === "url" ? source.adapters ?? [] : []) {
      const isKnown = peftType !== undefined && sizeBytes !== undefined;
      store.add(id, openUrlFolder(url), isKnown ? { peftType, sizeBytes } : undefined);
    }
    const made = await openModel(device.device, {
      folder,
      adapters: store,
      quantize,
      chat: "later",
      engine: { maxSequences, cacheBytes },
      onWeight: (done, total) => tell({ text: `weight ${done} of ${total}`, part: done / total }),
    });
    opened = { ...made, counted: device, store };
    return { id: name, maxModelLen: made.model.maxModelLen, device: device.device.description };
  }

  async function generate(job: Job, { tell, signal }: Call<"generate">): Promise<undefined> {
    const { engine, tokenizer } = model();
    const { temperature, topP, topK, repetitionPenalty, seed } = job.sampling;
    const request = {
      promptTokenIds: await promptOf(model(), job, signal),
      adapter: job.terms.length > 0 ? job.terms : undefined,
      maxTokens: job.maxTokens,
      sampling: { temperature, topP, topK, repetitionPenalty, seed },
      signal,
    };
    let tokens = 0;
    for await (const event of generateText(engine, request, { tokenizer, stop: job.stop })) {
      if (event.kind === "prompt") continue;
      tokens += event.tokens.length;
      tell({ text: event.text, tokens, finishReason: event.kind === "end" ? event.finishReason : null });
    }
  }

  return {
    open,
    generate,
    adapters: async () => (await model().registry.list()).map(infoOf),
    async addAdapter({ name, source }) {
      const { store, registry } = model();
      const takeBack = store.add(name, folderOf(source));
      try {
        // Read whole: a folder that is broken, or of another model, is refused now and not at its first text.
        await registry.load(name);
        return infoOf(await registry.card(name));
      } catch (error) {
        takeBack();
        throw error;
      }
    },
    modules: async (id) => await model().registry.modules(id),
    async picture({ id, module: path }, { signal }) {
      const { adapterModuleData } = await import("./pictures.ts");
      return await adapterModuleData(model().registry, { id, path }, { mostCells, signal });
    },
    async norms({ id, beside }, { signal }) {
      const { adapterModuleNumbers } = await import("./pictures.ts");
      return await adapterModuleNumbers(model().registry, id, { beside, signal });
    },
    memory: () => {
      const { counted, engine } = model();
      const { usedBlocks, blocks } = engine.cache;
      return Promise.resolve([
        { name: "memory", bytes: counted.bytes() },
        { name: "cache", part: usedBlocks / blocks },
      ]);
    },
  };
}
