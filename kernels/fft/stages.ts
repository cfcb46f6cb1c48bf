/**
 * WGSL of a transform's stages: each takes points into registers, works on them there, and says where they belong.
 *
 * @module
 */
import { butterfly, isStraight } from "./butterfly.ts";
import { type Layout, passLayout, type Place } from "./layout.ts";
import type { TransformPlan } from "./plan.ts";
import type { Twiddles } from "./twiddles.ts";

/** Points that invocations hold in registers. */
export interface Held {
  /** Statements that hand each point's place and value to `write`. */
  put(write: (place: Place, value: string) => string): string;
}

/** Something to be read from memory long before it is needed, into a variable of the kernel's main function. */
export interface Ahead {
  readonly variable: string;
  readonly type: "u32" | "vec2f";
  readonly value: string;
}

/** Statements that declare what is read ahead, and those that read it. */
export function readAhead(ahead: readonly Ahead[]): { readonly declare: string; readonly read: string } {
  return {
    declare: ahead.map(({ variable, type }) => `var ${variable} = ${type}();\n`).join(""),
    read: ahead.map(({ variable, value }) => `${variable} = ${value};\n`).join(""),
  };
}

/** One stage; its variables are in scope from `declare` on. */
export interface Stage extends Held {
  readonly declare: string;
  /** Its twiddles, where {@linkcode StageOf.ahead} asks for them to be read ahead. */
  readonly ahead: readonly Ahead[];
  /** How its points best lie for the next stage. */
  readonly layout: Layout;
  /**
   * Statements that take the stage's inputs from `read`. `field` is the one that they are of (`.x`, `.y`), or empty when
   * `read` gives whole points; `assign` is `+=` to add.
   */
  get(read: (place: Place) => string, field: string, assign?: "=" | "+="): string;
  readonly compute: string;
}

/** A stage's plan and the beginning of its variables' names. */
export interface StageOf {
  readonly plan: TransformPlan;
  readonly name: string;
  readonly twiddles: Twiddles;
  /** Whether twiddles are read ahead, and not where they are needed. */
  readonly ahead?: boolean;
}

/**
 * `body` for turns b = 0, 1, ..., unrolled: `j = local + b * threads` below `count`. The minimum changes nothing; it tells
 * the compiler that j is below `count`, so that places made of it need no check.
 */
export function eachTurn(
  { count, threads }: { readonly count: number; readonly threads: number },
  body: (b: number) => string,
): string {
  return Array.from({ length: Math.ceil(count / threads) }, (_, b) => {
    const turn = `local${b === 0 ? "" : ` + ${b * threads}u`}`;
    if ((b + 1) * threads <= count) return `{ let j = ${turn};\n${body(b)}}\n`;
    return `if (${turn} < ${count}u) { let j = min(${turn}, ${count - 1}u);\n${body(b)}}\n`;
  }).join("");
}

/** What is read ahead for each turn of {@linkcode eachTurn}; an invocation that has none reads the last one's. */
export function aheadOfTurns<T>(
  { count, threads }: { readonly count: number; readonly threads: number },
  read: (b: number, j: string) => T[],
): T[] {
  return Array.from({ length: Math.ceil(count / threads) }, (_, b) => {
    const turn = `local${b === 0 ? "" : ` + ${b * threads}u`}`;
    return read(b, (b + 1) * threads <= count ? `(${turn})` : `min(${turn}, ${count - 1}u)`);
  }).flat();
}

/** One variable a point: what a transform is given where its first stage cannot take it. */
export function holdStage({ plan, name }: StageOf): Stage {
  const turns = { count: plan.size, threads: plan.threads };
  const v = (b: number): string => `${name}_${b}`;
  return {
    declare: eachDeclared(Math.ceil(plan.size / plan.threads), (b) => [v(b)]),
    ahead: [],
    layout: "plain",
    get: (read, field, assign = "=") =>
      eachTurn(turns, (b) => `${v(b)}${field} ${assign} ${read({ base: "j" })};\n`),
    compute: "",
    put: (write) => eachTurn(turns, (b) => write({ base: "j" }, v(b))),
  };
}

function eachDeclared(turns: number, names: (b: number) => readonly string[]): string {
  return Array.from({ length: turns }, (_, b) => names(b).map((n) => `var ${n} = vec2f();`).join(" ") + "\n")
    .join("");
}

/** Multiplies v[t] by w^t: w from the table, its powers by products of the shortest chains (3 units in the last place). */
function turned(v: readonly string[], w1: string): string {
  const lines = [`let w1 = ${w1};\n`];
  for (let t = 2; t < v.length; t++) {
    lines.push(`let w${t} = cmul(w${t >> 1}, w${t - (t >> 1)});\n`);
  }
  for (let t = 1; t < v.length; t++) lines.push(`${v[t]} = cmul(${v[t]}, w${t});\n`);
  return lines.join("");
}

