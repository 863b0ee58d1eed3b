/**
 * Apart from the suite, so that it keeps to minutes: `*.faults.ts`, which kill workers by the dozen over hundreds of megabytes, and
 * `*.long.ts`, each at the place of what it tests.
 */
export default {
  rootDir: '../../dist',
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.{faults,long}.js'],
  transform: {},
  // A bound against hangs, nothing else.
  testTimeout: 1_800_000,
  maxWorkers: 1,
};
