/** Tests run as compiled: what is tested is what ships, worker threads included. `npm test` builds first. */
export default {
  rootDir: 'dist',
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.test.js'],
  transform: {},
  // Jest leaves a core free, which on two cores is half of them; the slow tests mostly wait.
  maxWorkers: 2,
  testTimeout: 60_000,
};
