/// <reference lib="dom" />
/**
 * An adapter that is trained in this browser: a text, a run, its losses, and the adapter beside the base.
 *
 * @module
 */
import { useEffect } from "preact/hooks";
import type { VNode } from "preact";
import { TrainForm } from "../parts/train_form.tsx";
import { TrainRun } from "../parts/train_run.tsx";
import type { ViewProps } from "./view.ts";

/** See the module's documentation. */
export function Train(props: ViewProps): VNode {
  const { session, training } = props;
  useEffect(() => void training.look(), []);
  if (session.backend.value?.way === "server") {
    return (
      <p class="card hint">
        This model runs on a server. Training runs in the browser: open a model there with the button Model…
      </p>
    );
  }
  return (
    <>
      <TrainRun {...props} />
      <TrainForm session={session} training={training} />
    </>
  );
}
