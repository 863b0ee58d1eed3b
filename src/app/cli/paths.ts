/** Where the user stands. */

/** The folder the command was typed in: npm changes it, and says in INIT_CWD what it was. */
export function callerFolder(): string {
  return process.env['npm_lifecycle_event'] === 'start' ? (process.env['INIT_CWD'] ?? process.cwd()) : process.cwd();
}
