/**
 * Lines that begin with a slash, as one table. Help is made of the same table.
 *
 * @module
 */
import { maxScale } from "../../adapters/combination.ts";
import { nearest } from "../nearest.ts";
import type { Sampling, Session, Voice } from "./session.ts";

/** A line of a chat that cannot be followed. */
export class ChatError extends Error {
  override readonly name = "ChatError";
}

/** What a command says, and whether the chat is over. */
export interface Said {
  readonly lines: readonly string[];
  readonly ends?: boolean;
}

/** A command of a chat. */
export interface ChatCommand {
  readonly hint?: string;
  readonly does: string;
  run(session: Session, rest: string): Said | Promise<Said>;
}

/** Fields of sampling: OpenAI's, and vLLM's. The server knows their ranges. */
const numbers = [
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "presence_penalty",
  "frequency_penalty",
  "repetition_penalty",
  "max_tokens",
  "seed",
];

const number = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

function settingOf(word: string): [name: string, value: number | string] {
  const at = word.indexOf("="), name = word.slice(0, at), value = word.slice(at + 1);
  if (at <= 0 || value === "") throw new ChatError(`Cannot read "${word}": a setting is NAME=VALUE`);
  if (name === "stop") return [name, value];
  if (!numbers.includes(name)) {
    const meant = nearest(name, [...numbers, "stop"]);
    const way = meant === undefined
      ? `; there are ${numbers.join(", ")} and stop`
      : `; did you mean ${meant}?`;
    throw new ChatError(`Cannot set "${name}": there is no such setting${way}`);
  }
  if (!number.test(value)) throw new ChatError(`Cannot set ${name} to "${value}": it must be a number`);
  return [name, Number(value)];
}

/**
 * Settings that are written `NAME=VALUE`.
 *
 * @throws ChatError that names the setting.
 */
export function samplingOf(words: readonly string[]): Sampling {
  return Object.fromEntries(words.map(settingOf));
}

const wordsOf = (rest: string): string[] => rest.split(/\s+/).filter(Boolean);

function mixOf(words: readonly string[]): Voice {
  const adapters = words.map((word) => {
    const [, id, scale] = /^(.+)=([^=]+)$/s.exec(word) ?? [];
    if (id === undefined) return { id: word };
    if (!number.test(scale) || Math.abs(Number(scale)) > maxScale) {
      throw new ChatError(`Cannot mix "${word}": a scale is a number from -${maxScale} to ${maxScale}`);
    }
    return { id, scale: Number(scale) };
  });
  return { kind: "mix", adapters };
}

/** Who answers, in words. */
export function voiceText({ base, voice }: Pick<Session, "base" | "voice">): string {
  if (voice.kind === "base") return `${base.id} answers`;
  if (voice.kind === "adapter") return `${voice.id} answers`;
  return `${voice.adapters.map(({ id, scale = 1 }) => `${scale} x ${id}`).join(" + ")} answers`;
}

async function listOf(session: Session): Promise<Said> {
  const { ids, more } = await session.adapters();
  return { lines: [voiceText(session), `adapters: ${ids.join(", ") || "none"}${more ? ", and more" : ""}`] };
}

async function speak(session: Session, voice: Voice): Promise<Said> {
  await session.speakAs(voice);
  return { lines: [voiceText(session)] };
}

function samplingText({ sampling }: Session): string {
  const settings = Object.entries(sampling).map(([name, value]) => `${name}=${value}`);
  return settings.length > 0 ? settings.join(" ") : "the server's defaults";
}

/** Every command by its name. */
export const chatCommands: Readonly<Record<string, ChatCommand>> = {
  adapter: {
    hint: "[NAME]",
    does: "let an adapter answer; without a name, list the adapters",
    run: (session, rest) => rest === "" ? listOf(session) : speak(session, { kind: "adapter", id: rest }),
  },
  mix: {
    hint: "NAME=SCALE ...",
    does: "let a weighted sum of adapters answer",
    run(session, rest) {
      const words = wordsOf(rest);
      if (words.length === 0) throw new ChatError("Cannot mix nothing: /mix law=0.5 tone=0.5 adds two up");
      return speak(session, mixOf(words));
    },
  },
  base: {
    does: "let the base model answer, without an adapter",
    run: (session) => speak(session, { kind: "base" }),
  },
  system: {
    hint: "[TEXT]",
    does: "set the system message; without a text, take it away",
    run(session, rest) {
      session.system = rest === "" ? undefined : rest;
      return { lines: [rest === "" ? "no system message" : `system: ${rest}`] };
    },
  },
  sampling: {
    hint: "[NAME=VALUE ...]",
    does: "set sampling, e.g. temperature=0.7 max_tokens=200; /sampling default takes all back",
    run(session, rest) {
      if (rest === "default") session.sampling = {};
      else session.sampling = { ...session.sampling, ...samplingOf(wordsOf(rest)) };
      return { lines: [`sampling: ${samplingText(session)}`] };
    },
  },
  reset: {
    does: "forget what was said",
    run(session) {
      session.reset();
      return { lines: ["what was said is forgotten"] };
    },
  },
  help: { does: "show these lines", run: () => ({ lines: helpLines() }) },
  quit: { does: "end; so does Ctrl-D, or Ctrl-C twice", run: () => ({ lines: [], ends: true }) },
};

const signOf = (name: string): string => `/${[name, chatCommands[name].hint].filter(Boolean).join(" ")}`;

/** A line for each command. */
export function helpLines(): string[] {
  const names = Object.keys(chatCommands), width = Math.max(...names.map((name) => signOf(name).length));
  return names.map((name) => `${signOf(name).padEnd(width)}  ${chatCommands[name].does}`);
}

/**
 * Follows a line that begins with a slash.
 *
 * @throws ChatError for a line that cannot be followed; what the session throws.
 */
export async function followCommand(session: Session, line: string): Promise<Said> {
  const [, name = "", rest = ""] = /^\/(\S*)\s*([\s\S]*)$/.exec(line.trim()) ?? [];
  const command = Object.hasOwn(chatCommands, name) ? chatCommands[name] : undefined;
  if (command) return await command.run(session, rest);
  const meant = nearest(name, Object.keys(chatCommands));
  const way = meant === undefined ? "/help lists the commands" : `did you mean /${meant}?`;
  throw new ChatError(`Cannot follow /${name}: there is no such command; ${way}`);
}
