/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/**
 * The page: reads its configuration, and shows the views.
 *
 * @module
 */
import { render } from "preact";
import { App } from "./app.tsx";
import { Comparison } from "./state/comparison.ts";
import { readConfig } from "./state/config.ts";
import { Session } from "./state/session.ts";
import { Training } from "./state/training.ts";

const session = new Session(await readConfig());
const comparison = new Comparison(session);
const training = new Training(session);
const place = document.getElementById("app")!;
place.replaceChildren();
render(<App session={session} comparison={comparison} training={training} />, place);
void session.openServer();
