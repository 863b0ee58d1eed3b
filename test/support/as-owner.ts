/** Commands that may do what the owner of a file may, and no more: root reads and writes whatever the modes of files say. */

/** The command, without root's capabilities where this process has them. */
export function asOwner(command: readonly string[]): readonly string[] {
  return process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all', ...command] : command;
}
