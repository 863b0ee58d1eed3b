/**
 * Known holes of what we ship: `npm audit` of the production dependencies; a high or critical one fails.
 *
 * Exit 0 none, 1 some, 75 (a temporary failure, as sysexits.h has it) where the registry does not serve audits.
 */
import { spawnSync } from 'node:child_process';

const NOT_HERE = 75;
const npm = process.env.npm_execpath;
const [command, first] = npm === undefined ? ['npm', []] : [process.execPath, [npm]];
const { stdout } = spawnSync(command, [...first, 'audit', '--omit=dev', '--json'], {
  encoding: 'utf8',
  stdio: ['ignore', 'pipe', 'ignore'],
});

const report = parse(stdout ?? '');
const counts = report?.metadata?.vulnerabilities;
if (counts === undefined) {
  process.stderr.write(
    `no audit: the registry does not serve it${report?.statusCode === undefined ? '' : ` (status ${report.statusCode})`}\n`,
  );
  process.exit(NOT_HERE);
}
for (const { name, severity, range } of Object.values(report.vulnerabilities ?? {}))
  process.stdout.write(`${severity}: ${name} ${range}\n`);
process.stdout.write(`audit: ${counts.critical} critical, ${counts.high} high, ${counts.moderate} moderate, ${counts.low} low\n`);
process.exit(counts.critical + counts.high > 0 ? 1 : 0);

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