/** A Stockham pass of a radix with a butterfly, after passes whose radices have the product `done`. */
function straightStage(
  of: StageOf,
  { radix, done }: { readonly radix: number; readonly done: number },
): Stage {
  const { plan, name, twiddles } = of;
  const ahead = of.ahead === true && done > 1;
  const count = plan.size / radix;
  const turns = { count, threads: plan.threads };
  const names = (b: number): string[] => Array.from({ length: radix }, (_, t) => `${name}_${b}_${t}`);
  const place = (t: number): Place => ({ base: "j", plus: t * count });
  const turn = (j: string): string => twiddles(`(${j} % ${done}u) * ${plan.length / (done * radix)}u`);
  const turnAhead = (b: number): string => `${name}_${b}_w`;
  return {
    declare: eachDeclared(Math.ceil(count / plan.threads), names),
    ahead: ahead
      ? aheadOfTurns(turns, (b, j) => [{ variable: turnAhead(b), type: "vec2f", value: turn(j) }])
      : [],
    layout: passLayout(plan, { radix, done }),
    get: (read, field, assign = "=") =>
      eachTurn(turns, (b) => names(b).map((v, t) => `${v}${field} ${assign} ${read(place(t))};\n`).join("")),
    compute: eachTurn(turns, (b) => {
      const w1 = ahead ? turnAhead(b) : turn("j");
      return (done > 1 ? turned(names(b), w1) : "") + butterfly(names(b)).code;
    }),
    put: (write) =>
      eachTurn(turns, (b) => {
        const base = done === 1 ? `j * ${radix}u` : `j / ${done}u * ${done * radix}u + j % ${done}u`;
        const { outputs } = butterfly(names(b));
        return `let o = ${base};\n` +
          outputs.map((v, t) => write({ base: "o", plus: t * done }, v)).join("");
      }),
  };
}

/**
 * The first pass, of an odd radix r too long for registers. Outputs k and r - k are c + i s and c - i s, with c the sum of
 * the mirrored inputs' sums times cosines, and s that of their differences times sines: a fourth of the products of a
 * plain sum. The invocations that share inputs are as many as there are to spare, and each has every so-manieth k.
 */
function loopedStage({ plan, name, twiddles }: StageOf, radix: number): Stage {
  const { size, threads, length } = plan;
  const inner = size / radix;
  const pairs = (radix + 1) / 2;
  const lanes = Math.max(1, Math.min(pairs, Math.floor(threads / inner)));
  const units = Array.from({ length: Math.ceil(pairs / lanes) }, (_, m) => m);
  const c = (b: number, m: number): string => `${name}_${b}_c${m}`;
  const s = (b: number, m: number): string => `${name}_${b}_s${m}`;
  const each = (body: (b: number) => string): string =>
    eachTurn(
      { count: inner * lanes, threads },
      (b) => `let i = j % ${inner}u; let lane = j / ${inner}u;\n${body(b)}`,
    );
  const bin = (m: number): string => m === 0 ? "lane" : `(lane + ${m * lanes}u)`;
  // The last lanes' last outputs may lie above the others: computed once more, and not put.
  const beyond = (m: number): boolean => (m + 1) * lanes > pairs;
  const sums = (b: number, read: (place: Place) => string, field: string): string => `
let head = ${read({ base: "i" })};
${units.map((m) => `${c(b, m)}${field} = head;`).join(" ")}
${
    units.map((m) =>
      `let step${m} = ${beyond(m) ? `min(${bin(m)}, ${pairs - 1}u)` : bin(m)} * ${
        length / radix
      }u; var k${m} = step${m};\n`
    ).join("")
  }
for (var t = 1u; t < ${pairs}u; t++) {
  let p = ${read({ base: `(i + t * ${inner}u)` })};
  let q = ${read({ base: `(i + (${radix}u - t) * ${inner}u)` })};
  ${
    units.map((m) =>
      `{ let w = ${twiddles(`k${m}`)}; ${c(b, m)}${field} += w.x * (p + q); ${
        s(b, m)
      }${field} += w.y * (p - q); }
  k${m} += step${m}; k${m} -= select(0u, ${length}u, k${m} >= ${length}u);\n`
    ).join("")
  }}
`;
  return {
    declare: eachDeclared(
      Math.ceil(inner * lanes / threads),
      (b) => units.flatMap((m) => [c(b, m), s(b, m)]),
    ),
    ahead: [],
    layout: "plain",
    get: (read, field) => each((b) => sums(b, read, field)),
    compute: each((b) =>
      units.map((m) => `{ let d = times_i(${s(b, m)}); ${s(b, m)} = ${c(b, m)} - d; ${c(b, m)} += d; }\n`)
        .join("")
    ),
    put: (write) =>
      each((b) =>
        units.map((m) =>
          `{ let k = ${bin(m)}; ${beyond(m) ? `if (k < ${pairs}u) ` : ""}{ ${
            write({ base: `(i * ${radix}u + k)` }, c(b, m))
          }
if (k > 0) { ${write({ base: `((i + 1) * ${radix}u - k)` }, s(b, m))} } } }\n`
        ).join("")
      ),
  };
}

/** The stages of a plan, in order. */
export function stagesOf(transform: StageOf): Stage[] {
  const { plan, name } = transform;
  let done = 1;
  return plan.radices.map((radix, i) => {
    const of = { ...transform, name: `${name}${i}` };
    const stage = isStraight(radix) ? straightStage(of, { radix, done }) : loopedStage(of, radix);
    done *= radix;
    return stage;
  });
}
