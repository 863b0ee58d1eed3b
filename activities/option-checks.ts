/** Rules of options that our own readers have already, as checks of their schemas. */
import type { z } from 'zod';
import { textOf } from '../src/errors.ts';

/** Refuses a text that `read` throws for, in its words. */
export function refusedBy(read: (text: string) => unknown): (text: string, context: z.RefinementCtx) => void {
  return (text, context) => {
    try {
      read(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: textOf(error).replace(/\.$/, '') });
    }
  };
}
