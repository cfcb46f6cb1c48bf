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
  { files: "engine/text.ts", does: "generateText", at: [3, 1], room: "engine" },
  { files: "engine/batch_engine.ts", does: "a Sequence waits", at: [2, 1], room: "engine" },
  {
    files: "adapters/registry.ts",
    does: "an adapter by name, held in a bank",
    at: [1, 1],
    room: "adapters",
  },
  { files: "server/errors.ts", does: "error class to status", at: [0, 1], room: "server" },
  { files: "engine/schedule.ts", does: "rows and outputs of the next step", at: [0, 2], room: "engine" },
  { files: "engine/runner.ts", does: "the step's program, or a new plan", at: [1, 2], room: "engine" },
  { files: "models/step_plan.ts", does: "kernels in order, as data", at: [2, 2], room: "models" },
  { files: "device/", does: "join, choose ways, compile; one submit", at: [3, 2], room: "device" },
  { files: "engine/landing.ts", does: "sampled tokens to their sequences", at: [3, 3], room: "engine" },
  { files: "engine/text.ts", does: "tokens to text, stop strings", at: [2, 3], room: "engine" },
  { files: "server/answer.ts, sse.ts", does: "JSON or events", at: [1, 3], room: "server" },
  { files: "", does: "answer", at: [0, 3], room: "rim" },
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

const [wide, high] = [206, 78], [across, down] = [230, 126], [left, top] = [28, 16];
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
    written(files, first, `fill="${text}" class="code" font-size="12.3" font-weight="600"`) +
    told.map((line, i) => written(line, first + 20 + 16 * i, `fill="${faint}" font-size="13"`)).join("");
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
  const middle = (column: number): number => x(column) + middleX;
  const centre = (row: number): number => y(row) + middleY;
  const loopTop = y(2) - 18, gap = y(2) - 34, margin = left - 16, farMargin = x(3) + wide + 16;
  const errors = `M${middle(1)} ${y(0) + high}V${y(1) - 22}H${middle(0)}V${y(1) - 2}`;
  return [
    `M${middle(0) + 60} ${centre(0)}H${x(1) - 2}`,
    beside(0, 1, 2),
    beside(0, 2, 3),
    `M${middle(3)} ${y(0) + high}V${y(1) - 2}`,
    beside(1, 3, 2),
    beside(1, 1, 2),
    `M${middle(2)} ${y(1) + high}V${gap}H${middle(0) - 30}V${y(2) - 2}`,
    beside(2, 0, 1),
    beside(2, 1, 2),
    beside(2, 2, 3),
    `M${middle(3)} ${y(2) + high}V${y(3) - 2}`,
    `M${x(3) + wide} ${centre(3)}H${farMargin}V${loopTop}H${middle(0) + 30}V${y(2) - 2}`,
    beside(3, 3, 2),
    beside(3, 2, 1),
    `M${x(1)} ${centre(3)}H${middle(0) + 62}`,
    `M${x(0)} ${centre(1)}H${margin}V${centre(3)}H${middle(0) - 62}`,
  ].map((path) => arrow(path, palette)).join("") + arrow(errors, palette, true);
}

/** The picture for one of the two appearances. */
export function picture(scheme: "light" | "dark"): string {
  const palette = palettes[scheme], { faint, line, band } = palette;
  const width = x(3) + wide + left, height = y(3) + high + top;
  const under = (column: number, row: number, columns: number, rows: number): string =>
    `<rect x="${x(column) - 8}" y="${y(row) - 26}" width="${(columns - 1) * across + wide + 16}" ` +
    `height="${(rows - 1) * down + high + 34}" rx="14" fill="${band}"/>`;
  const label = (text: string, at: readonly [number, number]) =>
    `<text x="${at[0]}" y="${at[1]}" fill="${faint}" font-size="12" font-style="italic">${text}</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
    `role="img" aria-labelledby="title" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif">` +
    `<title id="title">The way of a request, from its bytes to the answer</title>` +
    `<style>.code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace}</style>` +
    `<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">` +
    `<path d="M0 0L8 4L0 8Z" fill="${line}"/></marker></defs>` +
    under(0, 2, 4, 1) + under(3, 2, 1, 2) +
    ways(palette) + places.map((place) => box(place, palette)).join("") +
    label("each step, until every sequence has ended", [x(0) + middleX + 42, y(2) - 5]) +
    label("errors", [x(0) + middleX + 8, y(1) - 28]) + "</svg>\n";
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
