/**
 * A text parted into what is learnt and what a run is evaluated with.
 *
 * @module
 */
import type { DataFormat, TrainOptions } from "fourierft";

/** Characters of one text that are held out at most: evaluations come often, and must not take the run's time. */
const mostHeldOut = 32_768;

/** What parts a text into documents. */
const separator = /\f|<\|endoftext\|>/;

/** Where a text of one document is cut: at a line's start after the place, else at a word's. */
function cutOf(text: string, part: number): number {
  const at = Math.max(Math.floor(text.length * (1 - part)), text.length - mostHeldOut);
  for (const space of ["\n", " "]) {
    const found = text.indexOf(space, at);
    if (found >= 0 && text.slice(found).trim() !== "") return found + 1;
  }
  return at;
}

/**
 * The data of a run, and what evaluates it: a part of the documents, or the end of a text that is one document.
 *
 * @throws RangeError for a part that is none, or a text that is too short to be parted.
 */
export async function parted(
  data: Blob,
  { format, heldOut }: { readonly format: DataFormat; readonly heldOut: number },
): Promise<Pick<TrainOptions, "data" | "evaluation">> {
  if (!(heldOut >= 0 && heldOut < 1)) {
    throw new RangeError(`Cannot hold out ${heldOut} of the text: it must be 0 or more and below 1`);
  }
  if (heldOut === 0 || format !== "text") {
    return { data: { content: data.stream(), format }, evaluation: heldOut };
  }
  const text = (await data.text()).trim();
  if (text === "") throw new SyntaxError("Cannot train on this text: it is empty");
  if (separator.test(text)) return { data: { content: text }, evaluation: heldOut };
  const at = cutOf(text, heldOut);
  const [content, end] = [text.slice(0, at), text.slice(at)];
  if (content.trim() === "" || end.trim() === "") {
    throw new RangeError(`Cannot hold out ${100 * heldOut} % of this text: it is too short`);
  }
  return { data: { content }, evaluation: { content: end } };
}
