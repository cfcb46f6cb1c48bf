/**
 * Dead links of a folder of pages: what a static host would answer with 404, and anchors that no page has.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";

/** A page's links and anchors, as its HTML has them. */
interface Page {
  readonly links: readonly string[];
  readonly anchors: ReadonlySet<string>;
}

const unescaped = (text: string): string =>
  text.replaceAll("&quot;", '"').replaceAll("&#39;", "'").replaceAll(
    "&lt;",
    "<",
  ).replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");

function readPage(path: string): Page {
  const html = readFileSync(path, "utf8");
  const values = (name: string): string[] =>
    [...html.matchAll(new RegExp(`\\s${name}="([^"]*)"`, "g"))].map((
      [, value],
    ) => unescaped(value));
  return {
    links: [...values("href"), ...values("src")],
    anchors: new Set(values("id")),
  };
}

/** The file that a static host answers with; undefined where there is none. */
function fileAt(path: string): string | undefined {
  const tried = path.endsWith("/") ? [join(path, "index.html")] : [path, `${path}.html`];
  return tried.find((one) => existsSync(one) && statSync(one).isFile());
}

/** Sentences about links that lead nowhere in `folder`, which is served at `base`. Links to other hosts are not followed. */
export function deadLinks(folder: string, base = "/"): string[] {
  const pages = new Map<string, Page>();
  const pageOf = (path: string): Page => {
    let page = pages.get(path);
    if (!page) pages.set(path, page = readPage(path));
    return page;
  };
  const problem = (from: string, link: string): string | undefined => {
    const [address, anchor] = link.split("#").map(decodeURIComponent),
      [place] = address.split("?");
    if (place.startsWith("/") && !place.startsWith(base)) {
      return `is not under ${base}`;
    }
    const path = place.startsWith("/") ? join(folder, place.slice(base.length)) : join(dirname(from), place);
    const file = place === "" ? from : fileAt(place === base ? `${folder}/` : path);
    if (file === undefined) return "there is no such page";
    if (
      !anchor || !file.endsWith(".html") || pageOf(file).anchors.has(anchor)
    ) return undefined;
    return `${relative(folder, file)} has no anchor "${anchor}"`;
  };
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".html")).sort();
  return files.flatMap((name) => {
    const from = join(folder, name);
    return [...new Set(pageOf(from).links)].filter((link) => !/^(?:[a-z][a-z+.-]*:|\/\/)/i.test(link))
      .flatMap((link) => {
        const found = problem(from, link);
        return found ? [`${name} links to ${link}: ${found}`] : [];
      });
  });
}
