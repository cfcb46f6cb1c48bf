/// <reference lib="dom" />
/**
 * The page as a place to drop folders on.
 *
 * @module
 */
import { useSignal } from "@preact/signals";
import type { ComponentChildren, VNode } from "preact";
import { takeFiles } from "../state/take_files.ts";
import type { ViewProps } from "../views/view.ts";
import { droppedFiles } from "../state/files.ts";

const hasFiles = ({ dataTransfer }: DragEvent): boolean => dataTransfer?.types.includes("Files") ?? false;

/** See the module's documentation. */
export function DropTarget(
  { children, ...props }: ViewProps & { readonly children: ComponentChildren },
): VNode {
  // Enter and leave come for every element on the way.
  const depth = useSignal(0);
  const drop = (event: DragEvent): void => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth.value = 0;
    props.session.clearFailure();
    droppedFiles(event.dataTransfer!)
      .then((files) => takeFiles(files, props))
      .catch((error) => props.session.fail(error));
  };
  return (
    <div
      class={`page${depth.value > 0 ? " dropping" : ""}`}
      onDragEnter={(event) => {
        if (hasFiles(event)) depth.value++;
      }}
      onDragLeave={(event) => {
        if (hasFiles(event)) depth.value = Math.max(0, depth.value - 1);
      }}
      onDragOver={(event) => {
        if (hasFiles(event)) event.preventDefault();
      }}
      onDrop={drop}
    >
      {children}
      {depth.value > 0 && (
        <div class="drop-hint" aria-hidden="true">
          <p>Drop a PEFT adapter's folder, a model's folder, a GGUF file, or a text to learn</p>
        </div>
      )}
    </div>
  );
}
