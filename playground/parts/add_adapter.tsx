/**
 * Adapters that the user brings: a folder to choose, a folder to drop, or a URL.
 *
 * @module
 */
import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { mostLanes } from "../state/comparison.ts";
import { takeFiles } from "../state/take_files.ts";
import type { ViewProps } from "../views/view.ts";
import { adapterName } from "../state/files.ts";
import { FolderInput } from "./folder_input.tsx";

/** See the module's documentation. */
export function AddAdapter({ session, comparison }: ViewProps): VNode | null {
  const url = useSignal("");
  const backend = session.backend.value;
  if (backend?.way === "server") {
    return (
      <p class="hint">
        Adapters are those of the server's store. To try a folder of yours, open a model in this browser.
      </p>
    );
  }
  const addUrl = async (): Promise<void> => {
    const address = url.value.trim();
    const name = address.split("/").filter(Boolean).pop() ?? "";
    const added = await session.addAdapterOf(adapterName({ name, files: [] }), address);
    if (!added) return;
    url.value = "";
    if (comparison.lanes.value.length < mostLanes) comparison.addLane([{ id: added.id, scale: 1 }]);
  };
  return (
    <>
      <label class="button">
        Add an adapter's folder
        <FolderInput
          hidden
          onFiles={(files) => {
            takeFiles(files, { session, comparison }).catch((error) => session.fail(error));
          }}
        />
      </label>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          void addUrl();
        }}
      >
        <input
          type="url"
          required
          aria-label="Address of an adapter's folder"
          placeholder="https://example.com/adapters/mine/"
          value={url.value}
          onInput={({ currentTarget }) => url.value = currentTarget.value}
        />
        <button type="submit">Add</button>
      </form>
      <p class="hint">or drop a PEFT folder anywhere on the page</p>
    </>
  );
}
