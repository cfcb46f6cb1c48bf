/**
 * The site's looks and ways: pages are made by `build.ts`.
 *
 * @module
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { defineConfig } from "vitepress";

const here = import.meta.dirname;
const pages = join(here, "../pages");

/** An anchor as git hosts make it of a heading: links between documents hold on both. */
const slugify = (heading) =>
  heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replace(
    /\s/g,
    "-",
  );

const page = (text, link) => ({ text, link });

/** Doors by their folders of API pages. */
const doors = [
  "",
  ...readdirSync(join(pages, "api/fourierft")).filter((name) =>
    !/^(?:classes|functions|interfaces|type-aliases|variables|enumerations|index\.md)$/
      .test(name)
  ),
];
const api = {
  text: "API",
  items: doors.map((name) =>
    page(
      `fourierft${name ? `/${name}` : ""}`,
      `/api/fourierft/${name ? `${name}/` : ""}`,
    )
  ),
};

const guide = [
  {
    text: "Tutorials",
    items: [
      page("From a PEFT adapter to a page", "/docs/tutorial-serve"),
      page("Kernels on your own GPUDevice", "/docs/tutorial-kernels"),
      page("Examples", "/examples/README"),
    ],
  },
  {
    text: "Serve and train",
    items: [
      page("Serving", "/docs/serving"),
      page("Stores", "/docs/stores"),
      page("Command line", "/docs/command-line"),
      page("Training", "/docs/training"),
      page("Quantisation", "/docs/quantisation"),
    ],
  },
  {
    text: "Library",
    items: [
      page("Library", "/docs/library"),
      page("Browsers and Workers", "/docs/browser"),
      page("Devices", "/docs/devices"),
      page("Testing", "/docs/testing"),
    ],
  },
  {
    text: "Reference",
    items: [
      page("Formats", "/docs/formats"),
      page("Methods", "/docs/methods"),
      page("Kernels", "/docs/kernels"),
      page("Results of benches", "/bench/RESULTS"),
    ],
  },
  {
    text: "The project",
    items: [
      page("Architecture", "/docs/architecture"),
      page("Contributing", "/CONTRIBUTING"),
      page("Security", "/SECURITY"),
      page("Changelog", "/CHANGELOG"),
    ],
  },
];

export default defineConfig({
  title: "fourierft",
  description: "PEFT adapters (FourierFT, LoRA and others) on WebGPU and CPU, one for each request",
  base: process.env.SITE_BASE ?? "/",
  srcDir: "pages",
  outDir: "../dist/site",
  cacheDir: "node_modules/.vitepress",
  lang: "en",
  head: [["link", {
    rel: "icon",
    type: "image/svg+xml",
    href: `${process.env.SITE_BASE ?? "/"}logo.svg`,
  }]],
  markdown: {
    theme: { light: "github-light", dark: "github-dark" },
    anchor: { slugify },
  },
  // An index lists symbols by tables; what it only passes on would fill the outline.
  transformPageData: ({ relativePath, frontmatter }) =>
    /^api\/.*index\.md$/.test(relativePath) ? { frontmatter: { ...frontmatter, outline: 2 } } : undefined,
  themeConfig: {
    logo: "/logo.svg",
    nav: [
      page("Start", "/docs/tutorial-serve"),
      page("Serving", "/docs/serving"),
      page("Library", "/docs/library"),
      page("Examples", "/examples/README"),
      page("API", "/api/fourierft/"),
    ],
    sidebar: { "/api/": [api], "/": [...guide, { ...api, collapsed: true }] },
    search: { provider: "local" },
    outline: [2, 3],
    footer: {
      message: "MIT licence. FourierFT is from Gao et al. 2024, arXiv 2405.03003.",
    },
  },
});
