/**
 * A view of the page: a component in a file of its own, named in `views/mod.ts`.
 *
 * @module
 */
import type { VNode } from "preact";
import type { Session } from "../state/session.ts";
import type { Comparison } from "../state/comparison.ts";
import type { Training } from "../state/training.ts";

/** What every view is given; it lives as long as the page. */
export interface ViewProps {
  readonly session: Session;
  readonly comparison: Comparison;
  readonly training: Training;
}

/** See the module's documentation. */
export interface View {
  /** In the page's address, after `#`. */
  readonly id: string;
  readonly title: string;
  /** Loads the view's component. */
  load(): Promise<(props: ViewProps) => VNode>;
}
