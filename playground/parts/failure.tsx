/// <reference lib="dom" />
/**
 * What went wrong, until it is put away.
 *
 * @module
 */
import type { VNode } from "preact";
import type { Session } from "../state/session.ts";

/** See the module's documentation. */
export function Failure({ session }: { readonly session: Session }): VNode {
  const { value } = session.failure;
  return (
    <div role="alert" class={value === undefined ? "" : "failure"}>
      {value !== undefined && (
        <>
          <p>{value}</p>
          <button type="button" class="quiet" onClick={() => session.clearFailure()}>Dismiss</button>
        </>
      )}
    </div>
  );
}
