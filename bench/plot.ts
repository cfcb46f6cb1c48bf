/**
 * Plots as SVG text: lines over x, or bars. Each is a card with its own background, light or dark as its viewer is.
 *
 * @module
 */

/** A point of a series. */
export interface PlotPoint {
  readonly x: number;
  readonly y: number;
}

/** One line of a chart: measured points are marked, a model is a thin line, a floor is dashed. */
export interface Series {
  readonly name: string;
  readonly style: "measured" | "model" | "floor";
  readonly points: readonly PlotPoint[];
}

/** The texts around a chart's lines. */
export interface ChartText {
  readonly title: string;
  readonly subtitle: string;
  readonly xLabel: string;
  readonly yLabel: string;
}

const width = 720;
const height = 440;
const frame = { left: 74, right: 24, top: 64, bottom: 56 };

const style = `<style>
.card{fill:#fff;stroke:#d0d7de}.text{fill:#1f2328}.soft{fill:#59636e}.grid{stroke:#d0d7de}
.s0{--c:#0969da}.s1{--c:#bc4c00}.s2{--c:#1a7f37}.s3{--c:#8250df}.s4{--c:#bf3989}.s5{--c:#4d4d4d}
@media (prefers-color-scheme:dark){.card{fill:#0d1117;stroke:#3d444d}.text{fill:#f0f6fc}.soft{fill:#9198a1}.grid{stroke:#3d444d}
.s0{--c:#4493f8}.s1{--c:#db6d28}.s2{--c:#3fb950}.s3{--c:#ab7df8}.s4{--c:#db61a2}.s5{--c:#b3b3b3}}
text{font:13px system-ui,sans-serif}.title{font-size:16px;font-weight:600}
.line{fill:none;stroke:var(--c);stroke-width:2}.model{stroke-width:1.2}.floor{stroke-width:1.5;stroke-dasharray:5 4}.dot,.bar{fill:var(--c)}
</style>`;

/** Colours of a seventh line and those after, in charts that have them. */
const moreColours = `<style>
.s6{--c:#9a6700}.s7{--c:#1b7c83}.s8{--c:#cf222e}.s9{--c:#6e7781}
@media (prefers-color-scheme:dark){.s6{--c:#d29922}.s7{--c:#39c5cf}.s8{--c:#f85149}.s9{--c:#8b949e}}
</style>`;

/** Colours in all: the classes `s0` to `s9`. */
const colours = 10;

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll(
    '"',
    "&quot;",
  );
}

const px = (value: number): string => String(Math.round(10 * value) / 10);

function text(at: PlotPoint, content: string, attributes = ""): string {
  return `<text x="${px(at.x)}" y="${px(at.y)}" ${attributes}>${escape(content)}</text>`;
}

function card(size: { width: number; height: number }, { title, subtitle }: ChartText, body: string): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" role="img">
<title>${escape(title)}</title>${style}
<rect class="card" x="0.5" y="0.5" width="${size.width - 1}" height="${size.height - 1}" rx="6"/>
${text({ x: 20, y: 27 }, title, 'class="text title"')}
${text({ x: 20, y: 46 }, subtitle, 'class="soft"')}
${body}
</svg>
`;
}

/** A number in a few characters: 0.25, 16, 4k, 1M. */
function shortNumber(value: number): string {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]] as const) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))}${letter}`;
  }
  return String(Number(value.toPrecision(3)));
}

/** From numbers to a stretch of the page, by logarithms. */
interface Scale {
  readonly ticks: readonly number[];
  readonly at: (value: number) => number;
}

/** Powers of ten with 2 and 5 between them where they are few; the ends are ticks. */
export function logTicks(least: number, most: number): number[] {
  const decades = Math.log10(most / least);
  const steps = decades > 3 ? [1] : decades > 1.2 ? [1, 3] : [1, 2, 5];
  const all: number[] = [];
  for (let e = Math.floor(Math.log10(least)) - 1; e <= Math.ceil(Math.log10(most)) + 1; e++) {
    for (const s of steps) all.push(Number((s * 10 ** e).toPrecision(3)));
  }
  const first = all.findLastIndex((value) => value <= least);
  const last = all.findIndex((value) => value >= most);
  return all.slice(first, Math.max(last, first + 1) + 1);
}

function logScale(values: readonly number[], [from, to]: readonly [number, number]): Scale {
  const ticks = logTicks(Math.min(...values), Math.max(...values));
  const [low, high] = [Math.log(ticks[0]), Math.log(ticks.at(-1)!)];
  return { ticks, at: (value) => from + (to - from) * (Math.log(value) - low) / (high - low) };
}

function axes(x: Scale, y: Scale, { xLabel, yLabel }: ChartText): string {
  const [left, right, top, bottom] = [frame.left, width - frame.right, frame.top, height - frame.bottom];
  const lines = [
    ...x.ticks.map((value) =>
      `<line class="grid" x1="${px(x.at(value))}" x2="${px(x.at(value))}" y1="${top}" y2="${bottom}"/>` +
      text({ x: x.at(value), y: bottom + 18 }, shortNumber(value), 'class="soft" text-anchor="middle"')
    ),
    ...y.ticks.map((value) =>
      `<line class="grid" x1="${left}" x2="${right}" y1="${px(y.at(value))}" y2="${px(y.at(value))}"/>` +
      text({ x: left - 8, y: y.at(value) + 4 }, shortNumber(value), 'class="soft" text-anchor="end"')
    ),
    text({ x: (left + right) / 2, y: height - 14 }, xLabel, 'class="text" text-anchor="middle"'),
    text(
      { x: 0, y: 0 },
      yLabel,
      `class="text" text-anchor="middle" transform="translate(18 ${(top + bottom) / 2}) rotate(-90)"`,
    ),
  ];
  return lines.join("\n");
}

