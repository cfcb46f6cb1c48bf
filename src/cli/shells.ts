/**
 * Completion scripts of shells, as texts. The scripts hold all words: a shell completes without starting the program.
 *
 * @module
 */

/** What a value may be completed with. */
interface Values {
  readonly words?: readonly string[];
  readonly path?: "file" | "folder";
}

/** A flag that is completed, with its dashes. */
export interface CompletedFlag extends Values {
  readonly flag: string;
  readonly description: string;
  readonly takesValue: boolean;
}

/** A command that is completed. */
export interface CompletedCommand {
  readonly name: string;
  readonly description: string;
  readonly flags: readonly CompletedFlag[];
  /** The word beside the flags, where the command takes one. */
  readonly word?: Values;
}

/** Shells that there are scripts for. */
export const shells = ["bash", "zsh", "fish"] as const;

/** A text in single quotes, as all three shells read them: their ways to write a quote differ, so it is left out. */
const quoted = (text: string): string => `'${text.replaceAll(/['\\]/g, "")}'`;

function bashValues({ words, path }: Values): string {
  if (words) return `COMPREPLY=($(compgen -W ${quoted(words.join(" "))} -- "$current"))`;
  if (path === undefined) return "COMPREPLY=()";
  const kind = path === "folder" ? "-d" : "-f";
  return `compopt -o filenames 2>/dev/null; IFS=$'\\n'; COMPREPLY=($(compgen ${kind} -- "$current"))`;
}

function bashCommand({ name, flags, word }: CompletedCommand): string {
  const cases = flags.filter(({ takesValue }) => takesValue)
    .map((one) => `        ${one.flag}) ${bashValues(one)}; return ;;`);
  const all = quoted(flags.map(({ flag }) => flag).join(" "));
  return [
    `    ${name})`,
    '      case "$before" in',
    ...cases,
    "      esac",
    `      if [[ $current == -* ]]; then COMPREPLY=($(compgen -W ${all} -- "$current"))`,
    `      else ${bashValues(word ?? {})}; fi ;;`,
  ].join("\n");
}

/** bash splits words at `=`, so that a value after `--flag=` is a word of its own. */
function bash(commands: readonly CompletedCommand[]): string {
  return `# bash completion for fourierft
_fourierft() {
  local IFS=$' \\t\\n' current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]}
  COMPREPLY=()
  if [[ $current == = ]]; then current=""
  elif [[ $before == = ]]; then before=\${COMP_WORDS[COMP_CWORD-2]}; fi
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W ${quoted([...commands.map(({ name }) => name), "help"].join(" "))} -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
    help) COMPREPLY=($(compgen -W ${quoted(commands.map(({ name }) => name).join(" "))} -- "$current")) ;;
${commands.map(bashCommand).join("\n")}
  esac
}
complete -F _fourierft fourierft`;
}

/** A description within a specification of zsh's \`_arguments\`, where brackets and colons mean something. */
const zshText = (text: string): string => text.replaceAll(/['\\]/g, "").replaceAll(/[[\]:]/g, "\\$&");

function zshAction({ words, path }: Values): string {
  if (words) return `:value:(${words.join(" ")})`;
  if (path === undefined) return ":value: ";
  return path === "folder" ? ":folder:_files -/" : ":file:_files";
}

function zshCommand({ name, flags, word }: CompletedCommand): string {
  const specs = flags.map((one) => {
    const value = one.takesValue ? zshAction(one) : "";
    return `        '*${one.flag}${one.takesValue ? "=" : ""}[${zshText(one.description)}]${value}'`;
  });
  const words = word ? [`        '1${zshAction(word)}'`] : [];
  return `      ${name})\n        _arguments \\\n${[...specs, ...words].join(" \\\n")} ;;`;
}

function zsh(commands: readonly CompletedCommand[]): string {
  const names = commands.map(({ name, description }) => `    '${name}:${zshText(description)}'`);
  return `#compdef fourierft
_fourierft() {
  local -a commands=(
${names.join("\n")}
  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
      help) _describe command commands ;;
${commands.map(zshCommand).join("\n")}
  esac
}
if [[ $funcstack[1] == _fourierft ]]; then _fourierft "$@"; else compdef _fourierft fourierft; fi`;
}

function fishFlag(name: string, { flag, description, takesValue, words, path }: CompletedFlag): string {
  const value = words
    ? ` -x -a ${quoted(words.join(" "))}`
    : path === "folder"
    ? " -x -a '(__fish_complete_directories)'"
    : path === "file"
    ? " -r -F"
    : takesValue
    ? " -x"
    : "";
  const at = `complete -c fourierft -n '__fish_seen_subcommand_from ${name}'`;
  return `${at} -l ${flag.slice(2)} -d ${quoted(description)}${value}`;
}

function fishWord({ name, word }: CompletedCommand): string[] {
  if (!word) return [];
  const given = word.words ? `-a ${quoted(word.words.join(" "))}` : "-a '(__fish_complete_directories)'";
  return [`complete -c fourierft -n '__fish_seen_subcommand_from ${name}' ${given}`];
}

function fish(commands: readonly CompletedCommand[]): string {
  return [
    "# fish completion for fourierft",
    "complete -c fourierft -f",
    ...commands.map(({ name, description }) =>
      `complete -c fourierft -n __fish_use_subcommand -a ${name} -d ${quoted(description)}`
    ),
    ...commands.flatMap((one) => [...one.flags.map((flag) => fishFlag(one.name, flag)), ...fishWord(one)]),
  ].join("\n");
}

/** The script of each shell. */
export const completionScripts: Readonly<
  Record<typeof shells[number], (commands: readonly CompletedCommand[]) => string>
> = { bash, zsh, fish };
