/**
 * A text to train on that shows its effect: "The House That Jack Built", which says nearly everything many times.
 *
 * @module
 */

const parts = [
  "the house that Jack built",
  "the malt that lay in",
  "the rat that ate",
  "the cat that killed",
  "the dog that worried",
  "the cow with the crumpled horn that tossed",
  "the maiden all forlorn that milked",
  "the man all tattered and torn that kissed",
  "the priest all shaven and shorn that married",
  "the cock that crowed in the morn that waked",
  "the farmer sowing his corn that kept",
];

/** The rhyme's stanzas, one for each part, the last the longest. */
export const verse: string = parts
  .map((_, last) => `This is ${parts.slice(0, last + 1).reverse().join("\n")}.`)
  .join("\n\n");
