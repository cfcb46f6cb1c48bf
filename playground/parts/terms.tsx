/// <reference lib="dom" />
/**
 * A column's adapters: which, and at which scale.
 *
 * @module
 */
import type { VNode } from "preact";
import type { AdapterInfo, Term } from "../backend/backend.ts";
import type { Comparison } from "../state/comparison.ts";
import type { Lane } from "../state/lane.ts";
import type { Session } from "../state/session.ts";
import { bytesText } from "./format.ts";

/** Adapters of one column at most: those that the server adds up. */
const mostTerms = 8;

/** The sliders' ends. */
const least = -1, most = 2;

function Select({ adapters, value, onValue, label }: {
  readonly adapters: readonly AdapterInfo[];
  readonly value: string | undefined;
  readonly onValue: (id: string | undefined) => void;
  readonly label: string;
}): VNode {
  return (
    <select
      aria-label={label}
      value={value ?? ""}
      onChange={({ currentTarget }) => onValue(currentTarget.value === "" ? undefined : currentTarget.value)}
    >
      <option value="">Base model</option>
      {adapters.map(({ id, peftType, sizeBytes }) => (
        <option key={id} value={id}>{id} · {peftType}, {bytesText(sizeBytes)}</option>
      ))}
    </select>
  );
}

/** See the module's documentation. */
export function Terms({ lane, session, comparison }: {
  readonly lane: Lane;
  readonly session: Session;
  readonly comparison: Comparison;
}): VNode {
  const terms = lane.terms.value, adapters = session.adapters.value;
  const replaced = (at: number, term: Term | undefined): readonly Term[] =>
    terms.flatMap((one, i) => i !== at ? [one] : term ? [term] : []);
  const choose = (at: number) => (id: string | undefined): void => {
    const scale = terms[at]?.scale ?? 1;
    if (id === undefined) return comparison.setTerms(lane, replaced(at, undefined));
    comparison.setTerms(lane, at < terms.length ? replaced(at, { id, scale }) : [...terms, { id, scale: 1 }]);
  };
  const mix = (): void => {
    // Adapters of one kind can be added up; some of another kind cannot.
    const kindOf = (id: string) => adapters.find((one) => one.id === id)?.peftType;
    const { id } = unused.find(({ peftType }) => peftType === kindOf(terms[0].id)) ?? unused[0];
    comparison.setTerms(lane, [...terms, { id, scale: 0.5 }]);
  };
  const unused = adapters.filter(({ id }) => !terms.some((term) => term.id === id));
  return (
    <div class="terms">
      {terms.length === 0 && (
        <Select label="Adapter" adapters={adapters} value={undefined} onValue={choose(0)} />
      )}
      {terms.map(({ id, scale }, i) => (
        <div key={id} class="term">
          <Select
            label={i === 0 ? "Adapter" : `Adapter ${i + 1}`}
            adapters={adapters.filter((one) => one.id === id || unused.includes(one))}
            value={id}
            onValue={choose(i)}
          />
          <div class="slider">
            <input
              type="range"
              aria-label={`Scale of ${id}`}
              {...{ min: least, max: most, step: 0.05 }}
              value={scale}
              onInput={({ currentTarget }) =>
                comparison.setTerms(lane, replaced(i, { id, scale: currentTarget.valueAsNumber }), "at rest")}
            />
            <output>{scale.toFixed(2)}</output>
            {i === terms.length - 1 && terms.length < mostTerms && unused.length > 0 && (
              <button type="button" class="quiet small" aria-label="Mix in another adapter" onClick={mix}>
                + mix
              </button>
            )}
          </div>
        </div>
      ))}
    </div>
  );
}
