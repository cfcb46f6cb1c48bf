/**
 * Makes the reference in docs/kernels.md, between its markers, from the kernels' own specifications.
 *
 *     deno task docs:kernels
 *
 * The prose above the markers is by hand. A test compares the file with what this makes.
 *
 * @module
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { casesOf } from "../kernels/cases/mod.ts";
import type { BufferSpec, Kernel } from "../kernels/kernel.ts";
import {
  type CacheFormat,
  cacheFormats,
  dense,
  formats,
  kernels,
  type OfCaches,
  type OfFormats,
  type WeightFormat,
} from "../kernels/mod.ts";
import { escaped, withMade } from "./made.ts";

const folder = dirname(fileURLToPath(import.meta.url));
const file = join(folder, "kernels.md");

/** A text with a full stop. */
function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/** The file that a kernel stands in, from the project's folder. */
function sourceOf({ name }: Kernel): string {
  const own = `kernels/${name}.ts`;
  // An elementwise kernel's gradient may stand in its kernel's file.
  return existsSync(join(folder, "..", own)) ? own : own.replace(/_backward\.ts$/, ".ts");
}

function linked(name: string): string {
  return `[\`${name}\`](#${name})`;
}

/** Names of the kernels that a kernel's gradient is made of. */
function gradientOf(kernel: Kernel): readonly string[] {
  const { uniforms } = casesOf(kernel).cases[0];
  return [...new Set(kernel.backward?.(uniforms).steps.map(({ kernel }) => kernel.name) ?? [])];
}

function bufferRow([name, { access, dtypes, doc }]: [string, BufferSpec]): string {
  const use = access === "read" ? "read" : "read and written";
  return `| \`${name}\` | ${use} | ${dtypes.join(", ")} | ${escaped(doc)} |`;
}

/** Whether a kernel has the key-value cache among its buffers, in one of the cache's formats. */
const hasCache = ({ buffers }: Kernel): boolean => "keys" in buffers;

/** The kernel by a weight of each other format, or over caches of each, where it has either. */
function inOtherFormats(kernel: Kernel): readonly Kernel[] {
  if (!("of" in kernel)) return [];
  if (hasCache(kernel)) {
    const { of } = kernel as OfCaches<string, string>;
    return otherCaches.map((format) => of(format));
  }
  const { of } = kernel as OfFormats<string, string>;
  return formats.filter((format) => format !== dense).map((format) => of(format));
}

const otherCaches = Object.values(cacheFormats).filter(({ packed }) => packed);

function cacheSection({ name, doc, buffer, error }: CacheFormat): string {
  const { relative, to, smallest } = error;
  const of = to === "itself" ? "itself" : "the largest of its head";
  return [
    `### ${name}`,
    `A cache of ${doc}. A number that is read is off by ${relative.toPrecision(2)} of ${of} at most, and ` +
    `${smallest.toPrecision(2)} more.`,
    [
      "| buffers | dtypes | shape and meaning |",
      "| --- | --- | --- |",
      `| \`keys\`, \`values\` | ${buffer.dtypes.join(", ")} | ${escaped(buffer.doc)} |`,
    ].join("\n"),
  ].join("\n\n");
}

function formatSection({ name, doc, buffers }: WeightFormat): string {
  return [
    `### ${name}`,
    `A weight of ${doc}.`,
    [
      "| buffer | dtypes | shape and meaning |",
      "| --- | --- | --- |",
      ...Object.entries(buffers).map(([name, { dtypes, doc }]) =>
        `| \`${name}\` | ${dtypes.join(", ")} | ${escaped(doc)} |`
      ),
    ].join("\n"),
  ].join("\n\n");
}

function section(kernel: Kernel): string {
  const { name, doc, buffers, uniforms, wasm, tolerance, produce, consume, relay } = kernel;
  const others = inOtherFormats(kernel).map(({ name }) => `\`${name}\``);
  const words = Object.entries(uniforms).map(([word, type]) => `\`${word}\` ${type}`).join(", ");
  const source = sourceOf(kernel);
  const facts = [
    `Uniforms: ${words}.`,
    ...(others.length > 0
      ? [`${hasCache(kernel) ? "Over caches" : "By a weight"} of another format: ${others.join(", ")}.`]
      : []),
    ...(produce ? [`Joins the ${linked(produce.after)} before it.`] : []),
    ...(consume ? [`Joins the call that makes \`${consume.buffer}\`.`] : []),
    ...(relay ? [`Joins the call that reads \`${relay.to}\`.`] : []),
    ...gradientOf(kernel).map((gradient) => `Gradient: ${linked(gradient)}.`),
    `CPU: ${wasm ? "WebAssembly" : "TypeScript"}.`,
    `Tolerance: ${tolerance === 0 ? 0 : tolerance.toExponential()}.`,
    `Source: [${source}](../${source}).`,
  ];
  return [
    `### ${name}`,
    sentence(escaped(doc)),
    [
      "| buffer | use | dtypes | shape and meaning |",
      "| --- | --- | --- | --- |",
      ...Object.entries(buffers).map(bufferRow),
    ].join("\n"),
    facts.join(" "),
  ].join("\n\n");
}

/** The reference: every kernel once, by name, then every format of weights and of caches. */
export function reference(listed: readonly Kernel[] = kernels): string {
  const told = new Set(listed.flatMap(inOtherFormats));
  const sorted = listed.filter((kernel) => !told.has(kernel)).sort((a, b) => a.name < b.name ? -1 : 1);
  const index = sorted.map(({ name }) => linked(name)).join(", ");
  const ofFormats = formats.map(({ name }) => linked(name)).join(", ");
  const ofCaches = otherCaches.map(({ name }) => linked(name)).join(", ");
  return [
    `${sorted.length} kernels: ${index}. Weight formats: ${ofFormats}. Cache formats: ${ofCaches}.`,
    ...sorted.map(section),
    ...formats.map(formatSection),
    ...otherCaches.map(cacheSection),
  ].join("\n\n");
}

/**
 * A document with the reference between its markers made anew.
 *
 * @throws Error when a marker is missing.
 */
export function withReference(document: string): string {
  return withMade(document, { name: "docs/kernels.md", task: "docs:kernels", made: reference() });
}

/** docs/kernels.md as it is. */
export function readReference(): string {
  return readFileSync(file, "utf8");
}

if (import.meta.main) writeFileSync(file, withReference(readReference()));
