import { expect, test } from '@jest/globals';
import { capacityOf, DEFAULT_CAPACITY } from '../../src/app/capacity.ts';
import type { WorkerVariables } from '../../src/app/environment.ts';
import { workerSettings } from '../../src/app/worker-settings.ts';

const MIB = 2 ** 20;
const NOTHING = { transfers: null, activities: null, memory: null };
const VARIABLES: WorkerVariables = { ...NOTHING, healthPort: null, metricsPort: null, deployment: null, buildId: null };

test('nothing said: the defaults', () => {
  expect(capacityOf(NOTHING)).toEqual(DEFAULT_CAPACITY);
  expect(workerSettings({}, VARIABLES)).toEqual({ capacity: DEFAULT_CAPACITY, health: null, metrics: null, version: null });
});

test('memory bounds what transfers hold together, and never takes more than the defaults', () => {
  for (let memory = 406 * MIB; memory < 4096 * MIB; memory += 7 * MIB) {
    const { transfers, uploads } = capacityOf({ ...NOTHING, memory });
    expect(transfers).toBeGreaterThanOrEqual(1);
    expect(transfers).toBeLessThanOrEqual(DEFAULT_CAPACITY.transfers);
    expect(uploads).toBeLessThanOrEqual(DEFAULT_CAPACITY.uploads);
    expect(256 * MIB + transfers * 100 * MIB + uploads).toBeLessThanOrEqual(memory);
  }
  expect(capacityOf({ ...NOTHING, memory: 4096 * MIB })).toEqual({ ...DEFAULT_CAPACITY, memory: 4096 * MIB });
});

test('what it says is needed is enough, and one byte less is not', () => {
  for (const transfers of [1, 2, 4, 5, 6, 16]) {
    let needed = 0;
    try {
      capacityOf({ ...NOTHING, transfers, memory: MIB });
    } catch (error) {
      needed = (error as { details: { needed: number } }).details.needed;
    }
    expect(capacityOf({ ...NOTHING, transfers, memory: needed }).transfers).toBe(transfers);
    expect(() => capacityOf({ ...NOTHING, transfers, memory: needed - 1 })).toThrow('Give more memory');
  }
});

test('options win over variables, and a mistake is said of the one that made it', () => {
  const variables = { ...VARIABLES, transfers: '2', memory: '1GiB', healthPort: '0.0.0.0:8081' };
  const { capacity, health } = workerSettings({ transfers: '3' }, variables);
  expect(capacity).toMatchObject({ transfers: 3, memory: 1024 * MIB });
  expect(health).toEqual({ host: '0.0.0.0', port: 8081 });
  expect(() => workerSettings({}, { ...variables, transfers: 'many' })).toThrow('CKPT_TRANSFERS is `many`; expected a number');
  expect(() => workerSettings({ transfers: '-1' }, variables)).toThrow('--transfers is `-1`');
  expect(() => workerSettings({ memory: 'lots' }, VARIABLES)).toThrow('--memory is `lots`; expected a size');
  expect(() => workerSettings({ healthPort: '99999' }, VARIABLES)).toThrow('--health-port is `99999`; expected a port');
  expect(() => workerSettings({ transfers: '0', activities: '0' }, VARIABLES)).toThrow('nothing to do');
  expect(() => workerSettings({ deployment: 'ckpt' }, VARIABLES)).toThrow('`--build-id`');
  expect(workerSettings({ metricsPort: '[::]:9464' }, VARIABLES).metrics).toEqual({ host: '::', port: 9464 });
});
