/** Where a worker's own HTTP servers listen. */
import { CheckpointConfigError, textOf } from '../errors.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** `8081`: on this machine alone; `0.0.0.0:8081` or `[::]:8081`: for others, too. */
export function parseAddress(text: string, option: string): Address {
  const [, bracketed, plain, digits] = /^(?:(?:\[([0-9a-f:.]+)\]|([\w.-]+)):)?(\d{1,5})$/i.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535)
    throw new CheckpointConfigError(`${option} is \`${text}\`; expected a port, or address:port such as 0.0.0.0:8081.`);
  return { host: bracketed ?? plain ?? '127.0.0.1', port };
}

/** Why a server of a worker cannot be had there, and what to name instead; by the words of Node or of the SDK's native part. */
const REASONS: readonly (readonly [words: RegExp, reason: string])[] = [
  [/EADDRINUSE|already in use/i, 'another program listens there, perhaps another worker. Name another port'],
  [
    /EADDRNOTAVAIL|ENOTFOUND|cannot assign/i,
    'this machine has no such address. Name a port alone, or 0.0.0.0 with it for all its addresses',
  ],
  [/EACCES|permission denied/i, 'this process may not take that port. Name one from 1024 on'],
];

/** `setting`: where the address comes from. */
export function refusedAddress(what: string, address: Address, setting: string, cause: unknown): CheckpointConfigError {
  const text = textOf(cause);
  const reason = REASONS.find(([words]) => words.test(text))?.[1] ?? `${text}. Name another address`;
  return new CheckpointConfigError(`${what} cannot listen on ${addressText(address)}: ${reason} (${setting}).`, undefined, { cause });
}

export function addressText({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
