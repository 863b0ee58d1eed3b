/**
 * Reads one file in a process of its own and says what that took: `node weigh.js read|scan <path>`, one line of JSON.
 * Run by the tests of the limits, as only a process has a peak of memory.
 */
import { readFileSync } from 'node:fs';
import { isCheckpointError } from '../../src/errors.ts';
import { readHeader } from '../../src/formats/read-header.ts';
import { scanFile } from '../../src/formats/scan/scan.ts';
import { openSource } from '../../src/io/locations/open.ts';
import { siblingsOf } from '../../src/io/locations/siblings.ts';

const [, , what, path = ''] = process.argv;
const source = await openSource(path);
const openSibling = siblingsOf(source.uri, openSource);
let outcome: string;
try {
  if (what === 'scan') outcome = (await scanFile(source, { openSibling, check: readHeader })).map(({ verdict }) => verdict).join();
  else outcome = `${(await readHeader(source, openSibling)).weights.length} weights`;
} catch (error) {
  if (!isCheckpointError(error)) throw error;
  outcome = `${error.code}: ${error.message.slice(0, 300)}`;
}
await source.close();
const { user, system } = process.cpuUsage();
// Time on the processor: what others do on the machine does not count.
const milliseconds = Math.round((user + system) / 1000);
process.stdout.write(`${JSON.stringify({ outcome, milliseconds, mebibytes: Math.round(peak() / 1024) })}\n`);

/** KiB. Of this program alone where the system tells: `maxRSS` begins with the peak of the process that started it (Linux). */
function peak(): number {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS;
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]);
}
