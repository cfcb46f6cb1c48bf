/**
 * A figure: its picture, its numbers as a table, and its file.
 *
 * @module
 */
import type { Figure, SvgDocument } from "fourierft/pictures";
import { useEffect, useRef, useState } from "preact/hooks";
import type { VNode } from "preact";

const darkness = matchMedia("(prefers-color-scheme: dark)");

/** Whether the page is dark now. */
function useDark(): boolean {
  const [dark, setDark] = useState(darkness.matches);
  useEffect(() => {
    const change = (): void => setDark(darkness.matches);
    darkness.addEventListener("change", change);
    return () => darkness.removeEventListener("change", change);
  }, []);
  return dark;
}

/** Gives a figure to the user as an SVG file. */
async function save(figure: Figure, title: string): Promise<void> {
  const { cardOf } = await import("fourierft/pictures");
  const card = cardOf([[figure]], { document: document as unknown as SvgDocument, theme: "auto", title });
  const url = URL.createObjectURL(new Blob([card.outerHTML], { type: "image/svg+xml" }));
  const link = document.createElement("a");
  Object.assign(link, { href: url, download: `${figure.name}.svg` });
  link.click();
  URL.revokeObjectURL(url);
}

function Table({ figure }: { readonly figure: Figure }): VNode {
  const { columns, rows, leftOut } = figure.table;
  return (
    <div class="table" tabIndex={0} role="region" aria-label={`Values of ${figure.title}`}>
      <table>
        <thead>
          <tr>{columns.map((name) => <th key={name} scope="col">{name}</th>)}</tr>
        </thead>
        <tbody>
          {rows.map((row, i) => (
            <tr key={i}>
              {row.map((cell, k) => (
                <td key={k}>{typeof cell === "number" ? Number(cell.toPrecision(6)) : cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {leftOut > 0 && <p class="hint">{leftOut} more rows are left out</p>}
    </div>
  );
}

/** See the module's documentation. `title` is the heading of the file. */
export function Picture({ figure, title }: { readonly figure: Figure; readonly title: string }): VNode {
  const place = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState(false);
  const dark = useDark();
  useEffect(() => {
    let left = false;
    // Each figure is drawn in a task of its own: the page answers between them.
    const timer = setTimeout(async () => {
      const { cardOf } = await import("fourierft/pictures");
      if (left) return;
      const theme = dark ? "dark" : "light";
      const card = cardOf([[figure]], { document: document as unknown as SvgDocument, theme });
      place.current?.replaceChildren(card as unknown as Node);
    });
    return () => {
      left = true;
      clearTimeout(timer);
    };
  }, [figure, dark]);
  return (
    <figure class="picture">
      <div class="drawing" ref={place} tabIndex={0} role="region" aria-label={figure.title} />
      <figcaption class="row">
        <details onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
          <summary>Values as a table</summary>
          {open && <Table figure={figure} />}
        </details>
        <button
          type="button"
          class="quiet small"
          aria-label={`Save ${figure.title} as SVG`}
          onClick={() => void save(figure, title)}
        >
          Save as SVG
        </button>
      </figcaption>
    </figure>
  );
}
