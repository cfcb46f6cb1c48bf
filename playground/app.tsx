/// <reference lib="dom" />
/**
 * The shell: who answers, the views' tabs, and what went wrong.
 *
 * @module
 */
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import type { VNode } from "preact";
import { DropTarget } from "./parts/drop_target.tsx";
import { Header } from "./parts/header.tsx";
import { ModelPanel } from "./parts/model_panel.tsx";
import { Failure } from "./parts/failure.tsx";
import { views } from "./views/mod.ts";
import { messageOf } from "./state/session.ts";
import type { View, ViewProps } from "./views/view.ts";

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

/** The view whose tab is chosen, once its module is there. */
function ShownView(props: ViewProps): VNode {
  const { session } = props, view = shown.value;
  const [loaded, setLoaded] = useState<
    { readonly of: View; readonly Component: (props: ViewProps) => VNode }
  >();
  useEffect(() => {
    let isLeft = false;
    view.load().then(
      (Component) => isLeft || setLoaded({ of: view, Component }),
      (error) => isLeft || session.fail(`Cannot show the view ${view.title}: ${messageOf(error)}`),
    );
    return () => void (isLeft = true);
  }, [view]);
  if (loaded?.of !== view) return <p class="hint">Loading…</p>;
  const { Component } = loaded;
  return <Component {...props} />;
}

/** See the module's documentation. */
export function App(props: ViewProps): VNode {
  const { session } = props;
  useEffect(() => {
    const change = (): void => void (shown.value = viewOf(location.hash));
    addEventListener("hashchange", change);
    return () => removeEventListener("hashchange", change);
  }, []);
  return (
    <DropTarget {...props}>
      <Header {...props}>
        <Tabs />
      </Header>
      <main id="main" tabIndex={-1}>
        <Failure session={session} />
        <ModelPanel session={session} />
        {session.backend.value && <ShownView {...props} />}
      </main>
      <div class="visually-hidden" role="status">{session.notice.value}</div>
    </DropTarget>
  );
}
