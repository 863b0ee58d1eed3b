/** Minutes of lost workers and servers, apart from the suite. */
export default {
  rootDir: '../../dist',
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/faults/**/*.faults.js'],
  transform: {},
  testTimeout: 600_000,
  maxWorkers: 1,
};
