/// <reference lib="dom" />
/**
 * One prompt, one to four columns: each the base model, an adapter, or a mix of adapters.
 *
 * @module
 */
import { useEffect } from "preact/hooks";
import type { VNode } from "preact";
import { AddAdapter } from "../parts/add_adapter.tsx";
import { Composer } from "../parts/composer.tsx";
import { LaneCard } from "../parts/lane_card.tsx";
import { mostLanes } from "../state/comparison.ts";
import type { ViewProps } from "./view.ts";

/** See the module's documentation. */
export function Generate(props: ViewProps): VNode {
  const { session, comparison } = props;
  const lanes = comparison.lanes.value;
  useEffect(() => {
    const hear = (event: KeyboardEvent): void => {
      if (event.key === "Escape" && comparison.isRunning.value) comparison.stop();
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      void comparison.ask();
    };
    addEventListener("keydown", hear);
    return () => removeEventListener("keydown", hear);
  }, []);
  return (
    <>
      <Composer session={session} comparison={comparison} />
      <section class="lanes" aria-label="Answers">
        {lanes.map((lane, i) => (
          <LaneCard key={lane.id} lane={lane} place={i} session={session} comparison={comparison} />
        ))}
      </section>
      <div class="row under-lanes">
        <button
          type="button"
          disabled={lanes.length >= mostLanes}
          onClick={() => comparison.addLane()}
        >
          Add a column
        </button>
        <AddAdapter {...props} />
      </div>
    </>
  );
}
