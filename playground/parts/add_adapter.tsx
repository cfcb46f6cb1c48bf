/// <reference lib="dom" />
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

function FolderButton(props: ViewProps): VNode {
  return (
    <label class="button">
      Add an adapter's folder
      <FolderInput
        hidden
        onFiles={(files) => {
          takeFiles(files, props).catch((error) => props.session.fail(error));
        }}
      />
    </label>
  );
}

/** A server's operator may send adapters to it; a page keeps the token while it is open, and nowhere else. */
function OperatorToken({ session }: Pick<ViewProps, "session">): VNode {
  return (
    <input
      type="password"
      class="token"
      autocomplete="off"
      aria-label="The operator's token"
      placeholder="the operator's token"
      value={session.operatorToken.value}
      onInput={({ currentTarget }) => session.operatorToken.value = currentTarget.value.trim()}
    />
  );
}

function AdapterUrl({ session, comparison }: ViewProps): VNode {
  const url = useSignal("");
  const add = async (): Promise<void> => {
    const address = url.value.trim();
    const name = address.split("/").filter(Boolean).pop() ?? "";
    const added = await session.addAdapterOf(adapterName({ name, files: [] }), address);
    if (!added) return;
    url.value = "";
    if (comparison.lanes.value.length < mostLanes) comparison.addLane([{ id: added.id, scale: 1 }]);
  };
  return (
    <form
      class="row"
      onSubmit={(event) => {
        event.preventDefault();
        void add();
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
  );
}

/** See the module's documentation. */
export function AddAdapter(props: ViewProps): VNode {
  const isServer = props.session.backend.value?.way === "server";
  return (
    <>
      <FolderButton {...props} />
      {isServer ? <OperatorToken {...props} /> : <AdapterUrl {...props} />}
      <p class="hint">
        {isServer
          ? "A server takes adapters from its operator; or open a model in this browser"
          : "or drop a PEFT folder anywhere on the page"}
      </p>
    </>
  );
}
