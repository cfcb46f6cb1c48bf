/**
 * What a store of checkpoints must do, as tests for a store of one's own.
 *
 * @module
 */
import type { CheckpointStore, Files } from "../../training/checkpoint.ts";
import { bytes, type DefineTest, type Opened, same, sameBytes, text, using } from "./checks.ts";

/** A store without a checkpoint. */
export interface OpenedCheckpointStore extends Opened {
  readonly store: CheckpointStore;
  /** The same place, opened as by a later process. Where absent, nothing outlives the store. */
  reopen?(): Promise<CheckpointStore>;
}

const checkpointOf = (step: number): Files =>
  new Map([["state.json", text(`{"step":${step}}`)], ["numbers.bin", bytes(step, 0, 255)], [
    "empty",
    bytes(),
  ]]);

function sameFiles(found: Files | undefined, expected: Files, rule: string): void {
  if (!found) throw new Error(`Broken: ${rule}; there is none`);
  same([...found.keys()].sort(), [...expected.keys()].sort(), `${rule}, with every file's name`);
  for (const [name, content] of expected) {
    sameBytes(found.get(name)!, content, `${rule}, with "${name}" whole`);
  }
}

async function keepsNewest({ store }: OpenedCheckpointStore): Promise<void> {
  for (const step of [100, 200, 300]) {
    await store.save(step, checkpointOf(step % 251));
    sameFiles(await store.latest(), checkpointOf(step % 251), `latest is what was saved at step ${step}`);
  }
}

/** A run that goes on from an older checkpoint, or begins anew, replaces what another left. */
async function keepsLastSaved({ store }: OpenedCheckpointStore): Promise<void> {
  for (const step of [100, 200, 50, 50]) {
    const files = new Map([...checkpointOf(step), ["saved", bytes(step)]]);
    await store.save(step, files);
    sameFiles(await store.latest(), files, `latest is what was saved last, at step ${step}`);
  }
}

async function keepsItsOwnBytes({ store }: OpenedCheckpointStore): Promise<void> {
  const numbers = bytes(1, 2, 3);
  await store.save(1, new Map([["numbers.bin", numbers]]));
  numbers.fill(0);
  const kept = new Map([["numbers.bin", bytes(1, 2, 3)]]);
  sameFiles(await store.latest(), kept, "what was saved stays, though the caller's bytes change");
}

async function outlivesItself({ store, reopen }: OpenedCheckpointStore): Promise<void> {
  if (!reopen) return;
  await store.save(7, checkpointOf(7));
  sameFiles(
    await (await reopen()).latest(),
    checkpointOf(7),
    "latest of a store opened anew is what was saved",
  );
}

/**
 * Tests of a {@linkcode CheckpointStore}.
 *
 * @param open A store without a checkpoint.
 */
export function testCheckpointStore(
  name: string,
  { test, open }: { readonly test: DefineTest; readonly open: () => Promise<OpenedCheckpointStore> },
): void {
  const rules: Readonly<Record<string, (opened: OpenedCheckpointStore) => Promise<void>>> = {
    "has no checkpoint at first": async ({ store }) =>
      same(await store.latest() === undefined, true, "latest is undefined"),
    "gives back the newest checkpoint": keepsNewest,
    "takes what was saved last for the newest": keepsLastSaved,
    "keeps its own copy of the bytes": keepsItsOwnBytes,
    "has its checkpoint when it is opened anew": outlivesItself,
  };
  for (const [rule, check] of Object.entries(rules)) test(`${name} ${rule}`, () => using(open, check));
}
