/**
 * The repository's documents as pages of the site. They keep their paths, so that links between them stay what they are on
 * a git host. Sources that documents lead to become pages of their own.
 *
 * @module
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, extname, join, normalize, relative } from "node:path";

/** Documents that the site has, beside those of `docs/`. */
const others = [
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  "bench/RESULTS.md",
  "examples/README.md",
  "examples/demo/README.md",
  "examples/paper/README.md",
];

/** Paths of the documents from the repository's folder. */
export function documentsOf(root: string): string[] {
  const docs = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md")).sort();
  return [...docs.map((name) => `docs/${name}`), ...others];
}

const pictures = [".svg", ".png"];
/** Highlighters' names of what an extension does not tell. */
const languages: Readonly<Record<string, string>> = {
  cfg: "txt",
  mjs: "js",
  py: "python",
  yml: "yaml",
};

/** A picture of two forms, which a page's own switch chooses in place of the system's setting. */
const twoForms =
  /<picture>\s*<source [^>]*srcset="([^"]+)">\s*<img alt="([^"]*)" src="([^"]+)">\s*<\/picture>/g;

/** A document's text, with what is code left as it is and links replaced. Two forms of a picture are one of the page's. */
function withLinks(
  markdown: string,
  replace: (target: string) => string,
): string {
  return markdown.split(/(^```[\s\S]*?^```$|`[^`\n]*`)/m).map((part, i) =>
    i % 2 === 1 ? part : part
      .replace(/\]\(([^)\s]+)\)/g, (_, target) => `](${replace(target)})`)
      .replace(
        twoForms,
        (_, dark, alt, light) =>
          `<img class="only-light" alt="${alt}" src="${
            replace(light)
          }"><img class="only-dark" alt="${alt}" src="${replace(dark)}">`,
      )
  ).join("");
}

/** Where a source's page is. VitePress would take `index.html.md` for a folder's index. */
const placeOf = (path: string): string => `source/${path.replace(/\.html$/, "-html")}`;

/** A source as a page; a folder as a list of its files. */
function sourcePage(root: string, path: string): string {
  const whole = join(root, path),
    head = `---\nsearch: false\noutline: false\n---\n\n# ${path}\n\n`;
  if (statSync(whole).isDirectory()) {
    return head +
      readdirSync(whole).sort().map((name) => `- \`${name}\`\n`).join("");
  }
  const extension = extname(path).slice(1);
  const text = readFileSync(whole, "utf8").trimEnd();
  return `${head}\`\`\`\`\`${languages[extension] ?? (extension || "sh")}\n${text}\n\`\`\`\`\`\n`;
}

/**
 * Writes pages into `out`: every document, the pictures it shows, and the sources it leads to.
 *
 * @returns How many documents and sources there are.
 * @throws Error for a link to a file that is not there.
 */
export function writePages(
  root: string,
  out: string,
): { readonly documents: number; readonly sources: number } {
  const documents = documentsOf(root), sources = new Set<string>();
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(out, path)), { recursive: true });
    writeFileSync(join(out, path), text);
  };
  for (const document of documents) {
    const replace = (target: string): string => {
      if (/^(?:[a-z]+:|#|\/)/.test(target)) return target;
      const [file, anchor] = target.split("#");
      const path = normalize(join(dirname(document), file)).replace(/\/$/, "");
      if (!existsSync(join(root, path))) {
        throw new Error(`Cannot build ${document}: there is no ${path}`);
      }
      if (documents.includes(path)) return target;
      if (pictures.includes(extname(path))) {
        mkdirSync(dirname(join(out, path)), { recursive: true });
        copyFileSync(join(root, path), join(out, path));
        return target.startsWith(".") ? target : `./${target}`;
      }
      sources.add(path);
      const at = relative(dirname(document), placeOf(path));
      return `${at.startsWith(".") ? at : `./${at}`}.md${anchor ? `#${anchor}` : ""}`;
    };
    write(
      document,
      withLinks(readFileSync(join(root, document), "utf8"), replace),
    );
  }
  for (const path of sources) {
    write(`${placeOf(path)}.md`, sourcePage(root, path));
  }
  return { documents: documents.length, sources: sources.size };
}
