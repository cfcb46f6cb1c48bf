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

/** Whether pages of this browser can write private files. */
const canKeepRuns = (): boolean =>
  typeof FileSystemFileHandle === "function" && "createWritable" in FileSystemFileHandle.prototype;

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
  if (!canKeepRuns()) {
    return (
      <p class="card hint">
        This browser cannot keep a run: its private files have no createWritable(). Training needs Chrome or
        Edge 86, Firefox 111, Safari 26, or later.
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
