/** Apart from the suite: hundreds of megabytes, dozens of killed workers, and minutes of waiting until the server misses them. */
export default {
  rootDir: '../../dist',
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/faults/**/*.faults.js'],
  transform: {},
  // A bound against hangs, nothing else.
  testTimeout: 1_800_000,
  maxWorkers: 1,
};
