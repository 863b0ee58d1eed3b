/** Where a worker's own HTTP servers listen. */
import { CheckpointConfigError } from '../errors.ts';

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

export function addressText({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
