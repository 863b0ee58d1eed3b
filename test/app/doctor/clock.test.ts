import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { clockFinding } from '../../../src/app/doctor/clock.ts';
import { LEAST_NODE, nodeFinding } from '../../../src/app/doctor/machine.ts';
import { PROJECT_ROOT } from '../../support/project.ts';

const MINUTE = 60_000;
const of = (skew: number, options = {}) =>
  clockFinding('there', { before: 1_000_000_000, other: 1_000_000_040 + skew, after: 1_000_000_100 }, options);

test('the time that a question takes, and the other clock’s resolution, are not a difference', () => {
  expect(of(0).status).toBe('ok');
  expect(clockFinding('there', { before: 0, other: 25_000, after: 30_000 }).status).toBe('ok');
  expect(of(-5500, { resolution: 1000 }).status).toBe('ok');
  expect(of(-5500).status).toBe('warning');
});

test('which way and how far it is', () => {
  expect(of(-30_000).message).toBe("this machine's clock is 30 s ahead of there");
  expect(of(20 * MINUTE)).toMatchObject({ status: 'warning', message: "this machine's clock is 20 min behind there" });
  expect(of(20 * MINUTE, { refused: 15 * MINUTE })).toMatchObject({
    status: 'problem',
    message: "this machine's clock is 20 min behind there; beyond 15 min it refuses requests",
    advice: expect.stringContaining('NTP'),
  });
});

test('Node: as package.json says', () => {
  const { engines } = JSON.parse(readFileSync(join(PROJECT_ROOT, 'package.json'), 'utf8')) as { engines: { node: string } };
  expect(engines.node).toBe(`>=${LEAST_NODE.join('.')}`);
  expect(['20.19.0', '24.0.1', '22.1.0'].map((version) => nodeFinding(version).status)).toEqual(['ok', 'ok', 'ok']);
  expect(['20.18.9', '18.20.0'].map((version) => nodeFinding(version).status)).toEqual(['problem', 'problem']);
});
