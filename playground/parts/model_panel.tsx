/// <reference lib="dom" />
/**
 * The choice of a model and of the device that computes it.
 *
 * @module
 */
import { effect, signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { VNode } from "preact";
import type { NamedFile } from "../backend/backend.ts";
import type { OfferedModel } from "../state/config.ts";
import type { Session } from "../state/session.ts";
import type { OpeningChoice } from "../backend/browser.ts";
import type { ModelSource } from "../worker/protocol.ts";
import { chosenFiles, grouped, isModel } from "../state/files.ts";
import { FolderInput } from "./folder_input.tsx";
import { Progress } from "./progress.tsx";

/** Whether the panel is shown; it is where no model is open. */
export const isModelPanelOpen = signal(false);

/** A model that can be chosen. */
type Choice =
  | { readonly kind: "server" }
  | { readonly kind: "offered"; readonly model: OfferedModel }
  | { readonly kind: "url" | "hub" | "files" };

const descriptions = {
  server: ["This server", "The model that this server answers for"],
  url: ["A URL", "A folder of safetensors, or a GGUF file, on any server that lets pages read it"],
  hub: ["The Hugging Face hub", "org/name; files are kept in this browser"],
  files: ["Your disk", "A model's folder, or a GGUF file; nothing leaves this machine"],
} as const;

const textOf = (choice: Choice): readonly [title: string, about: string] =>
  choice.kind === "offered" ? [choice.model.name, "Comes with this page"] : descriptions[choice.kind];

function choicesOf({ config }: Session): readonly Choice[] {
  return [
    ...(config.server === undefined ? [] : [{ kind: "server" } as const]),
    ...config.models.map((model) => ({ kind: "offered", model } as const)),
    ...(["url", "hub", "files"] as const).map((kind) => ({ kind })),
  ];
}

/** The input that a choice needs. */
function Detail({ choice, text, onFiles }: {
  readonly choice: Choice;
  readonly text: { value: string };
  readonly onFiles: (files: readonly NamedFile[]) => void;
}): VNode | null {
  if (choice.kind === "url" || choice.kind === "hub") {
    const [label, example] = choice.kind === "url"
      ? ["Address of the folder or the file", "https://example.com/models/demo/"]
      : ["Name", "org/name"];
    return (
      <label class="field wide">
        <span>{label}</span>
        <input
          type="text"
          required
          spellcheck={false}
          autocapitalize="off"
          placeholder={example}
          value={text.value}
          onInput={({ currentTarget }) => text.value = currentTarget.value}
        />
      </label>
    );
  }
  if (choice.kind !== "files") return null;
  return (
    <div class="row">
      <label class="field wide">
        <span>A model's folder</span>
        <FolderInput onFiles={onFiles} />
      </label>
      <label class="field wide">
        <span>or a GGUF file</span>
        <input
          type="file"
          accept=".gguf"
          onChange={({ currentTarget }) => onFiles(chosenFiles(currentTarget.files ?? []))}
        />
      </label>
    </div>
  );
}

function sourceOf(
  choice: Exclude<Choice, { kind: "server" }>,
  text: string,
  files: readonly NamedFile[],
): ModelSource {
  if (choice.kind === "offered") return { kind: "url", ...choice.model };
  if (choice.kind === "url") return { kind: "url", url: text.trim() };
  if (choice.kind === "hub") return { kind: "hub", name: text.trim() };
  const model = grouped(files).find(isModel);
  if (!model) throw new Error("Cannot open a model: choose a folder with a config.json, or a .gguf file");
  return { kind: "files", files: model.files };
}

/** See the module's documentation. */
export function ModelPanel({ session }: { readonly session: Session }): VNode | null {
  const choices = choicesOf(session);
  const at = useSignal(0), text = useSignal(""), token = useSignal("");
  const files = useSignal<readonly NamedFile[]>([]);
  const device = useSignal<OpeningChoice["device"]>("auto");
  const quantize = useSignal<"" | "int8" | "int4">("");
  useEffect(() =>
    effect(() => {
      if (session.backend.value) isModelPanelOpen.value = false;
    }), []);
  const backend = session.backend.value, progress = session.progress.value;
  if (progress) return <Progress progress={progress} onStop={() => session.stopOpening()} />;
  if (backend && !isModelPanelOpen.value) return null;
  const choice = choices[Math.min(at.value, choices.length - 1)];
  const open = (): void => {
    if (choice.kind === "server") return void session.openServer(token.value);
    try {
      const source = sourceOf(choice, text.value, files.value);
      const opening: OpeningChoice = {
        source,
        device: device.value,
        ...(quantize.value ? { quantize: quantize.value } : {}),
      };
      void session.openBrowser(opening, choice.kind === "offered" ? choice.model : undefined);
    } catch (error) {
      session.fail(error);
    }
  };
  return (
    <form
      id="model-panel"
      class="card model-panel"
      aria-label="Model"
      onSubmit={(event) => {
        event.preventDefault();
        open();
      }}
    >
      <fieldset class="tiles">
        <legend>Open a model</legend>
        {choices.map((one, i) => {
          const [title, about] = textOf(one);
          return (
            <label key={title} class="tile">
              <input type="radio" name="model" checked={i === at.value} onChange={() => at.value = i} />
              <span>
                <b>{title}</b>
                <small>{about}</small>
              </span>
            </label>
          );
        })}
      </fieldset>
      <Detail choice={choice} text={text} onFiles={(chosen) => files.value = chosen} />
      {choice.kind === "server" && session.needsToken.value && (
        <label class="field wide">
          <span>Token</span>
          <input
            type="password"
            autocomplete="off"
            value={token.value}
            onInput={({ currentTarget }) => token.value = currentTarget.value}
          />
        </label>
      )}
      <div class="row end">
        {choice.kind !== "server" && (
          <>
            <label class="field">
              <span>Device</span>
              <select
                value={device.value}
                onChange={({ currentTarget }) =>
                  device.value = currentTarget.value as OpeningChoice["device"]}
              >
                <option value="auto">GPU, else CPU</option>
                <option value="webgpu">GPU (WebGPU)</option>
                <option value="cpu">CPU (WebAssembly)</option>
              </select>
            </label>
            <label class="field">
              <span>Weights</span>
              <select
                value={quantize.value}
                onChange={({ currentTarget }) => quantize.value = currentTarget.value as "" | "int8" | "int4"}
              >
                <option value="">as they are</option>
                <option value="int8">rounded to 8 bits</option>
                <option value="int4">rounded to 4 bits</option>
              </select>
            </label>
          </>
        )}
        <button type="submit" class="main">{choice.kind === "server" ? "Connect" : "Open"}</button>
      </div>
    </form>
  );
}