function drawSeries({ points, style }: Series, index: number, { x, y }: { x: Scale; y: Scale }): string {
  const place = points.map((point) => `${px(x.at(point.x))},${px(y.at(point.y))}`);
  const dots = style === "measured"
    ? place.map((at) => at.split(",")).map(([cx, cy]) =>
      `<circle class="dot" cx="${cx}" cy="${cy}" r="3.5"/>`
    )
    : [];
  return `<g class="s${index % colours}"><polyline class="line ${style}" points="${place.join(" ")}"/>${
    dots.join("")
  }</g>`;
}

/** Points along a line, close enough to see whether it passes behind a text. */
function along(points: readonly PlotPoint[]): PlotPoint[] {
  const parts = Array.from({ length: 16 }, (_, k) => k / 16);
  return points.flatMap((from, i) => {
    const to = points[i + 1] ?? from;
    return parts.map((part) => ({ x: from.x + part * (to.x - from.x), y: from.y + part * (to.y - from.y) }));
  });
}

/** The names in the corner where the least of the lines is: they rise or fall, seldom both. */
function legend(series: readonly Series[], { x, y }: { x: Scale; y: Scale }): string {
  const all = series.flatMap(({ points }) => along(points.map((p) => ({ x: x.at(p.x), y: y.at(p.y) }))));
  const lineHeight = 20;
  const boxHeight = series.length * lineHeight;
  const textWidth = 34 + 7.2 * Math.max(...series.map(({ name }) => name.length));
  const corners = [frame.left + 10, width - frame.right - 10 - textWidth].flatMap((left) =>
    [frame.top + 8, height - frame.bottom - 8 - boxHeight].map((top) => ({ left, top }))
  );
  const within = ({ left, top }: typeof corners[number]): number =>
    all.filter((p) =>
      p.x > left - 8 && p.x < left + textWidth + 8 && p.y > top - 8 && p.y < top + boxHeight + 8
    ).length;
  const { left, top } = corners.reduce((best, corner) => within(corner) < within(best) ? corner : best);
  return series.map(({ name, style }, i) => {
    const at = top + 14 + i * lineHeight;
    const sample = `<line class="line ${style}" x1="${left}" x2="${left + 24}" y1="${at - 4}" y2="${
      at - 4
    }"/>`;
    return `<g class="s${i % colours}">${sample}</g>${text({ x: left + 30, y: at }, name, 'class="text"')}`;
  }).join("\n");
}

/** Lines over x, both axes logarithmic; points that are not positive cannot be drawn and are left out. */
export function lineChart(series: readonly Series[], labels: ChartText): string {
  const drawn = series.map((one) => ({ ...one, points: one.points.filter(({ x, y }) => x > 0 && y > 0) }))
    .filter(({ points }) => points.length > 0);
  const all = drawn.flatMap(({ points }) => points);
  const scales = {
    x: logScale(all.map(({ x }) => x), [frame.left, width - frame.right]),
    y: logScale(all.map(({ y }) => y), [height - frame.bottom, frame.top]),
  };
  const lines = drawn.map((one, i) => drawSeries(one, i, scales));
  return card(
    { width, height },
    labels,
    [
      ...(drawn.length > 6 ? [moreColours] : []),
      axes(scales.x, scales.y, labels),
      ...lines,
      legend(drawn, scales),
    ].join("\n"),
  );
}

/** Bars from 0 %, one a line, the longest first; a mark at 100 %. */
export function barChart(
  bars: readonly { readonly name: string; readonly percent: number }[],
  labels: ChartText,
): string {
  const sorted = bars.toSorted((a, b) => b.percent - a.percent);
  const [left, rowHeight, top] = [360, 20, 66];
  const most = Math.max(100, ...sorted.map(({ percent }) => percent));
  const at = (percent: number): number => left + (width - 70 - left) * percent / most;
  const size = { width, height: top + sorted.length * rowHeight + 16 };
  const rows = sorted.map(({ name, percent }, i) => {
    const y = top + i * rowHeight;
    const shown = name.length > 52 ? `${name.slice(0, 51)}…` : name;
    return text({ x: left - 8, y: y + 13 }, shown, 'class="text" text-anchor="end" style="font-size:11px"') +
      `<g class="s0"><rect class="bar" x="${left}" y="${y + 3}" width="${
        px(at(percent) - left)
      }" height="13"/></g>` +
      text({ x: at(percent) + 6, y: y + 14 }, `${shortNumber(percent)} %`, 'class="soft"');
  });
  const mark = `<line class="grid" x1="${px(at(100))}" x2="${px(at(100))}" y1="${top}" y2="${
    size.height - 14
  }"/>`;
  return card(size, labels, [mark, ...rows].join("\n"));
}
