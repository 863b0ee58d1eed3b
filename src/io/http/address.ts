/**
 * Which addresses are on the public internet: the only ones that a worker asks for other people's inputs.
 *
 * Source: the IANA special-purpose address registries for IPv4 and IPv6. Addresses that hold an IPv4 address (mapped, translated,
 * 6to4) are judged by what they hold; of the rest of IPv6 only the global unicast block 2000::/3 counts as public.
 */
import { BlockList, isIP, isIPv4 } from 'node:net';

const NOT_PUBLIC_4 = blockList('ipv4', [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
]);
const GLOBAL_6 = blockList('ipv6', [['2000::', 3]]);
const NOT_PUBLIC_6 = blockList('ipv6', [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['3fff::', 20],
]);

function blockList(family: 'ipv4' | 'ipv6', subnets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [net, prefix] of subnets) list.addSubnet(net, prefix, family);
  return list;
}

/** True for addresses of the public internet; false also for what is not an address. */
export function isPublicAddress(address: string): boolean {
  const bare = address.replace(/^\[|\]$/g, '').replace(/%.*$/, '');
  if (isIPv4(bare)) return !NOT_PUBLIC_4.check(bare, 'ipv4');
  if (isIP(bare) !== 6) return false;
  const words = wordsOf(bare);
  const last = ipv4Of(words[6]!, words[7]!);
  // ::ffff:0:0/96 mapped, ::/96 compatible (with :: and ::1, which hold 0.0.0.0 and 0.0.0.1), 64:ff9b::/96 translated.
  if (words.slice(0, 5).every((word) => word === 0) && (words[5] === 0xffff || words[5] === 0)) return isPublicAddress(last);
  if (words[0] === 0x64 && words[1] === 0xff9b && words.slice(2, 6).every((word) => word === 0)) return isPublicAddress(last);
  if (words[0] === 0x2002) return isPublicAddress(ipv4Of(words[1]!, words[2]!));
  return GLOBAL_6.check(bare, 'ipv6') && !NOT_PUBLIC_6.check(bare, 'ipv6');
}

/** The eight words of an IPv6 address, which may end in dotted form. */
function wordsOf(address: string): readonly number[] {
  const dotted = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const text =
    dotted === null
      ? address
      : `${address.slice(0, dotted.index)}${hex(Number(dotted[1]), Number(dotted[2]))}:${hex(Number(dotted[3]), Number(dotted[4]))}`;
  const [head, tail] = text.split('::').map((part) => part.split(':').filter((word) => word !== ''));
  const before = head ?? [];
  const after = tail ?? [];
  const words = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
  return words.map((word) => Number.parseInt(word, 16));
}

function hex(high: number, low: number): string {
  return (high * 256 + low).toString(16);
}

function ipv4Of(high: number, low: number): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}
