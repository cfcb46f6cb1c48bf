/// <reference lib="dom" />
/**
 * What becomes of files that a user gives: an adapter beside the open model, a model of its own, or a text to learn.
 *
 * @module
 */
import type { NamedFile } from "../backend/backend.ts";
import { adapterName, grouped, isAdapter, isModel } from "./files.ts";
import { type Comparison, mostLanes } from "./comparison.ts";
import type { Session } from "./session.ts";
import type { Training } from "./training.ts";
import { isTrainingText } from "./training_text.ts";

/**
 * Serves the adapters among these files, each in a column of its own where there is room; or opens the model, or gives the
 * text to the view that trains.
 *
 * @throws Error for files that are neither.
 */
export async function takeFiles(
  files: readonly NamedFile[],
  { session, comparison, training }: {
    readonly session: Session;
    readonly comparison: Comparison;
    readonly training: Training;
  },
): Promise<void> {
  const groups = grouped(files);
  const adapters = groups.filter(isAdapter);
  if (adapters.length === 0) {
    const model = groups.find(isModel), text = files.find(isTrainingText);
    if (!model && text) {
      training.takeFile(text.file);
      location.hash = "train";
      return;
    }
    if (!model) {
      throw new Error(
        "Cannot use these files: a PEFT adapter's folder has adapter_config.json, a model's has config.json or a " +
          ".gguf file, and a text to learn is .txt, .md, .jsonl, .ndjson or .json",
      );
    }
    return await session.openBrowser({ source: { kind: "files", files: model.files }, device: "auto" });
  }
  if (!session.backend.value) throw new Error("Cannot add an adapter yet: open a model first");
  for (const group of adapters) {
    const added = await session.addAdapter(adapterName(group), group.files);
    // The failure is shown.
    if (!added) return;
    const terms = [{ id: added.id, scale: 1 }];
    const { value: lanes } = comparison.lanes;
    const own = lanes.find((lane) => lane.terms.value.some(({ id }) => id === added.id));
    if (own) comparison.setTerms(own, own.terms.value);
    else if (lanes.length < mostLanes) comparison.addLane(terms);
    else comparison.setTerms(lanes[lanes.length - 1], terms);
  }
}
