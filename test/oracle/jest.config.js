/** The oracle runs apart from the suite: it needs Python and gigabytes of reference libraries. */
export default {
  rootDir: '../../dist',
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/oracle/**/*.oracle.js'],
  transform: {},
  // Importing torch and training a model on a busy machine; a bound against hangs, nothing else.
  testTimeout: 600_000,
  maxWorkers: 1,
};
