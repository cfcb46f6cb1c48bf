/// <reference lib="dom" />
/**
 * The shell: who answers, the views' tabs, and what went wrong.
 *
 * @module
 */
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { VNode } from "preact";
import { DropTarget } from "./parts/drop_target.tsx";
import { Header } from "./parts/header.tsx";
import { ModelPanel } from "./parts/model_panel.tsx";
import { Failure } from "./parts/failure.tsx";
import { views } from "./views/mod.ts";
import type { ViewProps } from "./views/view.ts";

const viewOf = (hash: string) => views.find(({ id }) => `#${id}` === hash) ?? views[0];

const shown = signal(viewOf(location.hash));

function Tabs(): VNode | null {
  if (views.length < 2) return null;
  return (
    <nav aria-label="Views" class="tabs">
      {views.map((view) => (
        <a key={view.id} href={`#${view.id}`} aria-current={view === shown.value ? "page" : undefined}>
          {view.title}
        </a>
      ))}
    </nav>
  );
}

/** See the module's documentation. */
export function App(props: ViewProps): VNode {
  const { session } = props;
  useEffect(() => {
    const change = (): void => void (shown.value = viewOf(location.hash));
    addEventListener("hashchange", change);
    return () => removeEventListener("hashchange", change);
  }, []);
  const { Component } = shown.value;
  return (
    <DropTarget {...props}>
      <Header {...props}>
        <Tabs />
      </Header>
      <main id="main" tabIndex={-1}>
        <Failure session={session} />
        <ModelPanel session={session} />
        {session.backend.value && <Component {...props} />}
      </main>
      <div class="visually-hidden" role="status">{session.notice.value}</div>
    </DropTarget>
  );
}
