/**
 * Draws the way of a request, one picture for light pages and one for dark ones.
 *
 * `deno task docs:picture` writes them to docs/pictures.
 *
 * @module
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A place of the way: sources by their paths from `src/`, and what they do. */
export interface Place {
  readonly files: string;
  readonly does: string;
  /** Column and row, from 0. */
  readonly at: readonly [number, number];
  readonly room: "rim" | "server" | "engine" | "adapters" | "models" | "device";
}

/** Every place of the picture. */
export const places: readonly Place[] = [
  { files: "", does: "request", at: [0, 0], room: "rim" },
  { files: "server/access.ts, auth.ts", does: "hosts, origins, CORS, tenants", at: [1, 0], room: "server" },
  { files: "server/json.ts", does: "bounded bytes to JSON", at: [2, 0], room: "server" },
  { files: "server/openai.ts", does: "fields to a Job, text to token ids", at: [3, 0], room: "server" },
  { files: "engine/text.ts", does: "generateText", at: [4, 0], room: "engine" },
  { files: "engine/batch_engine.ts", does: "a Sequence waits", at: [4, 1], room: "engine" },
  {
    files: "adapters/registry.ts",
    does: "an adapter by name, held in a bank",
    at: [3, 1],
    room: "adapters",
  },
  { files: "engine/schedule.ts", does: "rows and outputs of the next step", at: [0, 2], room: "engine" },
  { files: "engine/runner.ts", does: "the step's program, or a new plan", at: [1, 2], room: "engine" },
  { files: "models/step_plan.ts", does: "kernels in order, as data", at: [2, 2], room: "models" },
  { files: "device/", does: "join, choose ways, compile; one submit", at: [3, 2], room: "device" },
  { files: "engine/landing.ts", does: "sampled tokens to their sequences", at: [4, 2], room: "engine" },
  { files: "engine/text.ts", does: "tokens to text, stop strings", at: [4, 3], room: "engine" },
  { files: "server/answer.ts, sse.ts", does: "JSON or events", at: [3, 3], room: "server" },
  { files: "", does: "answer", at: [2, 3], room: "rim" },
  { files: "server/errors.ts", does: "error class to status", at: [1, 3], room: "server" },
];

/** Colours of a picture: of its ground and lines, and of each room's border and filling. */
interface Palette {
  readonly text: string;
  readonly faint: string;
  readonly line: string;
  readonly band: string;
  readonly rooms: Readonly<Record<Place["room"], readonly [string, string]>>;
}

const palettes: Readonly<Record<"light" | "dark", Palette>> = {
  light: {
    text: "#1f2328",
    faint: "#57606a",
    line: "#6e7781",
    band: "#f4f5f7",
    rooms: {
      rim: ["#1f2328", "#1f2328"],
      server: ["#1971c2", "#e7f1fb"],
      engine: ["#6246d8", "#eeebfb"],
      adapters: ["#c2410c", "#fdeee4"],
      models: ["#2b8a3e", "#e8f5eb"],
      device: ["#a61e4d", "#fbe9f0"],
    },
  },
  dark: {
    text: "#e6edf3",
    faint: "#9aa4af",
    line: "#8b949e",
    band: "#23262d",
    rooms: {
      rim: ["#e6edf3", "#e6edf3"],
      server: ["#4dabf7", "#15293d"],
      engine: ["#b3a4ff", "#262040"],
      adapters: ["#ff922b", "#3a2412"],
      models: ["#69db7c", "#16301c"],
      device: ["#f783ac", "#3a1826"],
    },
  },
};

const [wide, high] = [204, 76], [across, down] = [236, 124], [left, top] = [30, 24];
const x = (column: number): number => left + column * across;
const y = (row: number): number => top + row * down;
const [middleX, middleY] = [wide / 2, high / 2];

/** Lines of at most so many letters. */
function lines(text: string, most: number): string[] {
  return text.split(" ").reduce<string[]>((all, word) => {
    const last = all.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= most) all[all.length - 1] = `${last} ${word}`;
    else all.push(word);
    return all;
  }, []);
}

const escaped = (text: string): string => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");

