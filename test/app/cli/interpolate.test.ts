import { describe, expect, test } from '@jest/globals';
import { interpolate, interpolateStage, type Values } from '../../../src/app/cli/interpolate.ts';
import type { CheckpointError } from '../../../src/errors.ts';

const values = (): Values => ({
  environment: { HOME_DIR: '/home/x', FLAG: 'true', VERSION: '1.10', INJECTED: '${N}', AWS_SECRET_ACCESS_KEY: 'hunter2', N: '12' },
  parameters: { run: 'r1', 'with.dot': 'd' },
  root: {
    hardware: { paths: { output: '${HOME_DIR}/out', loop: '${hardware.paths.loop}' } },
    n: { count: 3 },
    list: ['${HOME_DIR}', 2],
    base: '/base',
    big: { a: '${big.b}${big.b}', b: 'x'.repeat(60_000) },
  },
  budget: { left: 100 },
});

test.each<[unknown, unknown]>([
  ['plain', 'plain'],
  ['${HOME_DIR}/last.ckpt', '/home/x/last.ckpt'],
  ['a-${param.run}-${param.with.dot}', 'a-r1-d'],
  ['${FLAG}', true],
  ['${N}', 12],
  ['x${N}', 'x12'],
  ['${oc.env:HOME_DIR}', '/home/x'],
  ['${oc.env:NOT_THERE,fallback}', 'fallback'],
  ['${hardware.paths.output}/x', '/home/x/out/x'],
  ['${n.count}', 3],
  ['$${HOME_DIR}', '${HOME_DIR}'],
  ['${oc.env:NOT_THERE,${oc.env:HOME_DIR}}/x', '/home/x/x'],
  ['${oc.env:NOT_THERE,${oc.env:NEITHER,${N}}}', 12],
  ['${oc.env:NOT_THERE, "/a b"}/x', '/a b/x'],
  ['${oc.env:NOT_THERE,null}', null],
  ['${oc.decode:${oc.env:FLAG}}', true],
  ['${list}', ['/home/x', 2]],
  ['${list[0]}/${list.1}', '/home/x/2'],
  ['${n}', { count: 3 }],
  ['${base}/x', '/base/x'],
  ['a$${b', 'a${b'],
  ['a{2}${N}{3}', 'a{2}12{3}'],
  ['${VERSION}', '1.10'],
  ['${INJECTED}', '${N}'],
  ['^a$', '^a$'],
  [{ deep: ['${param.run}', 3, null] }, { deep: ['r1', 3, null] }],
])('%j → %j', (value, expected) => {
  expect(interpolate(value, values(), 'p')).toEqual(expected);
});

describe('errors say where', () => {
  test.each<[unknown, string, string]>([
    ['${NOT_THERE}', 'p', 'NOT_THERE is not set'],
    ['${toString}', 'p', 'toString is not set'],
    ['a${list}', 'p', 'a list, which cannot be a part of a text'],
    ['${'.repeat(20) + '}'.repeat(20), 'p', 'more than 8 deep'],
    ['${HOME_DIRR}', 'p', '`HOME_DIR`'],
    [{ a: ['${param.rum}'] }, 'p.a[0]', '--param rum=…'],
    ['${AWS_SECRET_ACCESS_KEY}', 'p', 'credential'],
    ['${hardware.paths.input}', 'p', 'nor the place'],
    ['${hardware.paths.loop}', 'p', 'deep'],
    ['${}', 'p', 'neither'],
    [
      '${oc.select:hardware.paths.output,null}',
      'p',
      'the resolver `oc.select` is not understood. Write the path of the value, `${hardware.paths.output}`',
    ],
    ['${now:%Y}', 'p', 'the resolver `now` is not understood. Give the time as a parameter'],
    ['${hydra:runtime.cwd}', 'p', 'the resolver `hydra` is not understood. Known are `${oc.env:NAME}`'],
    ['${oc.env:MY-NAME}', 'p', 'behind `oc.env:` stands the name of a variable'],
    ['${.paths.output}', 'p', 'counts from the place where it stands, which is not understood. Write the path from the root'],
    ['${item.key}', 'p', 'only the `pipeline` of a batch knows items'],
    ['a${param.run', 'p', '`a${param.run` has a `${` that no `}` closes. Close it, or write `$${`'],
    [{ a: ['${param.run}', '${oc.env:X,${N}'] }, 'p.a[1]', 'closes'],
    ['${constructor.name}', 'p', 'nor the place'],
    ['${big.a}', 'p', 'characters'],
    [Array.from({ length: 101 }, () => '${N}'), 'p[100]', 'references'],
  ])('%j', (value, path, says) => {
    let error: CheckpointError | undefined;
    try {
      interpolate(value, values(), 'p');
    } catch (thrown) {
      error = thrown as CheckpointError;
    }
    expect(error?.code).toBe('CheckpointConfigError');
    expect(error?.details['config_path']).toBe(path);
    expect(error?.message).toContain(says);
    expect(error?.message).not.toContain('hunter2');
  });
});

test('what runs does not come from the environment', () => {
  expect(interpolateStage({ type: 'source.local', path: '${HOME_DIR}' }, values(), 'stages[0]')).toEqual({
    type: 'source.local',
    path: '/home/x',
  });
  expect(() => interpolateStage({ type: '${FLAG}' }, values(), 'stages[0]')).toThrow('written out');
});
