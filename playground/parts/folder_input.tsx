/// <reference lib="dom" />
/**
 * A field for a folder of the user's disk.
 *
 * @module
 */
import type { VNode } from "preact";
import type { NamedFile } from "../backend/backend.ts";
import { chosenFiles } from "../state/files.ts";

/** The attribute that no standard has, and every browser. */
const folders = { webkitdirectory: true };

/** See the module's documentation. */
export function FolderInput({ hidden = false, onFiles }: {
  /** Whether the label around it is all that is seen. */
  readonly hidden?: boolean;
  readonly onFiles: (files: readonly NamedFile[]) => void;
}): VNode {
  return (
    <input
      type="file"
      {...folders}
      class={hidden ? "visually-hidden" : undefined}
      onChange={({ currentTarget }) => {
        const files = chosenFiles(currentTarget.files ?? []);
        // The same folder may be chosen again, when its files have changed.
        if (hidden) currentTarget.value = "";
        if (files.length > 0) onFiles(files);
      }}
    />
  );
}
