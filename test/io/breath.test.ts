import { expect, test } from '@jest/globals';
import { breath } from '../../src/io/breath.ts';

test('a timer that fell due while there was work to do runs before the work goes on', async () => {
  for (let round = 0; round < 5; round++) {
    let beats = 0;
    const pulse = setInterval(() => beats++, 10);
    try {
      const end = performance.now() + 30;
      while (performance.now() < end);
      expect(beats).toBe(0);
      await breath();
      expect(beats).toBe(1);
    } finally {
      clearInterval(pulse);
    }
  }
});
