/** Tests run as compiled: what is tested is what ships, worker threads included. `npm test` builds first. */
export default {
  rootDir: 'dist',
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.test.js'],
  transform: {},
  testTimeout: 60_000,
};
