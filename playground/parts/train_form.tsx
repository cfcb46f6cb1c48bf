/// <reference lib="dom" />
/**
 * What is learnt: the text, the method, and how long.
 *
 * @module
 */
import { useId } from "preact/hooks";
import type { VNode } from "preact";
import { methodChoices } from "../state/methods.ts";
import { formatOfForm, type TrainForm as Form, usualContextLength } from "../state/training.ts";
import { textEndings, type TextFormat } from "../state/training_text.ts";
import type { ViewProps } from "../views/view.ts";
import { NumberField } from "./field.tsx";
import { bytesText } from "./format.ts";

const formats: Readonly<Record<TextFormat, string>> = {
  text: "Text",
  jsonl: "JSON lines",
  json: "A JSON list",
};

const everyLinear = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj";

const recordHint = "A record has text; or prompt and completion; or messages of role and content.";

/** The text of a field, or a file in its place. */
function TextField({ session, training }: Pick<ViewProps, "session" | "training">): VNode {
  const form = training.form.value;
  const take = (file: File | undefined): void => {
    try {
      if (file) training.takeFile(file);
    } catch (error) {
      session.fail(error);
    }
  };
  const { file } = form;
  return (
    <>
      {file
        ? (
          <p class="row">
            <span>{file.name}, {bytesText(file.size)}</span>
            <button type="button" class="quiet" onClick={() => training.set({ file: undefined })}>
              Type a text instead
            </button>
          </p>
        )
        : (
          <textarea
            class="prompt"
            rows={7}
            aria-label="Text to learn"
            placeholder="Paste a text, or JSON lines of records; or drop a file anywhere on the page"
            value={form.text}
            onInput={({ currentTarget }) => training.set({ text: currentTarget.value })}
          />
        )}
      <div class="row">
        <label class="button">
          Choose a file
          <input
            type="file"
            class="visually-hidden"
            accept={textEndings}
            onChange={({ currentTarget }) => {
              take(currentTarget.files?.[0]);
              currentTarget.value = "";
            }}
          />
        </label>
        <label class="field inline">
          Read as
          <select
            value={formatOfForm(form)}
            onChange={({ currentTarget }) => training.set({ format: currentTarget.value as TextFormat })}
          >
            {(Object.keys(formats) as TextFormat[]).map((one) => (
              <option key={one} value={one}>{formats[one]}</option>
            ))}
          </select>
        </label>
        {formatOfForm(form) !== "text" && <p class="hint">{recordHint}</p>}
      </div>
    </>
  );
}

function MethodFields({ form, set }: {
  readonly form: Form;
  readonly set: (changed: Partial<Form>) => void;
}): VNode {
  const { method } = form, listId = useId();
  return (
    <>
      <label class="field">
        Name
        <input
          type="text"
          required
          maxLength={60}
          value={form.name}
          onInput={({ currentTarget }) => set({ name: currentTarget.value })}
        />
      </label>
      <label class="field">
        Method
        <select
          value={method.name}
          onChange={({ currentTarget }) =>
            set({ method: methodChoices.find(({ name }) => name === currentTarget.value), size: undefined })}
        >
          {methodChoices.map(({ name }) => <option key={name} value={name}>{name}</option>)}
        </select>
      </label>
      {method.size && (
        <NumberField
          label={method.size.label}
          {...{ min: 1, max: 1e6, step: 1, value: form.size ?? method.size.usual }}
          onValue={(size) => set({ size: size === undefined ? undefined : Math.round(size) })}
        />
      )}
      <label class="field">
        Linears
        <input
          type="text"
          list={listId}
          placeholder="PEFT's own"
          value={form.targetModules}
          onInput={({ currentTarget }) => set({ targetModules: currentTarget.value })}
        />
        <datalist id={listId}>
          <option value={everyLinear} />
        </datalist>
      </label>
    </>
  );
}

function RunFields({ form, longest, set }: {
  readonly form: Form;
  readonly longest: number;
  readonly set: (changed: Partial<Form>) => void;
}): VNode {
  const usualLength = usualContextLength(longest);
  const count = (
    label: string,
    name: "steps" | "batchSize" | "contextLength",
    max: number,
    usual: number,
  ) => (
    <NumberField
      label={label}
      {...{ min: 1, max, step: 1, value: form[name] ?? usual }}
      onValue={(value = usual) => set({ [name]: Math.round(value) })}
    />
  );
  return (
    <>
      {count("Steps", "steps", 1e6, 100)}
      {count("Sequences a step", "batchSize", 1024, 4)}
      {count("Tokens a sequence", "contextLength", longest, usualLength)}
      <NumberField
        label="Learning rate"
        {...{ min: 0, max: 10, step: 1e-5, value: form.lr }}
        placeholder="the method's"
        onValue={(lr) => set({ lr })}
      />
      <NumberField
        label="Held out, in %"
        {...{ min: 0, max: 90, step: 1, value: form.heldOut }}
        onValue={(heldOut = 0) => set({ heldOut })}
      />
    </>
  );
}

/** See the module's documentation. */
export function TrainForm({ session, training }: Pick<ViewProps, "session" | "training">): VNode {
  const form = training.form.value, busy = training.status.value !== "idle";
  const set = (changed: Partial<Form>): void => training.set(changed);
  const kept = training.kept.value;
  return (
    <form
      class="card composer"
      aria-label="What is learnt"
      onSubmit={(event) => {
        event.preventDefault();
        void training.begin();
      }}
    >
      <TextField session={session} training={training} />
      <div class="grid">
        <MethodFields form={form} set={set} />
        <RunFields form={form} longest={session.backend.value?.model.maxModelLen ?? 8192} set={set} />
      </div>
      <div class="row">
        <p class="hint">
          {kept && !busy
            ? `A new run takes the place of "${kept.job.name}"`
            : "Nothing leaves this machine. The run is kept in the browser's storage"}
        </p>
        <div class="actions">
          <button type="submit" class="main" disabled={busy}>Train</button>
        </div>
      </div>
    </form>
  );
}