function box({ files, does, at: [column, row], room }: Place, { text, faint, rooms }: Palette): string {
  const [border, fill] = rooms[room], cx = x(column) + middleX;
  const written = (value: string, at: number, style: string) =>
    `<text x="${cx}" y="${at}" text-anchor="middle" ${style}>${escaped(value)}</text>`;
  if (room === "rim") {
    const pill =
      `<rect x="${cx - 60}" y="${y(row) + middleY - 18}" width="120" height="36" rx="18" fill="none" ` +
      `stroke="${border}" stroke-width="1.5"/>`;
    return pill + written(does, y(row) + middleY + 5, `fill="${text}" font-size="14" font-weight="600"`);
  }
  const told = lines(does, 28), first = y(row) + (told.length === 1 ? 30 : 23);
  return `<rect x="${x(column)}" y="${y(row)}" width="${wide}" height="${high}" rx="10" fill="${fill}" ` +
    `stroke="${border}" stroke-width="1.5"/>` +
    written(files, first, `fill="${text}" class="code" font-size="12.5" font-weight="600"`) +
    told.map((line, i) => written(line, first + 20 + 16 * i, `fill="${faint}" font-size="12.5"`)).join("");
}

/** A way from one place to the next; errors are dashed. */
const arrow = (path: string, { line }: Palette, dashed = false): string =>
  `<path d="${path}" fill="none" stroke="${line}" stroke-width="1.5"${
    dashed ? ' stroke-dasharray="4 4"' : ""
  } marker-end="url(#end)"/>`;

/** Between neighbours of a row, to the right or to the left. */
const beside = (row: number, from: number, to: number): string =>
  from < to
    ? `M${x(from) + wide} ${y(row) + middleY}H${x(to) - 2}`
    : `M${x(from)} ${y(row) + middleY}H${x(to) + wide + 2}`;

function ways(palette: Palette): string {
  const pillEnd = x(0) + middleX + 60, answerAt = x(2) + middleX;
  const loopTop = y(2) - 22, gap = y(2) - 36;
  return [
    `M${pillEnd} ${y(0) + middleY}H${x(1) - 2}`,
    beside(0, 1, 2),
    beside(0, 2, 3),
    beside(0, 3, 4),
    `M${x(4) + middleX} ${y(0) + high}V${y(1) - 2}`,
    beside(1, 3, 4),
    `M${x(4) + middleX} ${y(1) + high}V${gap}H${x(0) + middleX - 30}V${y(2) - 2}`,
    beside(2, 0, 1),
    beside(2, 1, 2),
    beside(2, 2, 3),
    beside(2, 3, 4),
    `M${x(4) + middleX} ${y(2)}V${loopTop}H${x(0) + middleX + 30}V${y(2) - 2}`,
    `M${x(4) + middleX} ${y(2) + high}V${y(3) - 2}`,
    beside(3, 4, 3),
    `M${x(3)} ${y(3) + middleY}H${answerAt + 62}`,
    `M${x(1) + wide} ${y(3) + middleY}H${answerAt - 62}`,
  ].map((path) => arrow(path, palette)).join("") +
    arrow(
      `M${x(1) + middleX} ${y(0) + high}V${y(0) + high + 20}H${left - 16}V${y(3) + middleY}H${x(1) - 2}`,
      palette,
      true,
    );
}

/** The picture for one of the two appearances. */
export function picture(scheme: "light" | "dark"): string {
  const palette = palettes[scheme], { faint, line, band } = palette;
  const width = x(4) + wide + left, height = y(3) + high + top;
  const label = (text: string, at: readonly [number, number]) =>
    `<text x="${at[0]}" y="${at[1]}" fill="${faint}" font-size="12" font-style="italic">${text}</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
    `role="img" aria-labelledby="title" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif">` +
    `<title id="title">The way of a request, from its bytes to the answer</title>` +
    `<style>.code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace}</style>` +
    `<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">` +
    `<path d="M0 0L8 4L0 8Z" fill="${line}"/></marker></defs>` +
    `<rect x="${left - 6}" y="${y(2) - 30}" width="${width - 2 * left + 12}" height="${
      high + 42
    }" rx="14" fill="${band}"/>` +
    ways(palette) + places.map((place) => box(place, palette)).join("") +
    label("each step, until every sequence has ended", [x(1) + 40, y(2) - 8]) +
    label("errors", [left - 8, y(1) + middleY]) + "</svg>\n";
}

/** Where a picture is, from the repository's folder. */
export const pictureOf = (scheme: "light" | "dark"): string => `docs/pictures/request-${scheme}.svg`;

if (import.meta.main) {
  const root = join(import.meta.dirname!, "..");
  mkdirSync(join(root, "docs/pictures"), { recursive: true });
  for (const scheme of ["light", "dark"] as const) {
    writeFileSync(join(root, pictureOf(scheme)), picture(scheme));
    console.log(pictureOf(scheme), readFileSync(join(root, pictureOf(scheme))).length, "bytes");
  }
}
