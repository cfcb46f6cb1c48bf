/**
 * What an adapter is made of: a module's coefficients, dW and distributions, and the norms of all modules; or two adapters
 * beside each other.
 *
 * @module
 */
import { useSignal } from "@preact/signals";
import type { Figure } from "fourierft/pictures";
import { useEffect } from "preact/hooks";
import type { VNode } from "preact";
import { Picture } from "../parts/picture.tsx";
import { picturesOf, sharedModules } from "../state/pictures.ts";
import { messageOf, wasAborted } from "../state/session.ts";
import type { ViewProps } from "./view.ts";

/** A labelled choice of one of some texts. */
function Choice({ label, value, values, none, onValue }: {
  readonly label: string;
  readonly value: string | undefined;
  readonly values: readonly string[];
  /** The text of no choice, where there may be none. */
  readonly none?: string;
  readonly onValue: (value: string | undefined) => void;
}): VNode {
  return (
    <label class="field wide">
      {label}
      <select
        value={value ?? ""}
        onChange={({ currentTarget }) => onValue(currentTarget.value || undefined)}
      >
        {none !== undefined && <option value="">{none}</option>}
        {values.map((one) => <option key={one} value={one}>{one}</option>)}
      </select>
    </label>
  );
}

/** Runs work of its dependencies; what is still going on when they change is aborted. */
function useWork(work: (signal: AbortSignal) => Promise<void>, dependencies: readonly unknown[]): void {
  useEffect(() => {
    const left = new AbortController();
    void work(left.signal);
    return () => left.abort(new DOMException("Something else is drawn", "AbortError"));
  }, dependencies);
}

/** See the module's documentation. */
export function Spectrum({ session, comparison }: ViewProps): VNode {
  const backend = session.backend.value!, adapters = session.adapters.value.map(({ id }) => id);
  // The adapter of a column, where there is one.
  const compared = comparison.lanes.value.flatMap((lane) => lane.terms.value).map(({ id }) => id);
  const first = compared.find((id) => adapters.includes(id)) ?? adapters[0];
  const chosen = comparison.lastChosen, beside = useSignal<string | undefined>(undefined);
  const modules = useSignal<readonly string[]>([]), module = useSignal<string | undefined>(undefined);
  const rows = useSignal<readonly (readonly Figure[])[]>([]),
    failure = useSignal<string | undefined>(undefined);
  const busy = useSignal(false), note = useSignal<string | undefined>(undefined);
  const id = chosen.value !== undefined && adapters.includes(chosen.value) ? chosen.value : first;
  const other = beside.value !== id && adapters.includes(beside.value ?? "") ? beside.value : undefined;
  const ids = id === undefined ? [] : other === undefined ? [id] : [id, other];
  const key = ids.join("\n");

  const trying = async (signal: AbortSignal, work: () => Promise<void>): Promise<void> => {
    failure.value = undefined;
    busy.value = true;
    try {
      await work();
    } catch (error) {
      if (signal.aborted || wasAborted(error)) return;
      rows.value = [];
      failure.value = messageOf(error);
    }
    if (!signal.aborted) busy.value = false;
  };
  useWork(async (signal) => {
    if (ids.length === 0) return;
    await trying(signal, async () => {
      const found = await sharedModules(backend, ids);
      if (signal.aborted) return;
      if (found.length === 0) {
        throw new Error(`Cannot draw ${ids.join(" and ")}: no module is adapted by all`);
      }
      modules.value = found;
      if (!found.includes(module.value ?? "")) module.value = found[0];
    });
  }, [backend, key]);
  useWork(async (signal) => {
    const path = module.value;
    if (path === undefined || !modules.value.includes(path)) return;
    await trying(signal, async () => {
      for await (const drawn of picturesOf(backend, { ids, module: path }, signal)) {
        if (signal.aborted) return;
        rows.value = drawn.rows;
        note.value = drawn.note;
      }
      session.say(`${rows.value.flat().length} pictures of ${ids.join(" beside ")} are drawn`);
    });
  }, [backend, key, module.value, modules.value]);

  if (ids.length === 0) {
    return <p class="card hint">There is no adapter to see. Add one in the view Generate.</p>;
  }
  // Adapters stand side by side, row by row; one adapter's pictures fill the rows.
  const grids = ids.length > 1 ? rows.value : [rows.value.flat()].filter((row) => row.length > 0);
  const title = `${ids.join(" beside ")}: ${module.value ?? ""}`;
  return (
    <>
      <section class="card choices" aria-label="What is drawn">
        <Choice label="Adapter" value={id} values={adapters} onValue={(value) => chosen.value = value} />
        <Choice
          label="Beside"
          value={other}
          values={adapters.filter((one) => one !== id)}
          none="no other"
          onValue={(value) => beside.value = value}
        />
        <Choice
          label="Module"
          value={module.value}
          values={modules.value}
          onValue={(value) => module.value = value}
        />
      </section>
      {failure.value !== undefined && <p class="failure" role="alert">{failure.value}</p>}
      {note.value !== undefined && <p class="hint">{note.value}</p>}
      <section class="pictures" aria-label={`Pictures of ${title}`} aria-busy={busy.value}>
        {rows.value.length === 0 && busy.value && <p class="hint">Drawing…</p>}
        {grids.map((row) => (
          <div key={row[0].title} class="grid-of-pictures">
            {row.map((figure) => <Picture key={figure.title} figure={figure} title={title} />)}
          </div>
        ))}
      </section>
    </>
  );
}
