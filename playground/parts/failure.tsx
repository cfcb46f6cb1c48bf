/// <reference lib="dom" />
/**
 * What went wrong, until it is put away.
 *
 * @module
 */
import { useEffect, useRef } from "preact/hooks";
import type { VNode } from "preact";
import type { Session } from "../state/session.ts";

/** See the module's documentation. */
export function Failure({ session }: { readonly session: Session }): VNode {
  const { value } = session.failure, place = useRef<HTMLDivElement>(null);
  // What failed may stand far below.
  useEffect(() => {
    if (value !== undefined) place.current?.scrollIntoView({ block: "nearest" });
  }, [value]);
  return (
    <div ref={place} role="alert" class={value === undefined ? "" : "failure"}>
      {value !== undefined && (
        <>
          <p>{value}</p>
          <button type="button" class="quiet" onClick={() => session.clearFailure()}>Dismiss</button>
        </>
      )}
    </div>
  );
}
